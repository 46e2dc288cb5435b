package existing

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// look finds the way of a flow out of this host, and refuses one that no load
// may take: through is the interface that it must leave by, empty for any.
func look(namespace *tunnel.Namespace, f flow, through string) (way, error) {
	w, err := findWay(namespace, f)
	if err != nil {
		return way{}, err
	}
	for _, hop := range w.hops {
		if through != "" && hop.name != through {
			return way{}, fmt.Errorf("packets to %s leave by %s, not by %s: route the peer's address by %s, or name the interface that is meant",
				f.remote.Addr(), hop.name, through, through)
		}
		if hop.policy != nil && hop.policy.blocks {
			return way{}, fmt.Errorf("an xfrm policy of this host blocks packets to %s: see ip xfrm policy", f.remote.Addr())
		}
	}
	return w, nil
}

// findWay asks the kernel for its route, next hops included among which it
// spreads flows: each of them may carry a probe's.
func findWay(namespace *tunnel.Namespace, f flow) (way, error) {
	handle, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return way{}, fmt.Errorf("reach outer namespace by netlink: %w", err)
	}
	defer handle.Close()
	route, err := findRoute(handle, f)
	if err != nil {
		return way{}, err
	}
	w := way{flow: f, table: route.Table}
	if w.hops, err = hopsOf(handle, route); err != nil {
		return way{}, err
	}
	policies, err := outboundPolicies(namespace, f)
	if err != nil {
		return way{}, err
	}
	for i := range w.hops {
		w.hops[i].policy = decisive(policies, f, w.hops[i].index)
	}
	return w, nil
}

func findRoute(handle *netlink.Handle, f flow) (netlink.Route, error) {
	remote := f.remote.Addr()
	routes, err := handle.RouteGetWithOptions(remote.AsSlice(), &netlink.RouteGetOptions{
		SrcAddr:  f.local.Addr().AsSlice(),
		FIBMatch: true,
	})
	switch {
	case err != nil:
		return netlink.Route{}, fmt.Errorf("find a route to %s from %s: %s: %w", remote, f.local.Addr(), explain(err), err)
	case len(routes) != 1:
		return netlink.Route{}, fmt.Errorf("find a route to %s: the kernel gives %d", remote, len(routes))
	case routes[0].Type == unix.RTN_LOCAL:
		return netlink.Route{}, fmt.Errorf("%s is an address of this host: packets to it reach no tunnel; give the peer's", remote)
	case routes[0].Type != unix.RTN_UNICAST:
		return netlink.Route{}, fmt.Errorf("%s is no unicast address here: give the peer's", remote)
	}
	return routes[0], nil
}

// explain says what a route lookup's error means: routes that refuse packets
// have one each (fib_props of net/ipv4/fib_semantics.c).
func explain(err error) string {
	reasons := []struct {
		is  error
		why string
	}{
		{unix.ENETUNREACH, "this host has none; the tunnel may be down, or its routes may be missing"},
		{unix.EHOSTUNREACH, "it is of type unreachable"},
		{unix.EACCES, "it is of type prohibit"},
		{unix.EINVAL, "it is of type blackhole, or the local address is not this host's"},
		{unix.EAGAIN, "it is of type throw, and no other table has one"},
	}
	for _, reason := range reasons {
		if errors.Is(err, reason.is) {
			return reason.why
		}
	}
	return "the kernel refuses the question"
}

func hopsOf(handle *netlink.Handle, route netlink.Route) ([]hop, error) {
	nextHops := route.MultiPath
	if len(nextHops) == 0 {
		nextHops = []*netlink.NexthopInfo{{LinkIndex: route.LinkIndex, Gw: route.Gw, Via: route.Via}}
	}
	var hops []hop
	for _, next := range nextHops {
		if next.Flags&unix.RTNH_F_DEAD != 0 {
			continue
		}
		link, err := handle.LinkByIndex(next.LinkIndex)
		if err != nil {
			return nil, fmt.Errorf("find the interface that packets leave by: %w", err)
		}
		hops = append(hops, hop{
			index:   link.Attrs().Index,
			name:    link.Attrs().Name,
			kind:    kindOf(link),
			mtu:     link.Attrs().MTU,
			gateway: gatewayOf(next),
		})
	}
	if len(hops) == 0 {
		return nil, errors.New("every interface that packets to the peer could leave by is down")
	}
	return hops, nil
}

// gatewayOf may be of another IP version than the route (RFC 5549, Section 1).
func gatewayOf(next *netlink.NexthopInfo) netip.Addr {
	address := next.Gw
	if via, ok := next.Via.(*netlink.Via); ok && via != nil {
		address = via.Addr
	}
	gateway, _ := netip.AddrFromSlice(address) // None: the peer is on the link.
	return gateway.Unmap()
}

// kindOf is the kernel's name of the link's kind. TAP devices are Ethernet's
// and stand before virtual machines as well: they are no sign of a tunnel.
func kindOf(link netlink.Link) string {
	device, ok := link.(*netlink.Tuntap)
	switch {
	case !ok:
		return link.Type()
	case device.Mode == netlink.TUNTAP_MODE_TUN:
		return "tun"
	default:
		return "tap"
	}
}

// measure asks the kernel for the path MTU that it knows: a socket of our own is
// connected to the peer, and sends nothing. Where a policy finds no SA yet, the
// kernel answers for a route to nowhere, whose MTU is beyond any interface's.
func (w *way) measure(namespace *tunnel.Namespace) error {
	var socket *net.UDPConn
	err := namespace.Do(func() (err error) {
		socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.flow.local.Addr(), 0)))
		return err
	})
	if err != nil {
		return fmt.Errorf("ask for the path MTU: %w", err)
	}
	defer func() { _ = socket.Close() }()
	mtu, err := tunnel.Place{Outer: namespace, Socket: socket}.PathMTU(w.flow.remote)
	w.pathMTU = min(mtu, w.narrowest())
	return err
}
