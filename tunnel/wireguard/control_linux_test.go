package wireguard

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.zx2c4.com/wireguard/wgctrl"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

// TestControlIsHidden shows that the control socket is where wgctrl looks, that
// it is all there is, and that nobody else sees it.
func TestControlIsHidden(t *testing.T) {
	labtest.NeedRoot(t)
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = namespace.Close() }()
	const name = "tmwg-hidden"
	served := 0
	err = control(namespace, name, func(c net.Conn) { served++; _ = c.Close() }, func(client *wgctrl.Client) error {
		if diff := cmp.Diff([]string{"/", "/var", "/var/run", socketDirectory, socketPath(name)}, walk(t)); diff != "" {
			t.Errorf("files that the client sees (-want +got):\n%s", diff)
		}
		onAnotherThread(func() {
			if _, err := os.Lstat(socketPath(name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("others see the socket: %v", err)
			}
		})
		_, err := client.Device(name)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want that the socket answers nothing", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if served != 1 {
		t.Errorf("served %d connections, want 1", served)
	}
}

// walk lists all files that the calling thread sees.
func walk(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir("/", func(path string, _ os.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return paths
}

func onAnotherThread(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

// TestControlReturnsErrors: they are the function's own.
func TestControlReturnsErrors(t *testing.T) {
	labtest.NeedRoot(t)
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = namespace.Close() }()
	want := errors.New("want")
	if got := control(namespace, "tmwg0", nil, func(*wgctrl.Client) error { return want }); !errors.Is(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
