// Package inner sets up the clear side of a tunnel: an interface that a driver
// has put into the session's namespace gets its MTU, addresses and routes.
// Drivers share it, so that the clear side is the same whichever built it.
package inner

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

	"tunnelmark/tunnel"
)

const (
	// What takes microseconds on an idle machine waits, on a busy one, behind
	// the removal of other namespaces.
	localPatience = 10 * time.Second
	localPoll     = time.Millisecond // Between two looks.
)

// Side is the clear side of one tunnel. Close lets go of it; the interface is
// the driver's to remove.
type Side struct {
	handle *netlink.Handle // Speaks to the inner namespace, whichever thread calls.
	link   netlink.Link
}

// Configure brings up the interface of that name in the session's namespace,
// with the spec's MTU and inner addresses and a route to the peer's. The kernel
// must not speak on it by itself, or its chatter would be counted as load: no
// link-local address, no multicast.
func Configure(ctx context.Context, namespace *tunnel.Namespace, name string, spec tunnel.Spec) (*Side, error) {
	handle, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("reach inner namespace by netlink: %w", err)
	}
	s := &Side{handle: handle}
	if err := s.configure(ctx, name, spec); err != nil {
		s.Close()
		return nil, fmt.Errorf("configure interface %s: %w", name, err)
	}
	return s, nil
}

// Close lets go of the namespace's netlink socket.
func (s *Side) Close() { s.handle.Close() }

func (s *Side) configure(ctx context.Context, name string, spec tunnel.Spec) (err error) {
	if s.link, err = s.handle.LinkByName(name); err != nil {
		return fmt.Errorf("find interface: %w", err)
	}
	steps := []struct {
		name string
		run  func() error
	}{
		{"set MTU", func() error { return s.handle.LinkSetMTU(s.link, spec.MTU) }},
		{"switch multicast off", func() error { return s.handle.LinkSetMulticastOff(s.link) }},
		{"switch link-local addresses off", s.noLinkLocal},
		{"bring loopback up", s.loopbackUp},
		{"bring up", func() error { return s.handle.LinkSetUp(s.link) }},
		{"connect IPv4", func() error { return s.connect(spec.Local.Inner4, spec.Remote.Inner4) }},
		{"connect IPv6", func() error { return s.connect(spec.Local.Inner6, spec.Remote.Inner6) }},
		{"await IPv6", func() error { return AwaitLocal(ctx, s.handle, spec.Local.Inner6) }},
	}
	for _, step := range steps {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// noLinkLocal does nothing on a kernel without IPv6.
func (s *Side) noLinkLocal() error {
	err := s.handle.LinkSetIP6AddrGenMode(s.link, nl.IN6_ADDR_GEN_MODE_NONE)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

func (s *Side) loopbackUp() error {
	loopback, err := s.handle.LinkByName("lo")
	if err != nil {
		return err
	}
	return s.handle.LinkSetUp(loopback)
}

// connect adds our address and a route to the peer's. Duplicate address
// detection has nobody to ask here and would keep the address from use for a
// second (RFC 4862, Section 5.4). Tunnels side by side have the same addresses,
// so the route is appended: the first serves until Spread puts all into one.
func (s *Side) connect(local, remote netip.Addr) error {
	if !local.IsValid() {
		return nil
	}
	address := &netlink.Addr{IPNet: HostNet(local), Flags: unix.IFA_F_NODAD}
	if err := s.handle.AddrAdd(s.link, address); err != nil {
		return fmt.Errorf("add address %s: %w", local, err)
	}
	route := &netlink.Route{
		LinkIndex: s.link.Attrs().Index,
		Scope:     netlink.SCOPE_LINK,
		Dst:       HostNet(remote),
		Src:       local.AsSlice(),
	}
	if err := s.handle.RouteAppend(route); err != nil {
		return fmt.Errorf("add route to %s: %w", remote, err)
	}
	return nil
}

// AwaitLocal waits until the kernel takes packets to our address, in the namespace
// of the handle: it adds the route of an IPv6 one in its own time, even where
// duplicate address detection is off (addrconf_dad_work of net/ipv6/addrconf.c).
// An address that is not valid is not waited for.
func AwaitLocal(ctx context.Context, handle *netlink.Handle, local netip.Addr) error {
	if !local.IsValid() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, localPatience)
	defer cancel()
	for {
		routes, err := handle.RouteGet(local.AsSlice())
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

// HostNet is the network that holds one address.
func HostNet(address netip.Addr) *net.IPNet {
	bits := address.BitLen()
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, bits)}
}

// LimitSuperPackets bounds what the kernel hands over as one packet: how many segments,
// and how many bytes.
func (s *Side) LimitSuperPackets(segments, bytes int) error {
	err := errors.Join(s.handle.LinkSetGSOMaxSegs(s.link, segments), s.handle.LinkSetGSOMaxSize(s.link, bytes))
	if err != nil {
		return fmt.Errorf("limit super-packets of interface %s: %w", s.link.Attrs().Name, err)
	}
	return nil
}

// Statistics are the interface's own counters, seen from the namespace: what it
// transmits enters the tunnel. Bytes are of inner IP packets.
func (s *Side) Statistics() (netlink.LinkStatistics, error) {
	link, err := s.handle.LinkByIndex(s.link.Attrs().Index)
	if err != nil {
		return netlink.LinkStatistics{}, fmt.Errorf("read statistics of interface %s: %w", s.link.Attrs().Name, err)
	}
	statistics := link.Attrs().Statistics
	if statistics == nil {
		return netlink.LinkStatistics{}, fmt.Errorf("read statistics of interface %s: the kernel gives none", s.link.Attrs().Name)
	}
	return *statistics, nil
}

// Path says where load enters a tunnel whose clear side is an interface of that
// name in the session's namespace. It prefers IPv4, whose header is shorter,
// where the tunnel has both.
func Path(namespace *tunnel.Namespace, name string, spec tunnel.Spec) tunnel.Path {
	local, remote := spec.Local.Inner4, spec.Remote.Inner4
	if !local.IsValid() {
		local, remote = spec.Local.Inner6, spec.Remote.Inner6
	}
	return tunnel.Path{
		Namespace: namespace,
		Interface: name,
		Local:     netip.AddrPortFrom(local, tunnel.ProbePort),
		Remote:    netip.AddrPortFrom(remote, tunnel.ProbePort),
		MTU:       spec.MTU,
	}
}
