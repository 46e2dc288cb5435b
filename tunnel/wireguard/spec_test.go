package wireguard

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"tunnelmark/tunnel"
)

// example is a spec that works.
func example() tunnel.Spec {
	return tunnel.Spec{
		MTU: 1440,
		Local: tunnel.End{
			Outer:  netip.MustParseAddrPort("192.0.2.1:4500"),
			Inner4: netip.MustParseAddr("198.18.0.1"), Inner6: netip.MustParseAddr("2001:2::1"),
		},
		Remote: tunnel.End{
			Outer:  netip.MustParseAddrPort("192.0.2.2:4500"),
			Inner4: netip.MustParseAddr("198.18.0.2"), Inner6: netip.MustParseAddr("2001:2::2"),
		},
	}
}

func TestCheckSpec(t *testing.T) {
	tests := []struct {
		name      string
		alter     func(*tunnel.Spec)
		want      string // "": accepted.
		supported bool   // The refusal is not that something is not supported.
	}{
		{"good", func(*tunnel.Spec) {}, "", true},
		{"its own words", func(s *tunnel.Spec) { s.Suite, s.Encapsulation = tunnel.ChaCha20Poly1305, tunnel.UDP }, "", true},
		{"another suite", func(s *tunnel.Spec) { s.Suite = tunnel.AES128GCM },
			`suite "aes-128-gcm": WireGuard has only chacha20-poly1305: not supported`, false},
		{"without UDP", func(s *tunnel.Spec) { s.Encapsulation = tunnel.Raw },
			`encapsulation "raw": WireGuard has only udp: not supported`, false},
		{"no ESN", func(s *tunnel.Spec) { s.NoESN = true },
			"32-bit sequence numbers: not supported, WireGuard's counters have 64", false},
		{"replay window", func(s *tunnel.Spec) { s.ReplayWindow = 64 },
			"replay window of 64 packets: not supported, WireGuard's is fixed", false},
		{"keys to replace", func(s *tunnel.Spec) { s.Rekey.Time = time.Second },
			"rekeying after 1s: not supported by this driver; leave it out, or use driver esp", false},
		{"largest MTU", func(s *tunnel.Spec) { s.MTU = 65535 - 20 - 8 - 16 - 16 }, "", true},
		{"MTU beyond IP", func(s *tunnel.Spec) { s.MTU = 65535 - 20 - 8 - 16 - 16 + 1 },
			"MTU 65476: want at most 65475", true},
		{"no outer address", func(s *tunnel.Spec) { s.Remote.Outer = netip.AddrPort{} },
			`outer address "invalid AddrPort": want an IP address and a port`, true},
		{"no inner address", func(s *tunnel.Spec) { s.Remote.Inner6 = netip.Addr{} },
			`inner addresses "2001:2::1" and "invalid IP": want none or both`, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := example()
			test.alter(&spec)
			err := checkSpec(spec)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got error %q, want %q", got, test.want)
			}
			if errors.Is(err, tunnel.ErrNotSupported) == test.supported {
				t.Errorf("error %v wraps %v: want %t", err, tunnel.ErrNotSupported, !test.supported)
			}
		})
	}
}

func TestCheckPath(t *testing.T) {
	spec := example()
	if err := checkPath(spec, 1500); err != nil {
		t.Errorf("an MTU that just fits: %v", err)
	}
	const want = "MTU 1440 makes outer packets of 1500 bytes, but the path to 192.0.2.2 takes 1499: want an MTU of at most 1439"
	if err := checkPath(spec, 1499); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
