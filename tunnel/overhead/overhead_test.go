package overhead

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
)

func must(t testing.TB) func(Encapsulation, error) Encapsulation {
	return func(e Encapsulation, err error) Encapsulation {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
}

// published are the figures of ESP in tunnel mode over IPv4 without UDP, by what
// the suites have in common, and the largest inner packets at a path MTU of
// 1500: RFC 4106, Section 7; RFC 7634; RFC 3602 with RFC 2404 and RFC 4868.
var published = []struct {
	suites      []tunnel.Suite
	least, most int // Overhead in bytes; IPv6 adds 20, UDP 8.
	// At a path MTU of 1500.
	ipv4, ipv4UDP, ipv6, ipv6UDP TunnelMTU
}{
	{[]tunnel.Suite{tunnel.AES128GCM, tunnel.AES256GCM, tunnel.ChaCha20Poly1305}, 54, 57, 1446, 1438, 1426, 1418},
	{[]tunnel.Suite{tunnel.AES128CBCSHA1, tunnel.AES256CBCSHA1}, 58, 73, 1438, 1422, 1422, 1406},
	{[]tunnel.Suite{tunnel.AES128CBCSHA256, tunnel.AES256CBCSHA256}, 62, 77, 1438, 1422, 1406, 1406},
	{[]tunnel.Suite{tunnel.AES128CBCSHA512, tunnel.AES256CBCSHA512}, 78, 93, 1422, 1406, 1390, 1390},
	{[]tunnel.Suite{tunnel.NullSHA256}, 46, 49, 1454, 1446, 1434, 1426},
}

func TestESP(t *testing.T) {
	tested := 0
	for _, row := range published {
		for _, suite := range row.suites {
			tested++
			for _, test := range []struct {
				outer   IPVersion
				carrier tunnel.Encapsulation
				added   int // To the overhead over IPv4 without UDP.
				mtu     TunnelMTU
			}{
				{IPv4, tunnel.Raw, 0, row.ipv4},
				{IPv4, tunnel.UDP, 8, row.ipv4UDP},
				{IPv6, tunnel.Raw, 20, row.ipv6},
				{IPv6, tunnel.UDP, 28, row.ipv6UDP},
			} {
				t.Run(fmt.Sprintf("%s/%s/IPv%d", suite, test.carrier, test.outer), func(t *testing.T) {
					e := must(t)(ESP(suite, test.carrier, test.outer))
					checkOverhead(t, e, row.least+test.added, row.most+test.added)
					checkMTU(t, e, test.mtu)
				})
			}
		}
	}
	if want := len(tunnel.Suites()); tested != want {
		t.Errorf("%d suites have published figures here, want all %d", tested, want)
	}
}

func checkOverhead(t *testing.T, e Encapsulation, wantLeast, wantMost int) {
	t.Helper()
	least, most := math.MaxInt, 0
	for inner := 40; inner < 1500; inner++ {
		added := e.OuterLength(inner) - inner
		least, most = min(least, added), max(most, added)
	}
	if least != wantLeast || most != wantMost {
		t.Errorf("overhead: got %d to %d, want %d to %d", least, most, wantLeast, wantMost)
	}
}

// checkMTU says that want is the largest inner packet on a path of 1500.
func checkMTU(t *testing.T, e Encapsulation, want TunnelMTU) {
	t.Helper()
	if got := e.TunnelMTU(1500); got != want {
		t.Errorf("TunnelMTU(1500): got %d, want %d", got, want)
	}
	if got := e.PathMTU(want); got > 1500 {
		t.Errorf("PathMTU(%d): got %d, want at most 1500", want, got)
	}
	if got := e.PathMTU(want + 1); got <= 1500 {
		t.Errorf("PathMTU(%d): got %d, want more than 1500", want+1, got)
	}
}

func TestOtherTunnels(t *testing.T) {
	must := must(t)
	tests := []struct {
		name        string
		e           Encapsulation
		least, most int // Overhead in bytes.
		mtu         TunnelMTU
	}{
		{"clear", Clear(), 0, 0, 1500},
		{"WireGuard over IPv4", must(WireGuard(IPv4)), 60, 75, 1440},
		{"WireGuard over IPv6", must(WireGuard(IPv6)), 80, 95, 1420},
		{"GRE over IPv4", must(GRE(IPv4, false)), 24, 24, 1476},
		{"GRE with key over IPv4", must(GRE(IPv4, true)), 28, 28, 1472},
		{"GRE over IPv6", must(GRE(IPv6, false)), 44, 44, 1456},
		{"GRE with key over IPv6", must(GRE(IPv6, true)), 48, 48, 1452},
		{"ESP without crypto, IPv4", must(ESP(tunnel.NullNull, tunnel.Raw, IPv4)), 30, 33, 1470},
		// 8 + 8 + 2 + 16 and up to 3 of padding.
		{"ESP transport, GCM, IPv4", must(ESPTransport(tunnel.AES128GCM, tunnel.Raw, IPv4)), 34, 37, 1466},
		{"ESP transport, GCM, IPv6", must(ESPTransport(tunnel.AES128GCM, tunnel.Raw, IPv6)), 34, 37, 1466},
		{"ESP transport, GCM, UDP", must(ESPTransport(tunnel.AES128GCM, tunnel.UDP, IPv4)), 42, 45, 1458},
		// 8 + 16 + 2 + 16 and up to 15 of padding.
		{"ESP transport, CBC-SHA256, IPv4", must(ESPTransport(tunnel.AES128CBCSHA256, tunnel.Raw, IPv4)), 42, 57, 1458},
		// 20 + 8 + 8 + (8 + inner + 2) + 16.
		{"GRE over ESP, GCM, IPv4", must(GREOverESP(tunnel.AES128GCM, tunnel.Raw, IPv4)), 62, 65, 1438},
		{"GRE over ESP, GCM, IPv6 and UDP", must(GREOverESP(tunnel.AES128GCM, tunnel.UDP, IPv6)), 90, 93, 1410},
		{"GRE over ESP, CBC-SHA1, IPv4", must(GREOverESP(tunnel.AES256CBCSHA1, tunnel.Raw, IPv4)), 66, 81, 1430},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkOverhead(t, test.e, test.least, test.most)
			checkMTU(t, test.e, test.mtu)
		})
	}
}

