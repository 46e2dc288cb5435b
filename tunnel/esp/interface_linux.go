package esp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"tunnelmark/tunnel"
)

const (
	tunPath = "/dev/net/tun"
	// interfaceName lets the kernel number the interfaces: several tunnels may
	// share an inner namespace.
	interfaceName = "esp%d"

	// What takes microseconds on an idle machine waits, on a busy one, behind
	// the removal of other namespaces.
	localPatience = 10 * time.Second
	localPoll     = time.Millisecond // Between two looks.
)

// clearInterface is the TUN device that stands in the inner namespace.
type clearInterface struct {
	device tun.Device
	inner  *netlink.Handle // Speaks to the inner namespace, whichever thread calls.
	link   netlink.Link
}

// openInterface makes the TUN device and brings it up with its addresses and
// routes. Where it fails nothing remains.
func openInterface(ctx context.Context, namespace *tunnel.Namespace, spec tunnel.Spec) (*clearInterface, error) {
	device, name, err := openTUN(namespace)
	if err != nil {
		return nil, err
	}
	inner, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reach inner namespace by netlink: %w", err), device.Close())
	}
	c := &clearInterface{device: device, inner: inner}
	if err := c.configure(ctx, name, spec); err != nil {
		return nil, errors.Join(fmt.Errorf("configure interface %s: %w", name, err), c.close())
	}
	return c, nil
}

// close removes the interface: it lives as long as its descriptor.
func (c *clearInterface) close() error {
	c.inner.Close()
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

// configure gives the interface its MTU, addresses and routes. The kernel must
// not speak on it by itself, or its chatter would be counted as load: no
// link-local address, no multicast.
func (c *clearInterface) configure(ctx context.Context, name string, spec tunnel.Spec) error {
	link, err := c.inner.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface: %w", err)
	}
	c.link = link
	steps := []struct {
		name string
		run  func() error
	}{
		{"set MTU", func() error { return c.inner.LinkSetMTU(link, spec.MTU) }},
		// The kernel never hands over more segments than one batch holds.
		{"limit segments", func() error { return c.inner.LinkSetGSOMaxSegs(link, batchSize) }},
		{"switch multicast off", func() error { return c.inner.LinkSetMulticastOff(link) }},
		{"switch link-local addresses off", func() error { return c.noLinkLocal() }},
		{"bring loopback up", c.loopbackUp},
		{"bring up", func() error { return c.inner.LinkSetUp(link) }},
		{"connect IPv4", func() error { return c.connect(spec.Local.Inner4, spec.Remote.Inner4) }},
		{"connect IPv6", func() error { return c.connect(spec.Local.Inner6, spec.Remote.Inner6) }},
		{"await IPv6", func() error { return c.awaitLocal(ctx, spec.Local.Inner6) }},
	}
	for _, step := range steps {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// noLinkLocal does nothing on a kernel without IPv6.
func (c *clearInterface) noLinkLocal() error {
	err := c.inner.LinkSetIP6AddrGenMode(c.link, nl.IN6_ADDR_GEN_MODE_NONE)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

func (c *clearInterface) loopbackUp() error {
	loopback, err := c.inner.LinkByName("lo")
	if err != nil {
		return err
	}
	return c.inner.LinkSetUp(loopback)
}

// connect adds our address and a route to the peer's. Duplicate address
// detection has nobody to ask here and would keep the address from use for a
// second (RFC 4862, Section 5.4).
func (c *clearInterface) connect(local, remote netip.Addr) error {
	if !local.IsValid() {
		return nil
	}
	address := &netlink.Addr{IPNet: hostNet(local), Flags: unix.IFA_F_NODAD}
	if err := c.inner.AddrAdd(c.link, address); err != nil {
		return fmt.Errorf("add address %s: %w", local, err)
	}
	route := &netlink.Route{
		LinkIndex: c.link.Attrs().Index,
		Scope:     netlink.SCOPE_LINK,
		Dst:       hostNet(remote),
		Src:       local.AsSlice(),
	}
	if err := c.inner.RouteAdd(route); err != nil {
		return fmt.Errorf("add route to %s: %w", remote, err)
	}
	return nil
}

// awaitLocal waits until the kernel takes packets to our IPv6 address: it adds
// the route of such an address in its own time, even where duplicate address
// detection is off (addrconf_dad_work of net/ipv6/addrconf.c).
func (c *clearInterface) awaitLocal(ctx context.Context, local netip.Addr) error {
	if !local.IsValid() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, localPatience)
	defer cancel()
	for {
		routes, err := c.inner.RouteGet(local.AsSlice())
		if err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a local route to %s: %w", local, ctx.Err())
		case <-time.After(localPoll):
		}
	}
}

func hostNet(address netip.Addr) *net.IPNet {
	bits := address.BitLen()
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, bits)}
}

// drops is how many packets found the device's queue full.
func (c *clearInterface) drops() (uint64, error) {
	link, err := c.inner.LinkByIndex(c.link.Attrs().Index)
	if err != nil {
		return 0, fmt.Errorf("read statistics of interface %s: %w", c.link.Attrs().Name, err)
	}
	statistics := link.Attrs().Statistics
	if statistics == nil {
		return 0, fmt.Errorf("read statistics of interface %s: the kernel gives none", c.link.Attrs().Name)
	}
	return statistics.TxDropped, nil
}
