package strongswan

import (
	"errors"
	"net/netip"
	"testing"

	"tunnelmark/tunnel"
)

func goodSpec() tunnel.Spec {
	return tunnel.Spec{
		Suite:         tunnel.AES128GCM,
		Encapsulation: tunnel.UDP,
		MTU:           1400,
		NoESN:         true,
		Local: tunnel.End{
			Outer: netip.MustParseAddrPort("192.0.2.1:4500"), SPI: 0x1001,
			Inner4: netip.MustParseAddr("198.18.0.1"), Inner6: netip.MustParseAddr("2001:2::1"),
		},
		Remote: tunnel.End{
			Outer: netip.MustParseAddrPort("192.0.2.2:4500"), SPI: 0x2002,
			Inner4: netip.MustParseAddr("198.18.0.2"), Inner6: netip.MustParseAddr("2001:2::2"),
		},
	}
}

func TestCheckSpec(t *testing.T) {
	const kernel, userSpace, both = 1, 2, 3
	tests := []struct {
		name         string
		change       func(*tunnel.Spec)
		refusedBy    int
		notSupported bool
	}{
		{"as it is", func(*tunnel.Spec) {}, 0, false},
		{"keys to replace", func(s *tunnel.Spec) { s.Rekey.Packets = tunnel.LeastRekeyPackets }, both, true},
		{"unknown suite", func(s *tunnel.Spec) { s.Suite = "rot13" }, both, true},
		{"extended sequence numbers", func(s *tunnel.Spec) { s.NoESN = false }, userSpace, true},
		{"raw ESP", func(s *tunnel.Spec) { s.Encapsulation = tunnel.Raw }, userSpace, true},
		{"no encapsulation", func(s *tunnel.Spec) { s.Encapsulation = "" }, both, true},
		{"MTU beyond charon's", func(s *tunnel.Spec) { s.MTU = 1401 }, userSpace, true},
		{"MTU beyond IP", func(s *tunnel.Spec) { s.MTU = 65536 }, both, false},
		{"MTU less than IPv6 wants", func(s *tunnel.Spec) { s.MTU = 1279 }, both, false},
		{"less, without IPv6", func(s *tunnel.Spec) {
			s.MTU, s.Local.Inner6, s.Remote.Inner6 = 576, netip.Addr{}, netip.Addr{}
		}, 0, false},
		{"charon's own replay window", func(s *tunnel.Spec) { s.ReplayWindow = 128 }, 0, false},
		{"another replay window", func(s *tunnel.Spec) { s.ReplayWindow = 1024 }, userSpace, true},
		{"replay window beyond the kernel's", func(s *tunnel.Spec) { s.ReplayWindow = 4097 }, both, false},
		{"negative replay window", func(s *tunnel.Spec) { s.ReplayWindow = -1 }, both, false},
		{"no number for the kernel", func(s *tunnel.Spec) { s.Local.SPI = 0 }, kernel, false},
		{"no inner address", func(s *tunnel.Spec) {
			s.Local.Inner4, s.Local.Inner6, s.Remote.Inner4, s.Remote.Inner6 = netip.Addr{}, netip.Addr{}, netip.Addr{}, netip.Addr{}
		}, both, false},
		{"inner address at one end", func(s *tunnel.Spec) { s.Remote.Inner6 = netip.Addr{} }, both, false},
		{"same inner address", func(s *tunnel.Spec) { s.Remote.Inner4 = s.Local.Inner4 }, both, false},
		{"IPv6 for IPv4", func(s *tunnel.Spec) { s.Local.Inner4 = netip.MustParseAddr("2001:2::9") }, both, false},
		{"IPv4 for IPv6", func(s *tunnel.Spec) { s.Local.Inner6 = netip.MustParseAddr("::ffff:198.18.0.9") }, both, false},
		{"mixed outer versions", func(s *tunnel.Spec) { s.Local.Outer = netip.MustParseAddrPort("[2001:db8::1]:4500") }, both, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := goodSpec()
			test.change(&spec)
			for bit, driver := range map[int]Driver{kernel: {}, userSpace: {UserSpace: true}} {
				err := driver.checkSpec(spec)
				if refused := err != nil; refused != (test.refusedBy&bit != 0) {
					t.Errorf("user space %t: got %v", driver.UserSpace, err)
				}
				if err != nil && test.notSupported != errors.Is(err, tunnel.ErrNotSupported) {
					t.Errorf("user space %t: got %v, want one that wraps %q: %t", driver.UserSpace, err, tunnel.ErrNotSupported, test.notSupported)
				}
			}
		})
	}
}

func TestCheckPath(t *testing.T) {
	spec := goodSpec()
	spec.MTU = 1438 // The largest for AES-GCM over UDP and IPv4.
	if err := checkPath(spec, 1500); err != nil {
		t.Error(err)
	}
	if err := checkPath(spec, 1499); err == nil {
		t.Error("path of 1499 bytes: want a refusal")
	}
}

func TestFindProgramsNamesWhatIsMissing(t *testing.T) {
	for _, driver := range []Driver{{Charon: "/nonexistent/charon"}, {Swanctl: "/nonexistent/swanctl", Charon: "/bin/true"}} {
		_, err := driver.findPrograms()
		if !errors.Is(err, tunnel.ErrNotSupported) {
			t.Errorf("got %v, want one that wraps %v", err, tunnel.ErrNotSupported)
		}
		t.Log(err)
	}
}