func TestOuterLength(t *testing.T) {
	must := must(t)
	esp := must(ESP(tunnel.AES128GCM, tunnel.UDP, IPv4))
	transport := must(ESPTransport(tunnel.AES128GCM, tunnel.Raw, IPv4))
	wireGuard4 := must(WireGuard(IPv4)).WithMTU(1440)
	wireGuard6 := must(WireGuard(IPv6)).WithMTU(1420)
	tests := []struct {
		name        string
		e           Encapsulation
		inner, want int
	}{
		{"ESP, aligned", esp, 22, 20 + 8 + 8 + 8 + 24 + 16},
		{"ESP, padded", esp, 20, 20 + 8 + 8 + 8 + 24 + 16},
		{"ESP, a block more", esp, 23, 20 + 8 + 8 + 8 + 28 + 16},
		{"ESP, 1400", esp, 1400, 1464},
		{"ESP, full", esp, 1438, 1500},
		{"ESP, beyond", esp, 1439, 1504},
		{"ESP transport, header only", transport, 20, 20 + 8 + 8 + 4 + 16},
		{"ESP transport, full", transport, 1466, 1500},
		{"WireGuard, aligned", wireGuard4, 1424, 60 + 1424},
		{"WireGuard, padded", wireGuard4, 1425, 60 + 1440},
		{"WireGuard, full", wireGuard4, 1440, 1500},
		{"WireGuard, padded up to the MTU", wireGuard6, 1409, 80 + 1420},
		{"WireGuard, full, not aligned", wireGuard6, 1420, 1500},
		{"WireGuard, MTU not known", must(WireGuard(IPv6)), 1420, 80 + 1424},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.e.OuterLength(test.inner); got != test.want {
				t.Errorf("OuterLength(%d): got %d, want %d", test.inner, got, test.want)
			}
			if got, want := test.e.WireLength(test.inner), test.want+38; got != want {
				t.Errorf("WireLength(%d): got %d, want %d", test.inner, got, want)
			}
		})
	}
}

