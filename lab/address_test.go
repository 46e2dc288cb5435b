package lab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLegsOfFirstLink(t *testing.T) {
	got := legs(0, Link{Between: [2]string{"a", "b"}})
	want := [2]leg{
		{
			site: "a", far: "b",
			outer:  port{name: "to-b", mac: []byte{2, 't', 'm', 0, 0, 1}, v4: netip.MustParsePrefix("192.0.2.1/30"), v6: netip.MustParsePrefix("2001:db8::1/64")},
			middle: port{name: "to-a", mac: []byte{2, 't', 'm', 0, 0, 2}, v4: netip.MustParsePrefix("192.0.2.2/30"), v6: netip.MustParsePrefix("2001:db8::2/64")},
		},
		{
			site: "b", far: "a",
			outer:  port{name: "to-a", mac: []byte{2, 't', 'm', 0, 1, 1}, v4: netip.MustParsePrefix("192.0.2.5/30"), v6: netip.MustParsePrefix("2001:db8:0:1::1/64")},
			middle: port{name: "to-b", mac: []byte{2, 't', 'm', 0, 1, 2}, v4: netip.MustParsePrefix("192.0.2.6/30"), v6: netip.MustParsePrefix("2001:db8:0:1::2/64")},
		},
	}
	for side := range want {
		want[side].way = want[side].middle
	}
	options := cmp.Options{cmp.AllowUnexported(leg{}, port{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	if diff := cmp.Diff(want, got, options); diff != "" {
		t.Errorf("legs (-want +got):\n%s", diff)
	}
}

// The way to a site through a WAN looks like the port before which it stands.
func TestLegsOfALinkWithWAN(t *testing.T) {
	got := legs(0, Link{Between: [2]string{"a", "b"}, WAN: WAN{Delay: 1}})[1]
	wantWay := port{name: "wan1", mac: got.middle.mac, v4: netip.MustParsePrefix("192.0.2.6/32"), v6: netip.MustParsePrefix("2001:db8:0:1::2/128")}
	wantEnd := port{name: "wan1-end", mac: []byte{2, 't', 'm', 0, 1, 3}}
	options := cmp.Options{cmp.AllowUnexported(port{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	if diff := cmp.Diff([]port{wantWay, wantEnd}, []port{got.way, got.wanEnd}, options); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestAddressesAreDocumentationsAndDistinct(t *testing.T) {
	ranges := []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("2001:db8::/32"),
	}
	documentation := func(a netip.Addr) bool {
		for _, r := range ranges {
			if r.Contains(a) {
				return true
			}
		}
		return false
	}
	seen := make(map[netip.Prefix]bool)
	for i := range maxLinks {
		for _, l := range legs(i, Link{Between: [2]string{"a", "b"}}) {
			for _, network := range []netip.Prefix{l.outer.v4, l.outer.v6} {
				if !documentation(network.Addr()) || seen[network.Masked()] {
					t.Errorf("link %d: want a documentation network of its own, got %s", i, network)
				}
				seen[network.Masked()] = true
			}
			if !l.outer.v4.Contains(l.middle.v4.Addr()) || l.outer.v4 == l.middle.v4 {
				t.Errorf("link %d: want two addresses in one network, got %s and %s", i, l.outer.v4, l.middle.v4)
			}
		}
	}
}
