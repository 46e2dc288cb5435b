package lab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// holdLab, in the environment, makes the test binary a process that holds a lab
// until it is killed.
const holdLab = "TUNNELMARK_TEST_HOLD_LAB"

func TestMain(m *testing.M) {
	if os.Getenv(holdLab) == "" {
		os.Exit(m.Run())
	}
	policer := lab.Device{Kind: lab.Policer, OuterBitsPerSecond: 1e6, BurstBytes: 3000}
	wan := lab.WAN{Delay: time.Millisecond, Jitter: time.Millisecond}
	l, err := lab.Build(context.Background(), joined(lab.Link{Device: policer, ICMPBlackhole: true, WAN: wan}))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	l.Close()
}

// Namespaces, interfaces and programs go with a process that has no chance to
// remove them. That the programs are gone shows that the namespaces are, whose
// filters held them.
func TestKillLeavesNothing(t *testing.T) {
	labtest.CheckLeaks(t)
	before, err := labtest.Scan()
	if err != nil {
		t.Fatal(err)
	}
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdLab+"=1")
	if _, err := holder.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	held, scanErr := before.Left(0)
	if err := errors.Join(scanErr, holder.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	if err := holder.Wait(); err == nil {
		t.Error("want the holder killed, got a clean exit")
	}
	if line != "ready\n" {
		t.Fatalf("want the holder ready, got %q, %v", line, err)
	}
	for _, kind := range []string{"process ", "network namespace ", "eBPF program "} {
		if !strings.Contains("\n"+strings.Join(held, "\n"), "\n"+kind) {
			t.Errorf("want a %sseen while the lab is held, got %q", kind, held)
		}
	}
}

func TestBuildWithoutPrivilege(t *testing.T) {
	labtest.CheckLeaks(t)
	err := unprivileged(t, func() error {
		_, err := lab.Build(t.Context(), joined(lab.Link{}))
		return err
	})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("want %v, got %v", os.ErrPermission, err)
	}
	for _, want := range []string{"CAP_NET_ADMIN", "CAP_SYS_ADMIN", "root"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("want %s named, got: %v", want, err)
		}
	}
}

// unprivileged calls f on a thread that has no capabilities, and discards it.
func unprivileged(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func TestBuildCancelled(t *testing.T) {
	labtest.CheckLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lab.Build(ctx, joined(lab.Link{})); !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
}

func TestUnknownSites(t *testing.T) {
	labtest.CheckLeaks(t)
	l := labtest.Pair(t)
	_, addressErr := l.Addresses("a", "c")
	_, fdErr := l.FD("c")
	for name, err := range map[string]error{
		"Addresses":     addressErr,
		"FD":            fdErr,
		"Start":         l.Start("c", exec.Command("true")),
		"StartInMiddle": l.StartInMiddle([2]string{"a", "c"}, exec.Command("true")),
	} {
		if err == nil || !strings.Contains(err.Error(), `"c"`) {
			t.Errorf("%s: want an error about site \"c\", got %v", name, err)
		}
	}
	signal := exec.Command("true")
	signal.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.Start("a", signal); err == nil {
		t.Error("want a parent-death signal refused, got no error")
	}
}
