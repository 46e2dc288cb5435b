package esp

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

const (
	tunPath = "/dev/net/tun"
	// interfaceName lets the kernel number the interfaces: several tunnels may
	// share an inner namespace.
	interfaceName = "esp%d"
)

// clearInterface is the TUN device that stands in the inner namespace.
type clearInterface struct {
	device tun.Device
	side   *inner.Side
	name   string
}

// openInterface makes the TUN device and brings it up with its addresses and
// routes. Where it fails nothing remains.
func openInterface(ctx context.Context, namespace *tunnel.Namespace, spec tunnel.Spec) (*clearInterface, error) {
	device, name, err := openTUN(namespace)
	if err != nil {
		return nil, err
	}
	side, err := inner.Configure(ctx, namespace, name, spec)
	if err != nil {
		return nil, errors.Join(err, device.Close())
	}
	c := &clearInterface{device: device, side: side, name: name}
	// The kernel never hands over more segments than one batch holds.
	if err := side.LimitSegments(batchSize); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// close removes the interface: it lives as long as its descriptor.
func (c *clearInterface) close() error {
	c.side.Close()
	if err := c.device.Close(); err != nil {
		return fmt.Errorf("close TUN device: %w", err)
	}
	return nil
}

// openTUN makes a TUN device whose packets come and go with the kernel's
// segmentation header (IFF_VNET_HDR), so that one read or write moves many. It
// watches no netlink events: nobody else changes the session's interface.
func openTUN(namespace *tunnel.Namespace) (device tun.Device, name string, err error) {
	err = namespace.Do(func() error {
		fd, err := attachTUN()
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

func attachTUN() (fd int, err error) {
	fd, err = unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", tunPath, err)
	}
	request, err := unix.NewIfreq(interfaceName)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true) // Before it reaches the runtime's poller.
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("make TUN interface %s: %w", interfaceName, err), unix.Close(fd))
	}
	return fd, nil
}

// drops is how many packets found the device's queue full.
func (c *clearInterface) drops() (uint64, error) {
	statistics, err := c.side.Statistics()
	return statistics.TxDropped, err
}
