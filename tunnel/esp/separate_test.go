package esp

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
)

// What a peer that has the key encrypts to no whole number of blocks is authentic,
// and still no packet.
func TestNoWholeBlocks(t *testing.T) {
	for _, payload := range []int{16 + 1, 16 + 15} {
		out, in := newSAs(t, tunnel.AES128CBCSHA256)
		packet := packetOf(out.layout, testSPI, 1, make([]byte, payload))
		end := len(packet) - out.icv
		copy(packet[end:], out.ciphers[0].(*separate).authenticate(packet[:end], 1))
		if _, v := open(in, packet, make([]byte, len(packet))); v != malformed {
			t.Errorf("%d bytes: got verdict %d, want %d", payload, v, malformed)
		}
	}
}

// No two IVs are alike, neither of one SA nor of two that have the same key, as
// after a restart; and none tells its sequence number.
func TestIVs(t *testing.T) {
	seen := map[[16]byte]bool{}
	for range 2 {
		out, _ := newSAs(t, tunnel.AES256CBCSHA256)
		for range 1000 {
			iv := [16]byte(sealed(out, ipv4(20))[headerLength:])
			if seen[iv] {
				t.Fatalf("IV %x comes twice", iv)
			}
			seen[iv] = true
		}
	}
}

// NULL leaves what is inside readable, which is what it is for.
func TestNullIsInClear(t *testing.T) {
	for _, suite := range []tunnel.Suite{tunnel.NullSHA256, tunnel.NullNull} {
		out, _ := newSAs(t, suite)
		want := ipv4(40)
		if diff := cmp.Diff(want, sealed(out, want)[headerLength:headerLength+40]); diff != "" {
			t.Errorf("%s: inner packet (-want +got):\n%s", suite, diff)
		}
	}
}
