package tunnel

import (
	"net/netip"
	"testing"
)

func TestCheckInner(t *testing.T) {
	good := Spec{
		MTU:    1400,
		Local:  End{Inner4: netip.MustParseAddr("198.18.0.1"), Inner6: netip.MustParseAddr("2001:2::1")},
		Remote: End{Inner4: netip.MustParseAddr("198.18.0.2"), Inner6: netip.MustParseAddr("2001:2::2")},
	}
	none := netip.Addr{}
	tests := []struct {
		name  string
		alter func(*Spec)
		want  string // "": accepted.
	}{
		{"both", func(*Spec) {}, ""},
		{"IPv4 only", func(s *Spec) { s.Local.Inner6, s.Remote.Inner6, s.MTU = none, none, 68 }, ""},
		{"IPv6 only", func(s *Spec) { s.Local.Inner4, s.Remote.Inner4 = none, none }, ""},
		{"none", func(s *Spec) { s.Local, s.Remote = End{}, End{} },
			"no inner address: want an IPv4 one, an IPv6 one or both"},
		{"at one end only", func(s *Spec) { s.Remote.Inner4 = none },
			`inner addresses "198.18.0.1" and "invalid IP": want none or both`},
		{"same at both ends", func(s *Spec) { s.Remote.Inner6 = s.Local.Inner6 },
			"inner address 2001:2::1 is that of both ends"},
		{"IPv6 for IPv4", func(s *Spec) { s.Remote.Inner4 = s.Remote.Inner6 },
			`inner IPv4 address "2001:2::2" is none`},
		{"IPv4 for IPv6", func(s *Spec) { s.Local.Inner6 = s.Local.Inner4 },
			`inner IPv6 address "198.18.0.1" is none`},
		{"zone", func(s *Spec) { s.Local.Inner6 = netip.MustParseAddr("fe80::1%eth0") },
			`inner IPv6 address "fe80::1%eth0" is none`},
		{"MTU too small for IPv6", func(s *Spec) { s.MTU = 1279 },
			"MTU 1279: IPv6 inside wants 1280 or more"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := good
			test.alter(&spec)
			got := ""
			if err := spec.CheckInner(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got error %q, want %q", got, test.want)
			}
		})
	}
}
