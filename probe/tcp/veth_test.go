package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe"
)

// Keeps the main thread, which never exits, out of namespaces that are to end.
func init() { runtime.LockOSThread() }

// site is a thread in a network namespace of its own, which ends with the test.
// The lab's sites would not do for measuring speed: their links carry packets of
// real size only.
type site struct{ work chan func() }

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // And never unlocked: the thread ends with the goroutine.
		made <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range s.work {
			f()
		}
	}()
	t.Cleanup(func() { close(s.work) })
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	return s
}

// do calls f on the site's thread: sockets and processes that f starts are there.
func (s *site) do(f func() error) error {
	done := make(chan error)
	s.work <- func() { done <- f() }
	return <-done
}

// ip runs ip(8) at the site.
func (s *site) ip(t testing.TB, arguments ...string) {
	t.Helper()
	if err := s.do(func() error {
		out, err := exec.Command("ip", arguments...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %q: %w: %s", arguments, err, out)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

const (
	senderAddress   = "192.0.2.1"
	receiverAddress = "192.0.2.2"
)

// vethPair returns two sites that are joined by a veth pair with all its offloads.
func vethPair(t testing.TB) (sender, receiver *site) {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.NeedProgram(t, "ip")
	sender, receiver = newSite(t), newSite(t)
	var there *os.File
	if err := receiver.do(func() (err error) {
		there, err = os.Open("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	sender.ip(t, "link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), there.Fd()))
	for s, address := range map[*site]string{sender: senderAddress, receiver: receiverAddress} {
		s.ip(t, "address", "add", address+"/24", "dev", "veth")
		s.ip(t, "link", "set", "veth", "up")
	}
	return sender, receiver
}

// A path that is gone ends both, the sender first: within a second.
func TestIntegrationPathGone(t *testing.T) {
	sender, receiver := vethPair(t)
	load := Load{Flows: 2, Duration: 30 * time.Second}
	var listener *net.TCPListener
	_ = receiver.do(func() error {
		listener = listen(t, load, receiverAddress)
		return nil
	})
	dial := func(ctx context.Context, flow int) (conn *net.TCPConn, err error) {
		err = sender.do(func() (err error) {
			conn, err = dialer(load, listener.Addr())(ctx, flow)
			return err
		})
		return conn, err
	}
	var cut time.Time
	var once sync.Once
	var took time.Duration
	trial := testTrial(t)
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		sent, err := Send(t.Context(), dial, trial, load, func(Sample) {
			once.Do(func() {
				if err := sender.do(exec.Command("ip", "link", "set", "veth", "down").Run); err != nil {
					t.Error(err)
				}
				cut = time.Now()
			})
		})
		took = time.Since(cut)
		return sent, err
	})
	if !errors.Is(o.sendErr, probe.ErrPeerSilent) || took > 2*time.Second {
		t.Errorf("Send ended %v after the path with error %v, want %v after one second", took, o.sendErr, probe.ErrPeerSilent)
	}
	if gone := time.Since(cut); !errors.Is(o.receivedErr, probe.ErrPeerSilent) || gone > 2*receiverSilence {
		t.Errorf("Receive ended %v after the path with error %v, want %v after %v", gone, o.receivedErr, probe.ErrPeerSilent, receiverSilence)
	}
}
