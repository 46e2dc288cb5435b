package tunneltest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
)

// Interface is the name of the outer interface at both ends of a Link.
const Interface = "wan0"

// leftIndex is another number than the right end gets: the kernel notices at
// once that a link is up whose ends have different ones, but else once a second
// (linkwatch_urgent_event of net/core/link_watch.c).
const leftIndex = 1000

// Site is one end of a Link: an outer namespace with an interface to the other
// site, and an empty inner one.
type Site struct {
	Outer, Inner *tunnel.Namespace
	Addr4, Addr6 netip.Addr // Of the outer interface.
}

// Link is two sites joined by a veth pair that carries nothing by itself:
// neighbours are static and nobody speaks IPv6 unasked.
type Link struct {
	Left, Right *Site
}

// NewLink makes a link of that MTU, in bytes. It is gone when the test ends.
// The test is skipped, or fails, where it is not run by root.
func NewLink(t testing.TB, mtu int) *Link {
	t.Helper()
	labtest.NeedRoot(t)
	link := &Link{
		Left:  newSite(t, "192.0.2.1", "2001:db8::1"),
		Right: newSite(t, "192.0.2.2", "2001:db8::2"),
	}
	if err := link.join(mtu); err != nil {
		t.Fatalf("join sites: %v", err)
	}
	return link
}

func newSite(t testing.TB, addr4, addr6 string) *Site {
	t.Helper()
	return &Site{
		Outer: newNamespace(t),
		Inner: newNamespace(t),
		Addr4: netip.MustParseAddr(addr4),
		Addr6: netip.MustParseAddr(addr6),
	}
}

func newNamespace(t testing.TB) *tunnel.Namespace {
	t.Helper()
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatalf("make namespace: %v", err)
	}
	t.Cleanup(func() { _ = namespace.Close() })
	return namespace
}

func handle(namespace *tunnel.Namespace) (*netlink.Handle, error) {
	return netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE)
}

// join makes the pair from the left side and then configures both ends.
func (l *Link) join(mtu int) error {
	left, err := handle(l.Left.Outer)
	if err != nil {
		return err
	}
	defer left.Close()
	right, err := handle(l.Right.Outer)
	if err != nil {
		return err
	}
	defer right.Close()
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: Interface, MTU: mtu, Index: leftIndex},
		PeerName:      Interface,
		PeerMTU:       uint32(mtu),
		PeerNamespace: netlink.NsFd(l.Right.Outer.FD()),
	}
	if err := left.LinkAdd(pair); err != nil {
		return fmt.Errorf("add veth pair: %w", err)
	}
	leftEnd, err := left.LinkByName(Interface)
	if err != nil {
		return err
	}
	rightEnd, err := right.LinkByName(Interface)
	if err != nil {
		return err
	}
	return errors.Join(
		configure(left, leftEnd, l.Left, l.Right, rightEnd.Attrs().HardwareAddr),
		configure(right, rightEnd, l.Right, l.Left, leftEnd.Attrs().HardwareAddr),
		awaitUp(left, l.Left.Addr6),
		awaitUp(right, l.Right.Addr6),
	)
}

// awaitUp waits until the kernel has noticed that both ends are up, and that it
// has an IPv6 address, which it does in its own time (net/core/link_watch.c,
// addrconf_dad_work of net/ipv6/addrconf.c): until then it drops, without a
// word, what is sent.
func awaitUp(h *netlink.Handle, addr6 netip.Addr) error {
	up := eventually(func() bool {
		end, err := h.LinkByName(Interface)
		if err != nil || end.Attrs().OperState != netlink.OperUp {
			return false
		}
		routes, err := h.RouteGet(addr6.AsSlice())
		return err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL
	})
	if !up {
		return errors.New("link does not come up")
	}
	return nil
}

func configure(h *netlink.Handle, end netlink.Link, near, far *Site, hardware net.HardwareAddr) error {
	if err := h.LinkSetIP6AddrGenMode(end, nl.IN6_ADDR_GEN_MODE_NONE); err != nil {
		return fmt.Errorf("switch link-local addresses off: %w", err)
	}
	// Without this flag the kernel does not report multicast groups, which would
	// stand among the frames that a test has captured.
	if err := h.LinkSetMulticastOff(end); err != nil {
		return fmt.Errorf("switch multicast off: %w", err)
	}
	if err := h.LinkSetUp(end); err != nil {
		return fmt.Errorf("bring link up: %w", err)
	}
	for _, pair := range [][2]netip.Addr{{near.Addr4, far.Addr4}, {near.Addr6, far.Addr6}} {
		address := &netlink.Addr{IPNet: subnet(pair[0]), Flags: unix.IFA_F_NODAD}
		if err := h.AddrAdd(end, address); err != nil {
			return fmt.Errorf("add address %s: %w", pair[0], err)
		}
		neighbour := &netlink.Neigh{
			LinkIndex:    end.Attrs().Index,
			State:        netlink.NUD_PERMANENT,
			IP:           pair[1].AsSlice(),
			HardwareAddr: hardware,
		}
		if err := h.NeighSet(neighbour); err != nil {
			return fmt.Errorf("add neighbour %s: %w", pair[1], err)
		}
	}
	return nil
}

// subnet is the link's: 192.0.2.0/24 (RFC 5737) or 2001:db8::/64 (RFC 3849).
func subnet(address netip.Addr) *net.IPNet {
	ones := 24
	if address.Is6() {
		ones = 64
	}
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(ones, address.BitLen())}
}

// SetMTU changes the outer interface's MTU, in bytes.
func (s *Site) SetMTU(t testing.TB, mtu int) {
	t.Helper()
	h, err := handle(s.Outer)
	if err != nil {
		t.Fatalf("reach namespace by netlink: %v", err)
	}
	defer h.Close()
	link, err := h.LinkByName(Interface)
	if err == nil {
		err = h.LinkSetMTU(link, mtu)
	}
	if err != nil {
		t.Fatalf("set MTU of outer interface: %v", err)
	}
}

// interfaces lists the names of a namespace's interfaces.
func interfaces(t testing.TB, namespace *tunnel.Namespace) []string {
	t.Helper()
	h, err := handle(namespace)
	if err != nil {
		t.Fatalf("reach namespace by netlink: %v", err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		t.Fatalf("list interfaces: %v", err)
	}
	names := make([]string, len(links))
	for i, link := range links {
		names[i] = link.Attrs().Name
	}
	return names
}
