package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func removeFile(path string) error { return os.Remove(path) }

func TestSplitAddress(t *testing.T) {
	cases := []struct{ address, network, where, wantError string }{
		{"192.0.2.1:7000", "tcp", "192.0.2.1:7000", ""},
		{"[2001:db8::1]:7000", "tcp", "[2001:db8::1]:7000", ""},
		{"a.example:7000", "tcp", "a.example:7000", ""},
		{"unix:/run/a.sock", "unix", "/run/a.sock", ""},
		{"", "", "", "0 bytes"},
		{"192.0.2.1", "", "", "host:port"},
		{":7000", "", "", "no host"},
		{"192.0.2.1:0", "", "", "1 to 65535"},
		{"192.0.2.1:70000", "", "", "1 to 65535"},
		{"192.0.2.1:http", "", "", "1 to 65535"},
		{"unix:a.sock", "", "", "absolute path"},
		{"unix:/a\x00b", "", "", "control characters"},
		{"a b:7000", "", "", "spaces"},
		{strings.Repeat("a", 300) + ":1", "", "", "302 bytes"},
	}
	for _, c := range cases {
		t.Run(c.address, func(t *testing.T) {
			network, where, err := splitAddress(c.address)
			if c.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantError) {
					t.Errorf("got %v, want an error with %q", err, c.wantError)
				}
				return
			}
			if err != nil || network != c.network || where != c.where {
				t.Errorf("got %s %s, %v", network, where, err)
			}
		})
	}
}

func TestListenDescriptor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handed.sock")
	parent, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	must(t, err)
	defer parent.Close()
	file, err := parent.File()
	must(t, err)
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	must(t, err)
	file.Close()
	a := newAgent(t, fmt.Sprint("fd:", fd))
	a.address = "unix:" + path
	a.wantServing(t)
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	live, err := Listen(t.Context(), "unix:"+filepath.Join(dir, "live"))
	must(t, err)
	defer live.Close()
	for _, where := range []string{
		"fd:x", "fd:0", "fd:-1", "fd:65000", "192.0.2.1", "unix:" + file, "unix:" + filepath.Join(dir, "live"), "unix:" + dir + "/none/a",
	} {
		t.Run(where, func(t *testing.T) {
			if listener, err := Listen(t.Context(), where); err == nil {
				listener.Close()
				t.Error("it listens")
			}
		})
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a file that is no socket was removed: %v", err)
	}
}

func TestListenReplacesAnAbandonedSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	must(t, err)
	old.SetUnlinkOnClose(false) // As after SIGKILL.
	must(t, old.Close())
	listener, err := Listen(context.Background(), "unix:"+path)
	must(t, err)
	defer listener.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info.Mode(), err)
	}
}
