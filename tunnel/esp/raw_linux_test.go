package esp

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"golang.org/x/net/bpf"

	"tunnelmark/tunnel/overhead"
)

// The filter passes the SPIs of one tunnel, and nothing without an SPI.
func TestOwnSPIs(t *testing.T) {
	esp := func(spi uint32) []byte { return binary.BigEndian.AppendUint32(nil, spi) }
	tests := []struct {
		name       string
		first      uint32
		packet     []byte
		wantPasses bool
	}{
		{"first", 0x1001, esp(0x1001), true},
		{"next generation", 0x1001, esp(0x1002), true},
		{"last generation", 0x1001, esp(0x10ff), true},
		{"around", 0x10ff, esp(0x1000), true},
		{"another series", 0x1001, esp(0x1100), false},
		{"one less", 0x1000, esp(0x0fff), false},
		{"SPI 0", 0x1001, esp(0), false},
		{"of the largest", math.MaxUint32, esp(0xffffff00), true},
		{"three bytes", 0, make([]byte, 3), false},
		{"nothing", 0, nil, false},
	}
	for _, version := range []overhead.IPVersion{overhead.IPv4, overhead.IPv6} {
		for _, header := range []int{ipv4Header, 60} {
			c := carrier{version: version, raw: true}
			for _, test := range tests {
				packet := test.packet
				if c.headed() {
					packet = concat([]byte{0x40 | byte(header/4)}, make([]byte, header-1), packet)
				}
				filter, err := bpf.NewVM(c.ownSPIs(test.first))
				if err != nil {
					t.Fatal(err)
				}
				n, err := filter.Run(packet)
				if err != nil {
					t.Fatal(err)
				}
				if n > 0 != test.wantPasses || n > 0 && n < len(packet) {
					t.Errorf("IPv%d, header of %d bytes, %s: %d of %d bytes pass", version, header, test.name, n, len(packet))
				}
			}
		}
	}
}

func TestWithoutHeader(t *testing.T) {
	options := bytes.Repeat([]byte{0x46}, 30)
	tests := []struct {
		name   string
		packet []byte
		want   int // Bytes left.
	}{
		{"nothing", nil, 0},
		{"header", ipv4(20), 0},
		{"header and payload", ipv4(60), 40},
		{"header with options", options, 6},
		{"19 bytes", ipv4(20)[:19], 0},
		{"header that is longer than the packet", bytes.Repeat([]byte{0x4f}, 59), 0},
		{"header of 16 bytes", bytes.Repeat([]byte{0x44}, 60), 0},
		{"IPv6", ipv6(60), 0},
	}
	for _, test := range tests {
		got := withoutHeader(test.packet)
		if len(got) != test.want || !bytes.HasSuffix(test.packet, got) {
			t.Errorf("%s: got %d bytes, want %d", test.name, len(got), test.want)
		}
	}
}