// What one gigabit per second of Ethernet carries at most in packets of 1500
// bytes.
func TestMost(t *testing.T) {
	must := must(t)
	tests := []struct {
		name string
		e    Encapsulation
		want []float64 // Inner size; packet/s; inner IP, UDP and TCP in Mbit/s.
	}{
		{"clear", Clear(), []float64{1500, 81274.4, 975.3, 957.1, 941.5}},
		{"AES-GCM", must(ESP(tunnel.AES128GCM, tunnel.Raw, IPv4)), []float64{1446, 81274.4, 940.2, 922.0, 906.4}},
		{"AES-CBC with SHA256", must(ESP(tunnel.AES256CBCSHA256, tunnel.Raw, IPv4)), []float64{1438, 81274.4, 935.0, 916.8, 901.2}},
		{"AES-CBC with SHA1, path not filled", must(ESP(tunnel.AES256CBCSHA1, tunnel.Raw, IPv4)), []float64{1438, 81486.3, 937.4, 919.2, 903.5}},
		{"WireGuard over IPv4", must(WireGuard(IPv4)), []float64{1440, 81274.4, 936.3, 918.1, 902.5}},
		{"WireGuard over IPv6", must(WireGuard(IPv6)), []float64{1420, 81274.4, 923.3, 905.1, 889.5}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := test.e.Most(1e9, 1500)
			got := []float64{
				float64(m.InnerSize), tenth(m.PacketsPerSecond), tenth(m.InnerBitsPerSecond / 1e6),
				tenth(m.UDPGoodputBitsPerSecond / 1e6), tenth(m.TCPGoodputBitsPerSecond / 1e6),
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func tenth(value float64) float64 { return math.Round(value*10) / 10 }

func TestMostOfTooSmallAPath(t *testing.T) {
	e := must(t)(ESP(tunnel.AES128GCM, tunnel.UDP, IPv6))
	if diff := cmp.Diff(Most{}, e.Most(1e9, 80)); diff != "" {
		t.Errorf("path that takes no packet (-want +got):\n%s", diff)
	}
	if m := e.Most(1e9, 128); m.InnerSize != 46 || m.TCPGoodputBitsPerSecond != 0 || m.UDPGoodputBitsPerSecond <= 0 {
		t.Errorf("path that takes UDP headers and no TCP headers: got %+v", m)
	}
}

func TestRefusals(t *testing.T) {
	errorOf := func(_ Encapsulation, err error) error { return err }
	tests := []struct {
		name string
		err  error
	}{
		{"suite", errorOf(ESP("des", tunnel.UDP, IPv4))},
		{"carrier", errorOf(ESP(tunnel.AES128GCM, "pigeon", IPv4))},
		{"IP version of ESP", errorOf(ESP(tunnel.AES128GCM, tunnel.UDP, 5))},
		{"suite of transport mode", errorOf(ESPTransport("des", tunnel.UDP, IPv4))},
		{"IP version of GRE", errorOf(GRE(5, false))},
		{"carrier of GRE over ESP", errorOf(GREOverESP(tunnel.AES128GCM, "pigeon", IPv4))},
		{"IP version of WireGuard", errorOf(WireGuard(5))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if !errors.Is(test.err, tunnel.ErrNotSupported) {
				t.Errorf("got %v, want an error that wraps ErrNotSupported", test.err)
			}
		})
	}
}

// all lists one of every kind of tunnel.
func all(t testing.TB) []Encapsulation {
	must := must(t)
	list := []Encapsulation{Clear()}
	for _, outer := range []IPVersion{IPv4, IPv6} {
		list = append(list, must(WireGuard(outer)), must(GRE(outer, false)), must(GRE(outer, true)))
		for _, suite := range tunnel.Suites() {
			for _, carrier := range []tunnel.Encapsulation{tunnel.UDP, tunnel.Raw} {
				list = append(list,
					must(ESP(suite, carrier, outer)),
					must(ESPTransport(suite, carrier, outer)),
					must(GREOverESP(suite, carrier, outer)))
			}
		}
	}
	return list
}

// The two MTUs are each other's inverse (the tunnel MTU fits, one byte more does
// not), and a longer packet is never shorter outside.
func FuzzMTU(f *testing.F) {
	f.Add(uint16(1500), uint16(1440), uint8(0))
	f.Add(uint16(1280), uint16(20), uint8(3))
	f.Add(uint16(9000), uint16(8999), uint8(100))
	f.Add(uint16(0), uint16(0), uint8(60))
	kinds := all(f)
	f.Fuzz(func(t *testing.T, path, inner uint16, kind uint8) {
		e := kinds[int(kind)%len(kinds)]
		mtu := e.TunnelMTU(PathMTU(path))
		if got := e.PathMTU(mtu); got > PathMTU(path) {
			t.Errorf("path MTU %d: tunnel MTU %d needs %d", path, mtu, got)
		}
		if got := e.PathMTU(mtu + 1); got <= PathMTU(path) {
			t.Errorf("path MTU %d: tunnel MTU %d is not the largest", path, mtu)
		}
		e = e.WithMTU(mtu)
		if shorter, longer := e.OuterLength(int(inner)), e.OuterLength(int(inner)+1); shorter > longer {
			t.Errorf("inner %d is %d outside, inner %d only %d", inner, shorter, inner+1, longer)
		}
		if got := e.OuterLength(int(inner)); int(inner) <= int(mtu) && got > int(path) {
			t.Errorf("inner %d within tunnel MTU %d is %d on a path of %d", inner, mtu, got, path)
		}
	})
}

func TestCheckPath(t *testing.T) {
	e := must(t)(ESP(tunnel.AES128GCM, tunnel.UDP, IPv4))
	peer := netip.MustParseAddr("192.0.2.2")
	for _, test := range []struct {
		mtu  TunnelMTU
		path PathMTU
		want string // Empty: no error.
	}{
		{1438, 1500, ""},
		{1439, 1500, "MTU 1439 makes outer packets of 1504 bytes, but the path to 192.0.2.2 takes 1500: want an MTU of at most 1438"},
		{1438, 1499, "takes 1499: want an MTU of at most 1434"},
	} {
		err := e.CheckPath(test.mtu, test.path, peer)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%d over %d: got %v, want %q", test.mtu, test.path, err, test.want)
		}
	}
	if err := errors.Join(e.CheckMTU(65470), Clear().CheckMTU(65535)); err != nil {
		t.Errorf("largest MTU: %v", err)
	}
	if e.CheckMTU(65471) == nil {
		t.Error("an MTU whose packets are no IP packets is taken")
	}
}

func TestVersionOf(t *testing.T) {
	for text, want := range map[string]IPVersion{"192.0.2.1": IPv4, "::ffff:192.0.2.1": IPv4, "2001:db8::1": IPv6} {
		if got := VersionOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
}
