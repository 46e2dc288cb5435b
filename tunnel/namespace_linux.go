package tunnel

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace that a descriptor holds: it has no name, and
// the kernel removes it, with every interface in it, when the descriptor is
// closed or the process dies.
type Namespace struct {
	file *os.File
}

// NewNamespace makes an empty namespace with its loopback down.
//
// The main package must call runtime.LockOSThread in an init function: the
// thread that unshares is discarded, but the process's first thread never
// exits and would keep the namespace alive.
func NewNamespace() (*Namespace, error) {
	return onOwnThread(func() (*Namespace, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return nil, fmt.Errorf("unshare network namespace: %w", err)
		}
		return openThreadNamespace()
	})
}

// CurrentNamespace holds the namespace of the calling process.
func CurrentNamespace() (*Namespace, error) {
	return onOwnThread(openThreadNamespace)
}

// NamespaceFrom holds the namespace that somebody else's descriptor refers to, by a
// copy of it.
func NamespaceFrom(descriptor int) (*Namespace, error) {
	own, err := unix.FcntlInt(uintptr(descriptor), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("hold network namespace of descriptor %d: %w", descriptor, err)
	}
	return &Namespace{file: os.NewFile(uintptr(own), "network namespace")}, nil
}

// openThreadNamespace opens the calling thread's namespace: /proc/self would
// name the thread-group leader's.
func openThreadNamespace() (*Namespace, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("hold network namespace: %w", err)
	}
	return &Namespace{file: file}, nil
}

// FD returns the descriptor; it is valid until Close.
func (n *Namespace) FD() int { return int(n.file.Fd()) }

// Close lets go of the namespace.
func (n *Namespace) Close() error { return n.file.Close() }

// Do calls f on a thread inside the namespace. What f opens there (sockets, TUN
// devices) stays there; goroutines that f starts do not.
func (n *Namespace) Do(f func() error) error {
	_, err := onOwnThread(func() (struct{}, error) {
		if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
			return struct{}{}, fmt.Errorf("enter network namespace: %w", err)
		}
		return struct{}{}, f()
	})
	return err
}

// onOwnThread runs f on a thread of its own and leaves it locked, so that the
// runtime discards the thread and with it the namespace that f may have entered.
func onOwnThread[T any](f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		value, err := f()
		done <- result{value, err}
	}()
	r := <-done
	return r.value, r.err
}
