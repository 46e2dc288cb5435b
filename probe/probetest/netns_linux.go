package probetest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
)

// The main thread never ends: were it locked to a namespace, that would outlive its test.
func init() { runtime.LockOSThread() }

// EnterNetns moves the test's goroutine into a network namespace of its own, whose lo
// is up, for the rest of the test. Sockets that others open meanwhile do not land
// there. The namespace lives as long as its sockets and the thread.
func EnterNetns(t testing.TB) {
	t.Helper()
	labtest.NeedRoot(t)
	runtime.LockOSThread()
	here := thisNetns(t)
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

func thisNetns(t testing.TB) *os.File {
	t.Helper()
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
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

// Site is a thread in a network namespace of its own, which ends with the test. The
// lab's sites would not do for measuring speed: their links carry packets of real size
// only.
type Site struct{ work chan func() }

// NewSite makes one whose namespace is empty.
func NewSite(t testing.TB) *Site {
	t.Helper()
	labtest.NeedRoot(t)
	return startSite(t, func() error { return unix.Unshare(unix.CLONE_NEWNET) })
}

// Here is a site in the namespace of the calling thread.
func Here(t testing.TB) *Site {
	t.Helper()
	here := thisNetns(t)
	defer here.Close()
	return startSite(t, func() error { return unix.Setns(int(here.Fd()), unix.CLONE_NEWNET) })
}

func startSite(t testing.TB, enter func() error) *Site {
	t.Helper()
	s := &Site{work: make(chan func())}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // And never unlocked: the thread ends with the goroutine.
		entered <- enter()
		for f := range s.work {
			f()
		}
	}()
	t.Cleanup(func() { close(s.work) })
	if err := <-entered; err != nil {
		t.Fatal(err)
	}
	return s
}

// Do calls f on the site's thread: sockets and processes that f starts are there.
func (s *Site) Do(f func() error) error {
	done := make(chan error)
	s.work <- func() { done <- f() }
	return <-done
}

// IP runs ip(8) at the site with each of the lines.
func (s *Site) IP(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if err := s.Do(func() error {
			out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("ip %s: %w: %s", line, err, out)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// AddressA and AddressB are of the sites of VethPair, whose interfaces have the name veth.
const (
	AddressA = "192.0.2.1"
	AddressB = "192.0.2.2"
)

// VethPair returns two sites that are joined by a veth pair with all its offloads.
func VethPair(t testing.TB) (a, b *Site) {
	t.Helper()
	labtest.NeedProgram(t, "ip")
	a, b = NewSite(t), NewSite(t)
	var there *os.File
	if err := b.Do(func() (err error) {
		there, err = os.Open("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	a.IP(t, fmt.Sprintf("link add veth type veth peer name veth netns /proc/%d/fd/%d", os.Getpid(), there.Fd()))
	for site, address := range map[*Site]string{a: AddressA, b: AddressB} {
		site.IP(t, "address add "+address+"/24 dev veth", "link set veth up")
	}
	return a, b
}
