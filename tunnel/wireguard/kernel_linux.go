package wireguard

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// askKernel asks whether the kernel has WireGuard by the name under which
// WireGuard is configured. The kernel loads the module for that, where it has one
// (ctrl_getfamily of net/netlink/genetlink.c).
func askKernel() error {
	handle, err := netlink.NewHandle(unix.NETLINK_GENERIC) // The answer is the same in every namespace.
	if err != nil {
		return fmt.Errorf("ask kernel for WireGuard: %w", err)
	}
	defer handle.Close()
	_, err = handle.GenlFamilyGet(unix.WG_GENL_NAME)
	return explainFamily(err)
}

func explainFamily(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("this kernel has no WireGuard: %w; it comes with Linux 5.6 and later as module wireguard (CONFIG_WIREGUARD); driver wireguard-user needs none",
			tunnel.ErrNotSupported)
	}
	return fmt.Errorf("ask kernel for WireGuard: %w", err)
}

// kernel is the kernel's WireGuard.
type kernel struct {
	inner *netlink.Handle // Speaks to the session's namespace.
	link  netlink.Link
	meter *meter
}

var _ engine = (*kernel)(nil)

// newKernel makes the interface by one request from the outer namespace for the
// inner: it is born in the inner one, so it goes with the session however the
// process ends, and its sockets will be opened in the outer, where the request
// came from (creating_net of drivers/net/wireguard/device.c).
func newKernel(spec tunnel.Spec, place tunnel.Place) (implementation, error) {
	outer, err := reach(place.Outer)
	if err != nil {
		return implementation{}, err
	}
	defer outer.Close()
	inner, err := reach(place.Inner)
	if err != nil {
		return implementation{}, err
	}
	link, err := addLink(outer, inner, interfaceName(spec), place.Inner)
	if err != nil {
		inner.Close()
		return implementation{}, err
	}
	return implementation{engine: &kernel{inner: inner, link: link}, version: kernelVersion()}, nil
}

// reach does what netlink.NewHandleAt does, and says why where it cannot.
func reach(namespace *tunnel.Namespace) (handle *netlink.Handle, err error) {
	err = namespace.Do(func() error {
		handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reach namespace by netlink: %w", err)
	}
	return handle, nil
}

func addLink(outer, inner *netlink.Handle, name string, namespace *tunnel.Namespace) (netlink.Link, error) {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	attributes.Namespace = netlink.NsFd(namespace.FD())
	if err := outer.LinkAdd(&netlink.Wireguard{LinkAttrs: attributes}); err != nil {
		return nil, fmt.Errorf("add WireGuard interface %s: %w", name, err)
	}
	link, err := inner.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find WireGuard interface %s: %w", name, err)
	}
	return link, nil
}

func kernelVersion() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "kernel"
	}
	return "kernel " + unix.ByteSliceToString(name.Release[:])
}

// start begins to count: the interface came up with its port open.
func (k *kernel) start() (err error) {
	k.meter, err = newMeter(k.inner, k.link)
	return err
}

// count takes packets and bytes from the meter: the interface's own count
// handshakes and keepalives too, and bytes with padding and tag (update_rx_stats
// of drivers/net/wireguard/receive.c, iptunnel_xmit_stats of
// include/net/ip_tunnels.h).
func (k *kernel) count(statistics netlink.LinkStatistics) (tunnel.Counters, error) {
	counters, err := k.meter.read()
	counters.SendRefused = statistics.TxErrors
	counters.OutOverrun = statistics.TxDropped // While there were no keys, or refused below.
	counters.WrongSelectors = statistics.RxFrameErrors
	counters.Malformed = statistics.RxLengthErrors
	return counters, err
}

func (k *kernel) close() error {
	defer k.inner.Close()
	if err := k.inner.LinkDel(k.link); err != nil {
		return fmt.Errorf("remove WireGuard interface %s: %w", k.link.Attrs().Name, err)
	}
	return nil
}
