package wireguard

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"

	"tunnelmark/tunnel"
)

// socketDirectory is where wgctrl looks for user-space WireGuard
// (https://www.wireguard.com/xplatform/, "Cross-platform Userspace
// Implementation").
const socketDirectory = "/var/run/wireguard"

func socketPath(name string) string { return filepath.Join(socketDirectory, name+".sock") }

// control calls f with a client for the WireGuard interface of that name, and
// with serve, unless it is nil, answering on its control socket.
//
// f runs on a thread of its own, inside the namespace and with an empty root
// directory. So the client finds no interface of the host's that has the same
// name, the kernel's or not; the socket is seen by nobody else; and nothing of it
// outlives the process, however that ends.
func control(namespace *tunnel.Namespace, name string, serve func(net.Conn), f func(*wgctrl.Client) error) error {
	return namespace.Do(func() error {
		if err := hideFiles(); err != nil {
			return err
		}
		if serve != nil {
			stop, err := listen(name, serve)
			if err != nil {
				return err
			}
			defer stop()
		}
		client, err := wgctrl.New()
		if err != nil {
			return fmt.Errorf("reach WireGuard: %w", err)
		}
		return errors.Join(f(client), client.Close())
	})
}

// hideFiles gives the calling thread a root directory of its own: a file system
// in memory that is mounted nowhere and is gone with the thread.
func hideFiles() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare root directory: %w", err)
	}
	context, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open empty file system: %w", err)
	}
	defer func() { _ = unix.Close(context) }()
	if err := unix.FsconfigCreate(context); err != nil {
		return fmt.Errorf("make empty file system: %w", err)
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount empty file system: %w", err)
	}
	defer func() { _ = unix.Close(mount) }()
	if err := errors.Join(unix.Fchdir(mount), unix.Chroot(".")); err != nil {
		return fmt.Errorf("enter empty file system: %w", err)
	}
	return nil
}

// listen has serve answer, one after the other, whoever connects to the control
// socket of that name, until stop, which waits for that.
func listen(name string, serve func(net.Conn)) (stop func(), err error) {
	if err := os.MkdirAll(socketDirectory, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of control socket: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath(name), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	listener.SetUnlinkOnClose(false) // Another thread would look for it in the host's directory.
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			serve(connection)
		}
	})
	return func() {
		_ = listener.Close() // There is nothing to flush.
		serving.Wait()
	}, nil
}
