package lab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace that a descriptor holds.
type namespace struct {
	file *os.File
}

// newNamespace makes an empty namespace. The thread that unshares is discarded;
// were it the process's first one, which never exits, the namespace would outlive
// its descriptor: hence LockOSThread in the main packages' init.
func newNamespace() (*namespace, error) {
	var file *os.File
	err := onOwnThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network namespace: %w", err)
		}
		// /proc/self would name the thread-group leader's.
		if file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return fmt.Errorf("hold network namespace: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &namespace{file: file}, nil
}

func (n *namespace) fd() int { return int(n.file.Fd()) }

func (n *namespace) close() error { return n.file.Close() }

// inode identifies the namespace as long as it lives.
func (n *namespace) inode() (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(n.fd(), &stat); err != nil {
		return 0, fmt.Errorf("identify network namespace: %w", err)
	}
	return stat.Ino, nil
}

// do calls f on a thread inside the namespace.
func (n *namespace) do(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(n.fd(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// start starts the command inside the namespace: a child inherits the namespace
// of the thread that forks it.
func (n *namespace) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Pdeathsig != 0 {
		return fmt.Errorf("start %s: a parent-death signal would come at once, from the thread that starts it", cmd.Path)
	}
	return n.do(cmd.Start)
}

// configure calls f with a netlink handle into the namespace.
func (n *namespace) configure(f func(*netlink.Handle) error) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(n.fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in network namespace: %w", err)
	}
	defer h.Close()
	return f(h)
}

// onOwnThread runs f on a thread of its own and leaves it locked, so that the
// runtime discards the thread and with it the namespace that f may have entered.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}
