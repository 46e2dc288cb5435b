package esp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

func goodSpec() tunnel.Spec {
	local, remote := left, right
	local.Outer, local.SPI = netip.MustParseAddrPort("192.0.2.1:4500"), 0x1001
	remote.Outer, remote.SPI = netip.MustParseAddrPort("192.0.2.2:4500"), 0x2002
	return tunnel.Spec{Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: 1438, Local: local, Remote: remote}
}

func TestCheckSpec(t *testing.T) {
	none := netip.Addr{}
	tests := []struct {
		name  string
		spoil func(*tunnel.Spec)
		want  string // Part of the error; empty: no error.
	}{
		{"good", func(*tunnel.Spec) {}, ""},
		{"IPv4 inside only", func(s *tunnel.Spec) { s.Local.Inner6, s.Remote.Inner6 = none, none }, ""},
		{"IPv6 inside only", func(s *tunnel.Spec) { s.Local.Inner4, s.Remote.Inner4 = none, none }, ""},
		{"small MTU without IPv6", func(s *tunnel.Spec) { s.MTU, s.Local.Inner6, s.Remote.Inner6 = 68, none, none }, ""},
		{"largest MTU", func(s *tunnel.Spec) { s.MTU = 65470 }, ""},
		{"one peer, two ports", func(s *tunnel.Spec) { s.Remote.Outer = netip.MustParseAddrPort("192.0.2.1:4501") }, ""},

		{"no suite", func(s *tunnel.Spec) { s.Suite = "" }, `suite "" is none of`},
		{"CBC", func(s *tunnel.Spec) { s.Suite = tunnel.AES256CBCSHA512 }, ""},
		{"32-bit sequence numbers", func(s *tunnel.Spec) { s.NoESN = true }, ""},
		{"least replay window", func(s *tunnel.Spec) { s.ReplayWindow = 32 }, ""},
		{"largest replay window", func(s *tunnel.Spec) { s.ReplayWindow = 4096 }, ""},
		{"replay window too small", func(s *tunnel.Spec) { s.ReplayWindow = 31 }, "replay window of 31 packets: want 32 to 4096, or 0 for 8129"},
		{"replay window too large", func(s *tunnel.Spec) { s.ReplayWindow = 4097 }, "replay window of 4097 packets"},
		{"negative replay window", func(s *tunnel.Spec) { s.ReplayWindow = -1 }, "replay window of -1 packets"},
		{"raw", func(s *tunnel.Spec) { s.Encapsulation = tunnel.Raw }, ""},
		{"TCP", func(s *tunnel.Spec) { s.Encapsulation = "tcp" }, `encapsulation "tcp" is neither "udp" nor "raw"`},
		{"keys replaced by time", func(s *tunnel.Spec) { s.Rekey.Time = time.Second }, ""},
		{"no keys to replace", func(s *tunnel.Spec) { s.Suite, s.Rekey.Time = tunnel.NullNull, time.Second }, `suite "null-null" has no keys to replace`},
		{"keys replaced too often", func(s *tunnel.Spec) { s.Rekey.Time = time.Millisecond }, "rekeying after 1ms: want 100ms or more"},
		{"MTU too small", func(s *tunnel.Spec) { s.MTU = 1279 }, "IPv6 inside wants 1280 or more"},
		{"MTU too large", func(s *tunnel.Spec) { s.MTU = 65471 }, "MTU 65471: want at most 65470"},
		{"reserved SPI", func(s *tunnel.Spec) { s.Local.SPI = 255 }, "local end: SPI 255: want 256 or more"},
		{"no outer address", func(s *tunnel.Spec) { s.Remote.Outer = netip.AddrPort{} }, "outer address \"invalid AddrPort\""},
		{"no port", func(s *tunnel.Spec) { s.Remote.Outer = netip.MustParseAddrPort("192.0.2.2:0") }, "want an IP address and a port"},
		{"any address", func(s *tunnel.Spec) { s.Local.Outer = netip.MustParseAddrPort("0.0.0.0:4500") }, "outer address \"0.0.0.0:4500\""},
		{"zone", func(s *tunnel.Spec) { s.Local.Outer = netip.MustParseAddrPort("[fe80::1%eth0]:4500") }, "with a zone"},
		{"mixed outer", func(s *tunnel.Spec) { s.Remote.Outer = netip.MustParseAddrPort("[2001:db8::2]:4500") }, "different IP versions"},
		{"to itself", func(s *tunnel.Spec) { s.Remote.Outer = s.Local.Outer }, "is that of both ends"},
		{"nothing inside", func(s *tunnel.Spec) {
			s.Local.Inner4, s.Remote.Inner4, s.Local.Inner6, s.Remote.Inner6 = none, none, none, none
		}, "no inner address"},
		{"half an inner pair", func(s *tunnel.Spec) { s.Remote.Inner4 = none }, "want none or both"},
		{"same inner address", func(s *tunnel.Spec) { s.Remote.Inner6 = s.Local.Inner6 }, "is that of both ends"},
		{"IPv6 as IPv4", func(s *tunnel.Spec) { s.Local.Inner4 = s.Local.Inner6 }, "inner IPv4 address"},
		{"IPv4 as IPv6", func(s *tunnel.Spec) { s.Local.Inner6 = s.Local.Inner4 }, "inner IPv6 address"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := goodSpec()
			test.spoil(&spec)
			expectError(t, checkSpec(spec), test.want)
		})
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

func TestCheckSpecNotSupported(t *testing.T) {
	suite, carrier, window := goodSpec(), goodSpec(), goodSpec()
	suite.Suite, carrier.Encapsulation, window.ReplayWindow = "3des-cbc", "tcp", 8
	for _, spec := range []tunnel.Spec{suite, carrier, window} {
		if err := (Driver{}).Check(spec); !errors.Is(err, tunnel.ErrNotSupported) {
			t.Errorf("got %v, want an error that wraps ErrNotSupported", err)
		}
	}
}

func TestCheckPath(t *testing.T) {
	tests := []struct {
		mtu  int
		path overhead.PathMTU
		want string
	}{
		{1438, 1500, ""},
		{1439, 1500, "want an MTU of at most 1438"},
		{1438, 1499, "makes outer packets of 1500 bytes, but the path to 192.0.2.2 takes 1499"},
	}
	for _, test := range tests {
		spec := goodSpec()
		spec.MTU = test.mtu
		expectError(t, checkPath(spec, test.path), test.want)
	}
}

// Each suite takes its own length of key, and the caller's copy is cleared.
func TestTransformClearsKey(t *testing.T) {
	for _, s := range suites {
		keys := &lentKeys{}
		if _, err := s.transform(sessionKey(keys, tunnel.Send), true, 1); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		lengths, err := s.name.Transform()
		if err != nil {
			t.Fatal(err)
		}
		if want := lengths.KeyMaterial(); len(keys.lent) != want {
			t.Errorf("%s: took %d bytes, want %d", s.name, len(keys.lent), want)
		}
		for i, b := range keys.lent {
			if b != 0 {
				t.Fatalf("%s: byte %d of the key material is not cleared", s.name, i)
			}
		}
	}
}

type lentKeys struct {
	tunnel.Keys // Not asked for anything but Key.
	lent        []byte
}

func (k *lentKeys) Key(_ tunnel.Direction, _, size int) ([]byte, error) {
	k.lent = make([]byte, size)
	for i := range k.lent {
		k.lent[i] = 1
	}
	return k.lent, nil
}

func TestTransformRefusesShortKey(t *testing.T) {
	s, err := findSuite(tunnel.AES256GCM)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.transform(sessionKey(fixedKeys{key: make([]byte, 20)}, tunnel.Send), true, 1)
	expectError(t, err, "got 20 bytes, want 36")
}

// A suite without keys takes none: the bridge derives no key of 0 bytes.
func TestNoProtectionTakesNoKey(t *testing.T) {
	s, err := findSuite(tunnel.NullNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.transform(nil, true, 1); err != nil {
		t.Error(err)
	}
}

func TestDetails(t *testing.T) {
	spec := goodSpec()
	spec.NoESN, spec.Rekey.Time = true, time.Second
	want := []tunnel.Detail{
		{Name: "ESP", Value: "in user space"},
		{Name: "extended sequence numbers", Value: "false"},
		{Name: "replay window", Value: "8129 packets"},
		{Name: "lifetime of keys", Value: "1s or 268435456 packets or 512 GiB"},
	}
	if diff := cmp.Diff(want, details(spec)); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}
