package existing_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/existing"
	"tunnelmark/tunnel/tunneltest"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

const unseen = ": this host sees no tunnel on the way; the gateway's counter of encrypted packets would prove it (--gateway-counter)"

func TestConformance(t *testing.T) {
	for name, outer6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		t.Run(name, func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver: existing.Driver{},
				Spec:   tunnel.Spec{MTU: tunneltest.PathMTU},
				Outer6: outer6,
			})
		})
	}
}

// host is the left site of a link, whose routes a test may change.
type host struct {
	site *tunneltest.Site
	*netlink.Handle
}

func newHost(t *testing.T) *host {
	t.Helper()
	site := tunneltest.NewLink(t, tunneltest.PathMTU).Left
	h, err := netlink.NewHandleAt(netns.NsHandle(site.Outer.FD()), unix.NETLINK_ROUTE, unix.NETLINK_XFRM)
	if err != nil {
		t.Fatalf("reach namespace by netlink: %v", err)
	}
	t.Cleanup(h.Close)
	return &host{site, h}
}

func (h *host) index(t *testing.T, name string) int {
	t.Helper()
	link, err := h.LinkByName(name)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return link.Attrs().Index
}

func (h *host) route(t *testing.T, to string, route netlink.Route) {
	t.Helper()
	route.Dst = subnet(to)
	if err := h.RouteReplace(&route); err != nil {
		t.Fatalf("add route to %s: %v", to, err)
	}
}

func subnet(prefix string) *net.IPNet {
	parsed := netip.MustParsePrefix(prefix)
	return &net.IPNet{IP: parsed.Addr().AsSlice(), Mask: net.CIDRMask(parsed.Bits(), parsed.Addr().BitLen())}
}

// addTUN makes an interface as user-space tunnels have one.
func (h *host) addTUN(t *testing.T, name string) {
	t.Helper()
	err := h.site.Outer.Do(func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = name
		return h.LinkAdd(&netlink.Tuntap{LinkAttrs: attributes, Mode: netlink.TUNTAP_MODE_TUN})
	})
	if err != nil {
		t.Fatalf("add TUN device: %v", err)
	}
	link, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkSetUp(link)
	}
	if err != nil {
		t.Fatalf("bring TUN device up: %v", err)
	}
}

// open opens a half from the host's own address to the peer.
func (h *host) open(t *testing.T, through, peer string) (tunnel.Tunnel, error) {
	t.Helper()
	remote, local := netip.MustParseAddr(peer), h.site.Addr4
	if remote.Is6() {
		local = h.site.Addr6
	}
	var socket *net.UDPConn
	err := h.site.Outer.Do(func() (err error) {
		socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 4500)))
		return err
	})
	if err != nil {
		t.Fatalf("reserve outer socket: %v", err)
	}
	spec := tunnel.Spec{
		MTU:    1280,
		Local:  tunnel.End{Outer: netip.AddrPortFrom(local, 4500)},
		Remote: tunnel.End{Outer: netip.AddrPortFrom(remote, 4500)},
	}
	place := tunnel.Place{Outer: h.site.Outer, Inner: h.site.Inner, Socket: socket, Interface: through}
	return existing.Driver{}.Open(context.Background(), spec, nil, place)
}

func (h *host) witness(t *testing.T, through, peer string) tunnel.Witness {
	t.Helper()
	half, err := h.open(t, through, peer)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := half.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return half.(tunnel.Witness)
}

