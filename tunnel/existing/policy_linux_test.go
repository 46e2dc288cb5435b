package existing

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

var testFlow = flow{netip.MustParseAddrPort("10.1.0.5:4500"), netip.MustParseAddrPort("10.2.0.5:4501")}

// between is a policy that protects what goes between two networks.
func between(local, remote string, change func(*policy)) policy {
	p := policy{
		local: netip.MustParsePrefix(local), remote: netip.MustParsePrefix(remote),
		transforms: []transform{{protocol: netlink.XFRM_PROTO_ESP, mode: netlink.XFRM_MODE_TUNNEL}},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func TestPolicyMatches(t *testing.T) {
	tests := []struct {
		name   string
		policy policy
		want   bool
	}{
		{"both networks", between("10.1.0.0/16", "10.2.0.0/16", nil), true},
		{"everything", between("0.0.0.0/0", "0.0.0.0/0", nil), true},
		{"the two hosts", between("10.1.0.5/32", "10.2.0.5/32", nil), true},
		{"another local host", between("10.1.0.6/32", "10.2.0.5/32", nil), false},
		{"another remote network", between("10.1.0.0/16", "10.3.0.0/16", nil), false},
		{"the reverse", between("10.2.0.0/16", "10.1.0.0/16", nil), false},
		{"the other IP version", between("::/0", "::/0", nil), false},
		{"UDP", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.protocol = unix.IPPROTO_UDP }), true},
		{"GRE", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.protocol = unix.IPPROTO_GRE }), false},
		{"local port", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.localPort = ports{4500, 0xffff} }), true},
		{"another local port", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.localPort = ports{4501, 0xffff} }), false},
		{"another remote port", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.remotePort = ports{4500, 0xffff} }), false},
		{"range of ports", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.remotePort = ports{4500 &^ 7, 0xfff8} }), true},
		{"the interface", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.interfaceIndex = 2 }), true},
		{"another interface", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.interfaceIndex = 3 }), false},
		{"an xfrm interface's", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.interfaceID = 1 }), false},
		{"marked packets", between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.mark = 1 }), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.policy.matches(testFlow, 2); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// The kernel obeys one policy only: a bypass in front of a tunnel's keeps the
// flow out of it.
func TestDecisive(t *testing.T) {
	tunnelled := between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.priority = 200 })
	bypass := between("10.1.0.5/32", "10.2.0.5/32", func(p *policy) { p.priority, p.transforms = 100, nil })
	optional := between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.transforms[0].optional = true })
	compressed := between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.transforms[0].protocol = netlink.XFRM_PROTO_COMP })
	blocked := between("10.1.0.0/16", "10.2.0.0/16", func(p *policy) { p.blocks = true })
	elsewhere := between("10.1.0.0/16", "10.9.0.0/16", nil)
	equal := between("0.0.0.0/0", "0.0.0.0/0", func(p *policy) { p.priority = 200 })
	tests := []struct {
		name     string
		policies []policy
		want     int // Index in policies; -1: none.
		protects bool
	}{
		{"none", nil, -1, false},
		{"none that matches", []policy{elsewhere}, -1, false},
		{"one", []policy{elsewhere, tunnelled}, 1, true},
		{"bypass before the tunnel's", []policy{tunnelled, bypass}, 1, false},
		{"first of equal ones", []policy{equal, tunnelled}, 0, true},
		{"optional ESP", []policy{optional}, 0, false},
		{"compression only", []policy{compressed}, 0, false},
		{"blocking", []policy{blocked}, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := decisive(test.policies, testFlow, 2)
			if test.want < 0 {
				if got != nil {
					t.Errorf("got %+v, want none", got)
				}
				return
			}
			if got != &test.policies[test.want] {
				t.Fatalf("got %+v, want policy %d", got, test.want)
			}
			if got.protects() != test.protects {
				t.Errorf("protects: got %v, want %v", got.protects(), test.protects)
			}
		})
	}
}

// message is a policy as the kernel tells it.
func message(family uint16, template *nl.XfrmUserTmpl) []byte {
	info := nl.XfrmUserpolicyInfo{Priority: 7, Dir: uint8(netlink.XFRM_DIR_OUT)}
	info.Sel = nl.XfrmSelector{
		Saddr: nl.XfrmAddress{0x20, 0x01, 0x0d, 0xb8}, PrefixlenS: 64,
		Daddr: nl.XfrmAddress{0x20, 0x01, 0x0d, 0xb8, 0, 1}, PrefixlenD: 48,
		Sport: nl.Swap16(4500), SportMask: 0xffff, Family: family, Proto: unix.IPPROTO_UDP, Ifindex: 3,
	}
	bytes := info.Serialize()
	for _, attribute := range []*nl.RtAttr{
		nl.NewRtAttr(nl.XFRMA_TMPL, template.Serialize()),
		nl.NewRtAttr(nl.XFRMA_MARK, (&nl.XfrmMark{Value: 5, Mask: 0xff}).Serialize()),
		nl.NewRtAttr(nl.XFRMA_IF_ID, nl.Uint32Attr(9)),
	} {
		bytes = append(bytes, attribute.Serialize()...)
	}
	return bytes
}

func testMessage() []byte {
	template := &nl.XfrmUserTmpl{Family: unix.AF_INET, Mode: uint8(netlink.XFRM_MODE_TUNNEL)}
	template.XfrmId = nl.XfrmId{Daddr: nl.XfrmAddress{203, 0, 113, 1}, Proto: unix.IPPROTO_ESP}
	return message(unix.AF_INET6, template)
}

func TestParsePolicy(t *testing.T) {
	got, direction, err := parsePolicy(testMessage())
	if err != nil {
		t.Fatal(err)
	}
	if direction != netlink.XFRM_DIR_OUT {
		t.Errorf("direction: got %v, want %v", direction, netlink.XFRM_DIR_OUT)
	}
	want := policy{
		local: netip.MustParsePrefix("2001:db8::/64"), remote: netip.MustParsePrefix("2001:db8:1::/48"),
		localPort: ports{4500, 0xffff}, protocol: unix.IPPROTO_UDP, interfaceIndex: 3, interfaceID: 9, mark: 5, priority: 7,
		transforms: []transform{{protocol: netlink.XFRM_PROTO_ESP, mode: netlink.XFRM_MODE_TUNNEL, peer: netip.MustParseAddr("203.0.113.1")}},
	}
	options := cmp.Options{
		cmp.AllowUnexported(policy{}, ports{}, transform{}),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, options); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}

// What is read says no more than what was there: a policy that matches has a
// prefix of the flow's own IP version.
func FuzzParsePolicy(f *testing.F) {
	whole := testMessage()
	for _, length := range []int{0, nl.SizeofXfrmUserpolicyInfo - 1, nl.SizeofXfrmUserpolicyInfo, len(whole) - 1, len(whole)} {
		f.Add(whole[:length])
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		p, _, err := parsePolicy(message)
		if err == nil && p.matches(testFlow, 2) && !p.remote.Addr().Is4() {
			t.Errorf("%s matches an IPv4 flow", p.remote)
		}
		if most := len(message) / nl.SizeofXfrmUserTmpl; len(p.transforms) > most {
			t.Errorf("%d transforms in %d bytes, want at most %d", len(p.transforms), len(message), most)
		}
	})
}
