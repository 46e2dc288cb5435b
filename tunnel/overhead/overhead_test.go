package overhead

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"tunnelmark/tunnel"
)

var suites = []tunnel.Suite{tunnel.AES128GCM, tunnel.AES256GCM, tunnel.ChaCha20Poly1305}

func mustESP(t testing.TB, suite tunnel.Suite, carrier tunnel.Encapsulation, outer IPVersion) Encapsulation {
	t.Helper()
	e, err := ESP(suite, carrier, outer)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The published figures: overhead 54 to 57 bytes over IPv4 and 74 to 77 over
// IPv6, 8 more with UDP; RFC 4106, Section 7.
func TestESP(t *testing.T) {
	tests := []struct {
		carrier     tunnel.Encapsulation
		outer       IPVersion
		least, most int       // Overhead in bytes.
		mtu         TunnelMTU // At a path MTU of 1500.
	}{
		{tunnel.Raw, IPv4, 54, 57, 1446},
		{tunnel.UDP, IPv4, 62, 65, 1438},
		{tunnel.Raw, IPv6, 74, 77, 1426},
		{tunnel.UDP, IPv6, 82, 85, 1418},
	}
	for _, test := range tests {
		for _, suite := range suites {
			t.Run(fmt.Sprintf("%s/%s/IPv%d", suite, test.carrier, test.outer), func(t *testing.T) {
				e := mustESP(t, suite, test.carrier, test.outer)
				least, most := overheadRange(e)
				if least != test.least || most != test.most {
					t.Errorf("overhead: got %d to %d, want %d to %d", least, most, test.least, test.most)
				}
				if got := e.TunnelMTU(1500); got != test.mtu {
					t.Errorf("TunnelMTU(1500): got %d, want %d", got, test.mtu)
				}
				if got := e.PathMTU(test.mtu); got != 1500 {
					t.Errorf("PathMTU(%d): got %d, want 1500", test.mtu, got)
				}
			})
		}
	}
}

func overheadRange(e Encapsulation) (least, most int) {
	least = math.MaxInt
	for inner := 20; inner < 1500; inner++ {
		added := e.OuterLength(inner) - inner
		least, most = min(least, added), max(most, added)
	}
	return least, most
}

func TestOuterLength(t *testing.T) {
	e := mustESP(t, tunnel.AES128GCM, tunnel.UDP, IPv4)
	tests := []struct{ inner, want int }{
		{20, 20 + 8 + 8 + 8 + 24 + 16},
		{21, 20 + 8 + 8 + 8 + 24 + 16},
		{22, 20 + 8 + 8 + 8 + 24 + 16},
		{23, 20 + 8 + 8 + 8 + 28 + 16},
		{1400, 1464},
		{1438, 1500},
		{1439, 1504},
	}
	for _, test := range tests {
		if got := e.OuterLength(test.inner); got != test.want {
			t.Errorf("OuterLength(%d): got %d, want %d", test.inner, got, test.want)
		}
	}
}

// What a full-size packet leaves of one gigabit per second of Ethernet.
func TestWireLength(t *testing.T) {
	const ethernetBitsPerSecond = 1e9
	e := mustESP(t, tunnel.AES128GCM, tunnel.Raw, IPv4)
	inner := int(e.TunnelMTU(1500))
	innerMbps := ethernetBitsPerSecond * float64(inner) / float64(e.WireLength(inner)) / 1e6
	if got := math.Round(innerMbps*10) / 10; got != 940.2 {
		t.Errorf("inner Mbit/s at 1 Gbit/s of Ethernet: got %v, want 940.2", got)
	}
}

func TestClear(t *testing.T) {
	e := Clear()
	if got := e.OuterLength(1400); got != 1400 {
		t.Errorf("OuterLength(1400): got %d, want 1400", got)
	}
	if got := e.TunnelMTU(1500); got != 1500 {
		t.Errorf("TunnelMTU(1500): got %d, want 1500", got)
	}
}

func TestESPRefuses(t *testing.T) {
	tests := []struct {
		name    string
		suite   tunnel.Suite
		carrier tunnel.Encapsulation
		outer   IPVersion
	}{
		{"suite", "des", tunnel.UDP, IPv4},
		{"carrier", tunnel.AES128GCM, "pigeon", IPv4},
		{"IP version", tunnel.AES128GCM, tunnel.UDP, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := ESP(test.suite, test.carrier, test.outer); !errors.Is(err, tunnel.ErrNotSupported) {
				t.Errorf("got %v, want an error that wraps ErrNotSupported", err)
			}
		})
	}
}

// The two MTUs are each other's inverse: the tunnel MTU fits, one byte more
// does not.
func FuzzMTU(f *testing.F) {
	f.Add(uint16(1500), uint8(0))
	f.Add(uint16(1280), uint8(3))
	f.Add(uint16(9000), uint8(2))
	f.Fuzz(func(t *testing.T, path uint16, kind uint8) {
		carrier := []tunnel.Encapsulation{tunnel.UDP, tunnel.Raw}[kind%2]
		outer := []IPVersion{IPv4, IPv6}[kind/2%2]
		e := mustESP(t, tunnel.AES128GCM, carrier, outer)
		inner := e.TunnelMTU(PathMTU(path))
		if inner < 0 {
			return
		}
		if got := e.PathMTU(inner); got > PathMTU(path) {
			t.Errorf("path MTU %d: tunnel MTU %d needs %d", path, inner, got)
		}
		if got := e.PathMTU(inner + 1); got <= PathMTU(path) {
			t.Errorf("path MTU %d: tunnel MTU %d is not the largest", path, inner)
		}
	})
}