func TestEvidence(t *testing.T) {
	wan := func(t *testing.T, h *host) *netlink.NexthopInfo {
		return &netlink.NexthopInfo{LinkIndex: h.index(t, tunneltest.Interface), Gw: net.ParseIP("192.0.2.2")}
	}
	tests := []struct {
		name  string
		peer  string
		setUp func(*testing.T, *host)
		want  tunnel.Evidence
	}{
		{"on the link", "192.0.2.2", func(*testing.T, *host) {},
			tunnel.Evidence{How: "to 192.0.2.2 dev wan0 src 192.0.2.1, PMTU 1500" + unseen}},
		{"on the link by IPv6", "2001:db8::2", func(*testing.T, *host) {},
			tunnel.Evidence{How: "to 2001:db8::2 dev wan0 src 2001:db8::1, PMTU 1500" + unseen}},
		{"by a gateway", "198.51.100.5", func(t *testing.T, h *host) {
			h.route(t, "198.51.100.0/24", netlink.Route{Gw: net.ParseIP("192.0.2.2")})
		}, tunnel.Evidence{How: "to 198.51.100.5 via 192.0.2.2 dev wan0 src 192.0.2.1, PMTU 1500" + unseen}},
		{"by a gateway of the other IP version", "198.51.100.5", func(t *testing.T, h *host) {
			via := &netlink.Via{AddrFamily: unix.AF_INET6, Addr: net.ParseIP("2001:db8::2")}
			h.route(t, "198.51.100.0/24", netlink.Route{LinkIndex: h.index(t, tunneltest.Interface), Via: via})
		}, tunnel.Evidence{How: "to 198.51.100.5 via 2001:db8::2 dev wan0 src 192.0.2.1, PMTU 1500" + unseen}},
		{"path narrower than the link", "198.51.100.5", func(t *testing.T, h *host) {
			h.route(t, "198.51.100.0/24", netlink.Route{Gw: net.ParseIP("192.0.2.2"), MTU: 1438})
		}, tunnel.Evidence{How: "to 198.51.100.5 via 192.0.2.2 dev wan0 src 192.0.2.1, PMTU 1438" +
			" (62 below the interface's, as a tunnel on the way would make it)" + unseen}},
		{"by another table", "198.51.100.5", func(t *testing.T, h *host) {
			h.route(t, "198.51.100.0/24", netlink.Route{Gw: net.ParseIP("192.0.2.2"), Table: 220})
			rule := netlink.NewRule()
			rule.Table, rule.Priority = 220, 220
			if err := h.RuleAdd(rule); err != nil {
				t.Fatal(err)
			}
		}, tunnel.Evidence{How: "to 198.51.100.5 via 192.0.2.2 dev wan0 src 192.0.2.1 table 220, PMTU 1500" + unseen}},
		{"by a TUN device", "198.51.100.5", func(t *testing.T, h *host) {
			h.addTUN(t, "st0")
			h.route(t, "198.51.100.0/24", netlink.Route{LinkIndex: h.index(t, "st0")})
		}, tunnel.Evidence{Proven: true, How: "to 198.51.100.5 dev st0 (TUN device) src 192.0.2.1, PMTU 1500"}},
		{"by a TUN device or around it", "198.51.100.5", func(t *testing.T, h *host) {
			h.addTUN(t, "st0")
			h.route(t, "198.51.100.0/24", netlink.Route{MultiPath: []*netlink.NexthopInfo{{LinkIndex: h.index(t, "st0")}, wan(t, h)}})
		}, tunnel.Evidence{How: "to 198.51.100.5 dev st0 (TUN device) or via 192.0.2.2 dev wan0 src 192.0.2.1, PMTU 1500" + unseen}},
		{"by two TUN devices", "198.51.100.5", func(t *testing.T, h *host) {
			h.addTUN(t, "st0")
			h.addTUN(t, "st1")
			h.route(t, "198.51.100.0/24", netlink.Route{MultiPath: []*netlink.NexthopInfo{{LinkIndex: h.index(t, "st0")}, {LinkIndex: h.index(t, "st1")}}})
		}, tunnel.Evidence{Proven: true, How: "to 198.51.100.5 dev st0 (TUN device) or dev st1 (TUN device) src 192.0.2.1, PMTU 1500"}},
		{"by an xfrm policy", "192.0.2.2", func(t *testing.T, h *host) {
			h.protect(t, "192.0.2.1/32", "192.0.2.2/32", "203.0.113.1")
		}, tunnel.Evidence{Proven: true, How: "to 192.0.2.2 dev wan0 (xfrm policy: esp tunnel to 203.0.113.1) src 192.0.2.1, PMTU 1500"}},
		{"by an xfrm policy of IPv6 subnets", "2001:db8::2", func(t *testing.T, h *host) {
			h.protect(t, "2001:db8::/64", "2001:db8::/64", "2001:db8:1::1")
		}, tunnel.Evidence{Proven: true, How: "to 2001:db8::2 dev wan0 (xfrm policy: esp tunnel to 2001:db8:1::1) src 2001:db8::1, PMTU 1500"}},
		{"beside an xfrm policy", "192.0.2.2", func(t *testing.T, h *host) {
			h.protect(t, "192.0.2.1/32", "192.0.2.3/32", "203.0.113.1")
		}, tunnel.Evidence{How: "to 192.0.2.2 dev wan0 src 192.0.2.1, PMTU 1500" + unseen}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			test.setUp(t, h)
			got := h.witness(t, "", test.peer).Evidence()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("evidence (-want +got):\n%s", diff)
			}
		})
	}
}

