package esp

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A DSCP that nobody confuses with ECN: expedited forwarding (RFC 3246).
const expedited = 46 << 2

// withClass gives an IPv4 packet of the tests its checksum as well.
func withClass(packet []byte, class byte) []byte {
	packet = bytes.Clone(packet)
	setClass(packet, class)
	if packet[0]>>4 == 4 {
		putChecksum(packet[:ipv4Header], 10, 0)
	}
	return packet
}

func TestClassOf(t *testing.T) {
	for _, packet := range [][]byte{ipv4(40), ipv6(60)} {
		for class := range 256 {
			if got := classOf(withClass(packet, byte(class))); got != byte(class) {
				t.Errorf("IPv%d: got class %#x, want %#x", packet[0]>>4, got, class)
			}
		}
	}
}

// RFC 6040, Section 4.2, Figure 4, whole; DSCP stays the inner one, and an IPv4
// header's checksum right.
func TestDecapsulate(t *testing.T) {
	const drop = 0xff
	outers := []byte{notECT, ect0, ect1, congestionMarked}
	for inner, row := range map[byte][4]byte{
		notECT:           {notECT, notECT, notECT, drop},
		ect0:             {ect0, ect0, ect1, congestionMarked},
		ect1:             {ect1, ect1, ect1, congestionMarked},
		congestionMarked: {congestionMarked, congestionMarked, congestionMarked, congestionMarked},
	} {
		for i, want := range row {
			for _, packet := range [][]byte{ipv4(40), ipv6(60)} {
				t.Run(fmt.Sprintf("%02b in %02b, IPv%d", inner, outers[i], packet[0]>>4), func(t *testing.T) {
					got := withClass(packet, expedited|inner)
					if pass := decapsulate(got, 10<<2|outers[i]); pass != (want != drop) {
						t.Fatalf("passes: got %t, want %t", pass, want != drop)
					}
					if want == drop {
						return
					}
					if diff := cmp.Diff(withClass(packet, expedited|want), got); diff != "" {
						t.Errorf("packet (-want +got):\n%s", diff)
					}
				})
			}
		}
	}
}

// Changing a class keeps every checksum what a new one would be.
func FuzzSetClass(f *testing.F) {
	f.Add(ipv4(20), byte(expedited))
	f.Add(ipv6(40), byte(congestionMarked))
	f.Fuzz(func(t *testing.T, packet []byte, class byte) {
		if len(packet) < ipv6Header || packet[0] != 0x45 && packet[0]>>4 != 6 {
			return
		}
		want := withClass(withClass(packet, 0), class)
		got := withClass(packet, classOf(packet)) // Its checksum is right now.
		setClass(got, class)
		if diff := cmp.Diff(want, got); diff != "" || classOf(got) != class {
			t.Errorf("class %#x, packet (-want +got):\n%s", classOf(got), diff)
		}
	})
}
