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

// TUN is a TUN device in the session's namespace. It lives as long as its descriptor.
//
// Packets come and go behind the kernel's segmentation header (IFF_VNET_HDR), so
// that one read or write moves many.
type TUN struct {
	FD   int // Does not block. The caller closes it.
	Name string
	// UDPSegments: super-packets of UDP come and go as well (Linux 6.2), not only
	// those of TCP.
	UDPSegments bool
}

// OpenTUN makes a TUN device. In pattern, "%d" lets the kernel number the interfaces.
func OpenTUN(namespace *tunnel.Namespace, pattern string) (t TUN, err error) {
	err = namespace.Do(func() error {
		fd, err := attachTUN(pattern)
		if err != nil {
			return err
		}
		t.FD = fd
		if err := t.offload(fd); err != nil {
			return errors.Join(fmt.Errorf("set up TUN device: %w", err), unix.Close(fd))
		}
		return nil
	})
	return t, err
}

// offload lets the kernel leave segmentation and checksums to us (TUNSETOFFLOAD).
func (t *TUN) offload(fd int) error {
	request, err := unix.NewIfreq("")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.TUNGETIFF, request)
	}
	if err != nil {
		return fmt.Errorf("ask for its name: %w", err)
	}
	t.Name = request.Name()
	const tcp = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	const udp = unix.TUN_F_USO4 | unix.TUN_F_USO6
	t.UDPSegments = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp|udp) == nil
	if t.UDPSegments {
		return nil
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp); err != nil {
		return fmt.Errorf("switch segmentation offload on: %w", err)
	}
	return nil
}

// NewTUN makes a TUN device for wireguard-go's code, and returns its name. The
// device watches no netlink events: nobody else changes the session's interface. Its
// MTU method fails: it asks the namespace of whichever thread calls.
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
		err = unix.SetNonblock(fd, true) // Whoever polls it.
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("make TUN interface %s: %w", pattern, err), unix.Close(fd))
	}
	return fd, nil
}
