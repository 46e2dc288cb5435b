package gre_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/gre"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

func goodSpec() tunnel.Spec {
	return tunnel.Spec{
		MTU: 1400,
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

func over6(spec tunnel.Spec) tunnel.Spec {
	spec.Local.Outer = netip.MustParseAddrPort("[2001:db8::1]:4500")
	spec.Remote.Outer = netip.MustParseAddrPort("[2001:db8::2]:4500")
	return spec
}

func TestCheckRefuses(t *testing.T) {
	tests := []struct {
		name   string
		driver gre.Driver
		spoil  func(*tunnel.Spec)
		want   string
	}{
		{"no outer address", gre.Driver{}, func(s *tunnel.Spec) { s.Local.Outer = netip.AddrPort{} }, "check gre tunnel: outer address"},
		{"one host", gre.Driver{}, func(s *tunnel.Spec) { s.Remote.Outer = netip.MustParseAddrPort("192.0.2.1:4501") }, "that of both ends"},
		{"no key to send with", gre.Driver{}, func(s *tunnel.Spec) { s.Remote.SPI = 0 }, "SPIs 4097 and 0"},
		{"no key to receive with", gre.Driver{}, func(s *tunnel.Spec) { s.Local.SPI = 0 }, "SPIs 0 and 8194"},
		{"no inner addresses", gre.Driver{}, func(s *tunnel.Spec) { s.Local.Inner4, s.Local.Inner6 = netip.Addr{}, netip.Addr{} }, "inner address"},
		{"MTU beyond IP", gre.Driver{}, func(s *tunnel.Spec) { s.MTU = 65508 }, "MTU 65508: want at most 65507"},
		{"no suite for the guard", gre.Driver{Guard: noGuard{}}, func(s *tunnel.Spec) { s.Encapsulation = tunnel.Raw }, "check gre-esp tunnel: overhead"},
		{"no encapsulation for the guard", gre.Driver{Guard: noGuard{}}, func(s *tunnel.Spec) { s.Suite = tunnel.AES128GCM }, "check gre-esp tunnel: overhead"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := goodSpec()
			test.spoil(&spec)
			err := test.driver.Check(spec)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
}

// noGuard is one that is not asked.
type noGuard struct{}

func (noGuard) Check(tunnel.Spec) error { panic("internal error: asked") }

func (noGuard) Protect(context.Context, tunnel.Spec, tunnel.Keys, tunnel.Place, int) (io.Closer, error) {
	panic("internal error: asked")
}

// A kernel either has GRE, or the refusal names what it lacks and what would do.
func TestCheckKernel(t *testing.T) {
	labtest.NeedRoot(t)
	for module, spec := range map[string]tunnel.Spec{"ip_gre": goodSpec(), "ip6_gre": over6(goodSpec())} {
		err := gre.Driver{}.Check(spec)
		if err == nil {
			continue
		}
		if !errors.Is(err, tunnel.ErrNotSupported) {
			t.Errorf("%s: got %v, want an error that wraps %v", module, err, tunnel.ErrNotSupported)
		}
		for _, word := range []string{module, "CONFIG_", "driver esp"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v: does not say %q", module, err, word)
			}
		}
	}
}
