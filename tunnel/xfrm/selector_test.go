package xfrm

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func prefixes(source, destination string) selector {
	return selector{source: netip.MustParsePrefix(source), destination: netip.MustParsePrefix(destination)}
}

func TestSelectorOverlaps(t *testing.T) {
	ours := flow(netip.MustParseAddrPort("192.0.2.1:51980"), netip.MustParseAddrPort("192.0.2.2:51981"))
	esp, http, ranged := ours, ours, ours
	esp.protocol = unix.IPPROTO_ESP
	http.destinationPort = onePort(80)
	ranged.sourcePort = port{51968, 0xffc0} // 51968 to 52031.
	tests := []struct {
		name  string
		other selector
		want  bool
	}{
		{"itself", ours, true},
		{"the way back", ours.reverse(), false},
		{"the way back, reversed", ours.reverse().reverse(), true},
		{"all between the hosts", hosts(ours.source.Addr(), ours.destination.Addr()), true},
		{"everything of IPv4", prefixes("0.0.0.0/0", "0.0.0.0/0"), true},
		{"everything of IPv6", prefixes("::/0", "::/0"), false},
		{"another source", prefixes("192.0.2.128/25", "192.0.2.0/25"), false},
		{"another destination", prefixes("192.0.2.0/25", "192.0.2.128/25"), false},
		{"another protocol", esp, false},
		{"another port", http, false},
		{"a range of ports", ranged, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := ours.overlaps(test.other); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
			if got := test.other.overlaps(ours); got != test.want {
				t.Errorf("the other way: got %t, want %t", got, test.want)
			}
		})
	}
}

func TestScopeOverlaps(t *testing.T) {
	every := ^uint32(0)
	tests := []struct {
		name string
		a, b scope
		want bool
	}{
		{"both everywhere", scope{}, scope{}, true},
		{"one interface", scope{ifID: 7}, scope{ifID: 7}, true},
		{"two interfaces", scope{ifID: 7}, scope{ifID: 8}, false},
		{"an interface and none", scope{ifID: 7}, scope{}, false},
		{"a mark and none", scope{mark: 7, mask: every}, scope{}, true},
		{"two marks", scope{mark: 7, mask: every}, scope{mark: 8, mask: every}, false},
		{"marks of different bits", scope{mark: 1, mask: 1}, scope{mark: 2, mask: 2}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, back := test.a.overlaps(test.b), test.b.overlaps(test.a); got != test.want || back != test.want {
				t.Errorf("got %t and %t, want %t", got, back, test.want)
			}
		})
	}
}
