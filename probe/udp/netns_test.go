package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe/wire"
)

// freshNetns moves the test's goroutine into a network namespace of its own,
// whose lo is up, for the rest of the test. Sockets that others open meanwhile
// do not land there. The namespace lives as long as its sockets and the thread.
func freshNetns(t testing.TB) {
	t.Helper()
	labtest.NeedRoot(t)
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A thread that cannot go back stays locked: it ends with the goroutine.
		if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Errorf("leave the test's namespace: %v", err)
		} else {
			runtime.UnlockOSThread()
		}
		here.Close()
	})
	if err := loopbackUp(); err != nil {
		t.Fatal(err)
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
		return err
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// connect opens a socket at local that is connected to remote.
func connect(t testing.TB, local, remote string) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", address(local), address(remote))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func address(s string) *net.UDPAddr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// pair opens two sockets that are connected to each other, over IPv4 or IPv6.
func pair(t testing.TB, ip string) (sender, receiver *net.UDPConn) {
	t.Helper()
	a, b := net.JoinHostPort(ip, "5001"), net.JoinHostPort(ip, "5002")
	return connect(t, a, b), connect(t, b, a)
}

// flows opens the sockets one after the other, whatever the lane.
func flows(conns ...*net.UDPConn) Open {
	var mutex sync.Mutex
	return func(int) (*net.UDPConn, error) {
		mutex.Lock()
		defer mutex.Unlock()
		if len(conns) == 0 {
			return nil, errors.New("the test has no more sockets")
		}
		conn := conns[0]
		conns = conns[1:]
		return conn, nil
	}
}

// dial opens sockets from fresh ports to the lanes' inlets. They are opened in the
// namespace of the thread that calls it.
func dial(ip string) Open {
	return func(lane int) (*net.UDPConn, error) {
		return net.DialUDP("udp", address(net.JoinHostPort(ip, "0")), address(inletAt(ip, lane)))
	}
}

// dialHere is like dial, but whatever thread calls it, the sockets are in this
// one's namespace.
func dialHere(t testing.TB, ip string) Open {
	t.Helper()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	return func(lane int) (conn *net.UDPConn, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine.
			if err = unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err == nil {
				conn, err = dial(ip)(lane)
			}
		}()
		<-done
		return conn, err
	}
}

// inlets opens the lanes' sockets at the receiver.
func inlets(t testing.TB, ip string, lanes int) []*net.UDPConn {
	t.Helper()
	conns := make([]*net.UDPConn, lanes)
	for lane := range conns {
		conn, err := net.ListenUDP("udp", address(inletAt(ip, lane)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conns[lane] = conn
	}
	return conns
}

func inletAt(ip string, lane int) string { return net.JoinHostPort(ip, fmt.Sprint(5000+lane)) }

// testTrial and strangersTrial differ in the key only.
func testTrial(t testing.TB) Trial { return trialWithKey(t, "a key for tests, of 32 bytes ...") }

func strangersTrial(t testing.TB) Trial { return trialWithKey(t, "another key, also of 32 bytes ..") }

func trialWithKey(t testing.TB, s string) Trial {
	t.Helper()
	key, err := wire.NewKey([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return Trial{Key: key, Number: 7}
}
