package esp

import (
	"bytes"
	"math"
	"testing"
)

// Whatever arrives: open does not panic, and delivers only what was sealed.
func FuzzOpen(f *testing.F) {
	out, _ := newSAs(f, suites[0].name)
	genuine := sealed(out, ipv4(60))
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Add([]byte{0, 0, 0, 0, 1})
	f.Add(genuine)
	f.Add(genuine[:leastPacket])
	f.Add(append(bytes.Clone(genuine), 0))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		_, in := newSAs(t, suites[0].name)
		n, v := in.open(datagram, make([]byte, len(datagram)))
		if v == delivered && !bytes.Equal(datagram, genuine) {
			t.Errorf("delivered %d bytes that were never sealed", n)
		}
		if v != delivered && n != 0 {
			t.Errorf("verdict %d with %d bytes", v, n)
		}
	})
}

// Whatever an authenticated peer puts inside: unwrap does not panic, and
// delivers only whole packets that the selectors pass.
func FuzzUnwrap(f *testing.F) {
	f.Add(concat(ipv4(40), trailer(2, nextIPv4)))
	f.Add(concat(ipv6(60), make([]byte, 9), trailer(1, nextIPv6)))
	f.Add(trailer(0, nextDummy))
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, in := newSAs(t, suites[0].name)
		packet := sealedPayload(out, payload)
		into := make([]byte, len(packet))
		n, v := in.open(packet, into)
		if v != delivered {
			return
		}
		if !in.selectors.match(into[:n]) || !bytes.HasPrefix(payload, into[:n]) {
			t.Errorf("delivered %x of payload %x", into[:n], payload)
		}
	})
}

// Any packet of the SA comes out as it went in; with any bit flipped it is
// refused, and the genuine one still passes after.
func FuzzFlippedBit(f *testing.F) {
	f.Add(uint8(0), uint16(40), uint32(0), uint64(0))
	f.Add(uint8(1), uint16(1400), uint32(77), uint64(1<<32-2))
	f.Add(uint8(2), uint16(1438), uint32(4096), uint64(7<<32))
	f.Fuzz(func(t *testing.T, suite uint8, length uint16, bit uint32, sequence uint64) {
		out, in := newSAs(t, suites[int(suite)%len(suites)].name)
		out.sequence = sequence % (math.MaxUint64 - 1) // The last number is never used.
		in.accept(out.sequence)
		want := ipv4(max(int(length), ipv4Header))
		packet := sealed(out, want)
		into := make([]byte, len(packet))

		flipped := bytes.Clone(packet)
		flipped[int(bit)/8%len(flipped)] ^= 1 << (bit % 8)
		if _, v := in.open(flipped, into); v == delivered {
			t.Errorf("bit %d flipped: delivered", bit)
		}
		n, v := in.open(packet, into)
		if v != delivered || !bytes.Equal(want, into[:n]) {
			t.Errorf("genuine packet: verdict %d, %d bytes", v, n)
		}
	})
}

// The model of RFC 4303, Appendix A2: the 2^32 numbers from the window's left
// edge on, of which each low half names one.
func FuzzExtend(f *testing.F) {
	f.Add(uint64(0), uint32(0))
	f.Add(uint64(1<<32), uint32(1))
	f.Add(uint64(1<<32-1), uint32(math.MaxUint32))
	f.Add(uint64(5<<32+100), uint32(replayWindow))
	f.Fuzz(func(t *testing.T, highest uint64, ahead uint32) {
		edge := uint64(0)
		if highest >= replayWindow-1 {
			edge = highest - (replayWindow - 1)
		}
		want := edge + uint64(ahead)
		if want < edge {
			return // Beyond the last sequence number.
		}
		if highest < replayWindow-1 && want > math.MaxUint32 {
			return // Nothing was before epoch 0: its low halves name its own numbers.
		}
		if got := extend(highest, uint32(want)); got != want {
			t.Errorf("extend(%d, %d): got %d, want %d", highest, uint32(want), got, want)
		}
	})
}
