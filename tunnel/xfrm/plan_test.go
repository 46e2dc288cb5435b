package xfrm

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

func goodSpec() tunnel.Spec {
	return tunnel.Spec{
		Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: 1400,
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

func TestFormPlan(t *testing.T) {
	every := []Form{Interface, VTI, Policy, Transport}
	tests := []struct {
		name  string
		forms []Form
		spoil func(*tunnel.Spec)
		want  string // Part of the error; empty: no error.
	}{
		{"good", every, func(*tunnel.Spec) {}, ""},
		{"raw", every, func(s *tunnel.Spec) { s.Encapsulation = tunnel.Raw }, ""},
		{"small window", every, func(s *tunnel.Spec) { s.ReplayWindow, s.NoESN = 1, true }, ""},
		{"mapped outer addresses", every, func(s *tunnel.Spec) { s.Local.Outer = netip.MustParseAddrPort("[::ffff:192.0.2.1]:4500") }, ""},
		{"second tunnel", []Form{Interface}, func(s *tunnel.Spec) { s.Number = 1 }, ""},
		{"nothing inside", []Form{Transport}, func(s *tunnel.Spec) { s.Local.Inner4, s.Local.Inner6 = netip.Addr{}, netip.Addr{} }, ""},

		{"second tunnel beside", []Form{VTI, Policy, Transport}, func(s *tunnel.Spec) { s.Number = 1 }, "use driver xfrm"},
		{"nothing inside a tunnel", []Form{Interface, VTI, Policy}, func(s *tunnel.Spec) { s.Local.Inner4, s.Local.Inner6 = netip.Addr{}, netip.Addr{} }, "no inner address"},
		{"no suite", every, func(s *tunnel.Spec) { s.Suite = "" }, `suite "" is none of`},
		{"no encapsulation", every, func(s *tunnel.Spec) { s.Encapsulation = "" }, `encapsulation ""`},
		{"one host", every, func(s *tunnel.Spec) { s.Remote.Outer = netip.MustParseAddrPort("192.0.2.1:4501") }, "not by port"},
		{"reserved SPI here", every, func(s *tunnel.Spec) { s.Local.SPI = 255 }, "local end: SPI 255: want 256 or more"},
		{"reserved SPI there", every, func(s *tunnel.Spec) { s.Remote.SPI = 0 }, "remote end: SPI 0: want 256 or more"},
		{"window too wide", every, func(s *tunnel.Spec) { s.ReplayWindow = 4097 }, "want 1 to 4096"},
		{"keys to replace", every, func(s *tunnel.Spec) { s.Rekey.Bytes = tunnel.LeastRekeyBytes }, "rekeying after 16 MiB: not supported"},
		{"negative lifetime", every, func(s *tunnel.Spec) { s.Lifetime = -1 }, "lifetime -1ns"},
		{"MTU too large", every, func(s *tunnel.Spec) { s.MTU = 65530 }, "MTU 65530: want"},
	}
	for _, test := range tests {
		for _, form := range test.forms {
			t.Run(form.String()+" "+test.name, func(t *testing.T) {
				spec := goodSpec()
				test.spoil(&spec)
				_, err := form.plan(spec)
				expectError(t, err, test.want)
			})
		}
	}
}

func expectError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil && want != "":
		t.Errorf("got no error, want %q", want)
	case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestPlanDefaults(t *testing.T) {
	p, err := Interface.plan(goodSpec())
	if err != nil {
		t.Fatal(err)
	}
	if p.lifetime != time.Hour || p.window != 4096 {
		t.Errorf("got lifetime %s and window %d, want 1h and 4096", p.lifetime, p.window)
	}
	if p.scope.ifID == 0 || p.request() == p.localSPI {
		t.Errorf("got interface id %d and request %#x: want the session's own", p.scope.ifID, p.request())
	}
}

func TestCheckPath(t *testing.T) {
	tests := []struct {
		transport bool
		mtu       int
		want      string
	}{
		{false, 1438, ""},
		{false, 1439, "want an MTU of at most 1438"},
		{true, 1458, ""},
		{true, 1459, "want an MTU of at most 1458"},
	}
	for _, test := range tests {
		spec := goodSpec()
		spec.MTU = test.mtu
		expectError(t, checkPath(spec, test.transport, overhead.PathMTU(1500)), test.want)
	}
}

// Every suite of the project has algorithms of the kernel.
func TestSuites(t *testing.T) {
	for _, name := range tunnel.Suites() {
		s, err := findSuite(name)
		if err != nil {
			t.Error(err)
			continue
		}
		lengths, err := name.Transform()
		if err != nil {
			t.Fatal(err)
		}
		if s.integrity == "" != lengths.IsAEAD() {
			t.Errorf("%s: got integrity algorithm %q, AEAD is %t", name, s.integrity, lengths.IsAEAD())
		}
	}
	if _, err := findSuite("3des"); !errors.Is(err, tunnel.ErrNotSupported) {
		t.Errorf("got %v, want an error that wraps %v", err, tunnel.ErrNotSupported)
	}
}
