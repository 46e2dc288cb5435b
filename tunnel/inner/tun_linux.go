package inner

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"tunnelmark/tunnel"
)

const tunPath = "/dev/net/tun"

// CheckTUN refuses a machine without TUN devices, wrapping
// tunnel.ErrNotSupported.
func CheckTUN() error {
	if err := unix.Access(tunPath, unix.R_OK|unix.W_OK); err != nil {
		return fmt.Errorf("TUN device %s: %w (%w)", tunPath, err, tunnel.ErrNotSupported)
	}
	return nil
}

// NewTUN makes a TUN device in the session's namespace, and returns its name: in
// pattern, "%d" lets the kernel number the interfaces. It lives as long as its
// descriptor.
//
// Packets come and go with the kernel's segmentation header (IFF_VNET_HDR), so
// that one read or write moves many. The device watches no netlink events: nobody
// else changes the session's interface. Its MTU method fails: it asks the
// namespace of whichever thread calls.
func NewTUN(namespace *tunnel.Namespace, pattern string) (device tun.Device, name string, err error) {
	err = namespace.Do(func() error {
		fd, err := attachTUN(pattern)
		if err != nil {
			return err
		}
		device, name, err = tun.CreateUnmonitoredTUNFromFD(fd)
		if err != nil {
			// The device's file owns fd by now and is closed with it when it is
			// collected; closing it here could close another's.
			return fmt.Errorf("set up TUN device: %w", err)
		}
		return nil
	})
	return device, name, err
}

func attachTUN(pattern string) (fd int, err error) {
	fd, err = unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", tunPath, err)
	}
	request, err := unix.NewIfreq(pattern)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true) // Before it reaches the runtime's poller.
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("make TUN interface %s: %w", pattern, err), unix.Close(fd))
	}
	return fd, nil
}