// protect demands ESP in tunnel mode to a gateway. Nobody has an SA for it:
// packets would be dropped, but the test sends none.
func (h *host) protect(t *testing.T, local, remote, gateway string) {
	t.Helper()
	own := h.site.Addr4
	if netip.MustParseAddr(gateway).Is6() {
		own = h.site.Addr6
	}
	err := h.XfrmPolicyAdd(&netlink.XfrmPolicy{
		Src: subnet(local), Dst: subnet(remote), Dir: netlink.XFRM_DIR_OUT,
		Tmpls: []netlink.XfrmPolicyTmpl{{
			Src: own.AsSlice(), Dst: net.ParseIP(gateway), Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL,
		}},
	})
	if err != nil {
		t.Fatalf("add xfrm policy: %v", err)
	}
}

// Evidence is of the moment: it changes with the routes, without another Open.
func TestEvidenceIsCurrent(t *testing.T) {
	h := newHost(t)
	h.addTUN(t, "st0")
	h.route(t, "198.51.100.0/24", netlink.Route{LinkIndex: h.index(t, "st0")})
	witness := h.witness(t, "st0", "198.51.100.5")
	if got := witness.Evidence(); !got.Proven {
		t.Errorf("while the route leads into the tunnel: got %+v, want a proof", got)
	}

	h.route(t, "198.51.100.0/24", netlink.Route{Gw: net.ParseIP("192.0.2.2")})
	want := tunnel.Evidence{How: "packets to 198.51.100.5 leave by wan0, not by st0: route the peer's address by st0, or name the interface that is meant"}
	if diff := cmp.Diff(want, witness.Evidence()); diff != "" {
		t.Errorf("once the route leads around it (-want +got):\n%s", diff)
	}

	if err := h.RouteDel(&netlink.Route{Dst: subnet("198.51.100.0/24")}); err != nil {
		t.Fatal(err)
	}
	if got := witness.Evidence(); got.Proven || !strings.Contains(got.How, "this host has none") {
		t.Errorf("once there is no route: got %+v", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	routed := func(prefix string, kind int) func(*testing.T, *host) {
		return func(t *testing.T, h *host) { h.route(t, prefix, netlink.Route{Type: kind}) }
	}
	tests := []struct {
		name    string
		through string
		peer    string
		setUp   func(*testing.T, *host)
		want    string
		is      error
	}{
		{"no route", "", "198.51.100.5", nil, "this host has none", unix.ENETUNREACH},
		{"no route by IPv6", "", "2001:db8:1::5", nil, "this host has none", unix.ENETUNREACH},
		{"blackhole", "", "198.51.100.5", routed("198.51.100.0/24", unix.RTN_BLACKHOLE), "of type blackhole", unix.EINVAL},
		{"blackhole by IPv6", "", "2001:db8:1::5", routed("2001:db8:1::/48", unix.RTN_BLACKHOLE), "of type blackhole", unix.EINVAL},
		{"prohibit", "", "198.51.100.5", routed("198.51.100.0/24", unix.RTN_PROHIBIT), "of type prohibit", unix.EACCES},
		{"unreachable", "", "198.51.100.5", routed("198.51.100.0/24", unix.RTN_UNREACHABLE), "of type unreachable", unix.EHOSTUNREACH},
		{"address of this host", "", "192.0.2.9", func(t *testing.T, h *host) {
			link, err := h.LinkByName(tunneltest.Interface)
			if err == nil {
				err = h.AddrAdd(link, &netlink.Addr{IPNet: subnet("192.0.2.9/32")})
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "192.0.2.9 is an address of this host", nil},
		{"broadcast", "", "192.0.2.255", nil, "no unicast address", nil},
		{"other interface", "st0", "192.0.2.2", nil, "leave by wan0, not by st0", nil},
		{"blocking policy", "", "192.0.2.2", func(t *testing.T, h *host) {
			policy := &netlink.XfrmPolicy{Src: subnet("192.0.2.0/24"), Dst: subnet("192.0.2.0/24"), Dir: netlink.XFRM_DIR_OUT, Action: netlink.XFRM_POLICY_BLOCK}
			if err := h.XfrmPolicyAdd(policy); err != nil {
				t.Fatal(err)
			}
		}, "an xfrm policy of this host blocks packets to 192.0.2.2", nil},
		{"path too narrow", "", "198.51.100.5", func(t *testing.T, h *host) {
			h.route(t, "198.51.100.0/24", netlink.Route{Gw: net.ParseIP("192.0.2.2"), MTU: 1200})
		}, "MTU 1280: the path to 198.51.100.5 takes packets of at most 1200 bytes", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			if test.setUp != nil {
				test.setUp(t, h)
			}
			_, err := h.open(t, test.through, test.peer)
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want an error that wraps %v and says %q", err, test.is, test.want)
			}
		})
	}
}
