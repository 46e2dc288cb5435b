package tunneltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
)

// unprivileged is set in the environment of the process that
// checkUnprivileged starts.
const unprivileged = "TUNNELTEST_UNPRIVILEGED"

// checkUnprivileged runs this same test in a process that is root by name and
// has no capability: Open may work or be refused there, but leaves nothing.
func checkUnprivileged(t *testing.T, subject Subject) {
	labtest.NeedRoot(t)
	if os.Getenv(unprivileged) != "" {
		openUnprivileged(t, subject)
		return
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	command.Env = append(os.Environ(), unprivileged+"=1")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := runWithoutCapabilities(command); err != nil {
		t.Fatalf("without capabilities: %v\n%s", err, &output)
	}
	if !bytes.Contains(output.Bytes(), []byte("--- PASS: "+t.Name())) {
		t.Fatalf("without capabilities the test did not run:\n%s", &output)
	}
}

// runWithoutCapabilities starts the command from a thread whose bounding set is
// empty, so that not even root gains any by execve (capabilities(7)). The
// thread is discarded with its goroutine.
func runWithoutCapabilities(command *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		for capability := range unix.CAP_LAST_CAP + 1 {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0); err != nil {
				started <- fmt.Errorf("drop capability %d: %w", capability, err)
				return
			}
		}
		started <- command.Start()
	}()
	if err := <-started; err != nil {
		return err
	}
	return command.Wait()
}

func openUnprivileged(t *testing.T, subject Subject) {
	here, err := tunnel.CurrentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = here.Close() }()
	spec, _ := (&Link{Left: loopback("127.0.0.1", "::1"), Right: loopback("127.0.0.2", "::1")}).Specs(subject.Spec, false)
	keys, _ := Keys("unprivileged")

	before := takeStock(t, nil)
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(spec.Local.Outer.Addr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	spec.Local.Outer = socket.LocalAddr().(*net.UDPAddr).AddrPort()
	half, err := subject.Driver.Open(context.Background(), spec, keys, tunnel.Place{Outer: here, Inner: here, Socket: socket})
	t.Logf("open without capabilities: %v", err)
	switch {
	case err == nil:
		if err := half.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	case subject.Encrypts && !errors.Is(err, os.ErrPermission):
		t.Errorf("got %v, want an error that wraps %v", err, os.ErrPermission)
	}
	before.expectSame(t, nil)
}

func loopback(addr4, addr6 string) *Site {
	return &Site{Addr4: netip.MustParseAddr(addr4), Addr6: netip.MustParseAddr(addr6)}
}
