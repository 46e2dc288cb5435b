package xfrm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// addressSide is the clear side of policy-based ESP: inner addresses on this
// host's loopback interface, and routes to the peer's. Both end with the lifetime:
// addresses and IPv6 routes have one, an IPv4 route goes with its source address
// (fib_sync_down_addr of net/ipv4/fib_semantics.c).
type addressSide struct {
	handle    *netlink.Handle
	routes    *kernel
	lifetime  time.Duration
	mtu       int
	loopback  netlink.Link
	addresses []*netlink.Addr  // Added so far.
	added     []*netlink.Route // Likewise.
}

func openAddresses(ctx context.Context, p plan, spec tunnel.Spec, outer *tunnel.Namespace) (*addressSide, error) {
	s := &addressSide{lifetime: p.lifetime, mtu: spec.MTU}
	if err := s.open(ctx, p, spec, outer); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

func (s *addressSide) open(ctx context.Context, p plan, spec tunnel.Spec, outer *tunnel.Namespace) (err error) {
	if s.handle, err = netlink.NewHandleAt(netns.NsHandle(outer.FD()), unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("reach outer namespace by netlink: %w", err)
	}
	if s.routes, err = openKernel(outer, unix.NETLINK_ROUTE); err != nil {
		return err
	}
	if s.loopback, err = s.handle.LinkByName("lo"); err != nil {
		return fmt.Errorf("find loopback interface: %w", err)
	}
	way, err := s.handle.RouteGet(p.remote.Addr().AsSlice())
	if err != nil || len(way) == 0 {
		return fmt.Errorf("find the way to %s: %w", p.remote.Addr(), errors.Join(err, os.ErrNotExist))
	}
	for _, pair := range [][2]netip.Addr{{spec.Local.Inner4, spec.Remote.Inner4}, {spec.Local.Inner6, spec.Remote.Inner6}} {
		if !pair[0].IsValid() {
			continue
		}
		if err := s.connect(ctx, pair[0], pair[1], way[0].LinkIndex); err != nil {
			return err
		}
	}
	return nil
}

// connect adds our address and a route to the peer's. The route leads where
// encrypted packets go, but no inner packet goes there: the policy stands before it.
func (s *addressSide) connect(ctx context.Context, local, remote netip.Addr, device int) error {
	address := &netlink.Addr{
		IPNet: inner.HostNet(local),
		Flags: unix.IFA_F_NODAD, ValidLft: int(seconds(s.lifetime)),
		PreferedLft: 0, // Nobody uses it who does not ask for it (RFC 4862, Section 5.5.4).
	}
	if err := s.handle.AddrAdd(s.loopback, address); err != nil {
		return fmt.Errorf("add address %s to lo: %w", local, err)
	}
	s.addresses = append(s.addresses, address)
	if err := inner.AwaitLocal(ctx, s.handle, local); err != nil {
		return fmt.Errorf("%w (is lo up?)", err)
	}
	return s.addRoute(local, remote, device)
}

func (s *addressSide) addRoute(local, remote netip.Addr, device int) error {
	head := nl.NewRtMsg()
	head.Family, head.Dst_len, head.Scope = uint8(family(local)), uint8(remote.BitLen()), unix.RT_SCOPE_LINK
	m := newMessage(head.Serialize())
	m.attribute(unix.RTA_DST, remote.AsSlice())
	m.attribute(unix.RTA_PREFSRC, local.AsSlice())
	m.number(unix.RTA_OIF, uint32(device))
	metrics := newMessage(nil)
	metrics.number(unix.RTAX_MTU, uint32(s.mtu))
	m.attribute(unix.RTA_METRICS, metrics.bytes)
	if local.Is6() {
		m.number(unix.RTA_EXPIRES, uint32(seconds(s.lifetime)))
	}
	if _, err := s.routes.request(unix.RTM_NEWROUTE, create, m, 0); err != nil {
		return fmt.Errorf("add route to %s: %w", remote, err)
	}
	s.added = append(s.added, &netlink.Route{LinkIndex: device, Dst: inner.HostNet(remote), Src: local.AsSlice(), Scope: netlink.SCOPE_LINK})
	return nil
}

// count has nothing to say: what is refused here is refused to the sender.
func (s *addressSide) count(*tunnel.Counters) error { return nil }

// remove also cleans up after open. What has expired is gone already.
func (s *addressSide) remove() error {
	var errs []error
	for _, route := range s.added {
		if err := s.handle.RouteDel(route); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove route to %s: %w", route.Dst, err))
		}
	}
	for _, address := range s.addresses {
		if err := s.handle.AddrDel(s.loopback, address); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("remove address %s from lo: %w", address.IPNet, err))
		}
	}
	if s.routes != nil {
		s.routes.close()
	}
	if s.handle != nil {
		s.handle.Close()
	}
	return errors.Join(errs...)
}
