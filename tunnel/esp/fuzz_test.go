package esp

import (
	"bytes"
	"slices"
	"testing"

	"tunnelmark/tunnel"
)

// protecting are the suites of which no forgery is delivered.
var protecting = slices.DeleteFunc(slices.Clone(suites), func(s suite) bool { return !s.name.Protects() })

// anySuite picks one of them, and whether sequence numbers are extended.
func anySuite(choice uint8) (s suite, extended bool) {
	return protecting[int(choice/2)%len(protecting)], choice%2 == 0
}

// Whatever arrives: open does not panic, and delivers only what was sealed.
func FuzzOpen(f *testing.F) {
	for i := range 2 * len(protecting) {
		s, extended := anySuite(uint8(i))
		out, _ := newSAsOf(f, s.name, extended, defaultWindow)
		genuine := sealed(out, ipv4(60))
		f.Add(uint8(i), genuine)
		f.Add(uint8(i), genuine[:out.leastPacket()])
		f.Add(uint8(i), append(bytes.Clone(genuine), 0))
	}
	f.Add(uint8(0), []byte{})
	f.Add(uint8(0), []byte{0xff})
	f.Add(uint8(0), []byte{0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, choice uint8, datagram []byte) {
		s, extended := anySuite(choice)
		_, in := newSAsOf(t, s.name, extended, defaultWindow)
		n, v := open(in, datagram, make([]byte, len(datagram)))
		if v == delivered && !isSealed(in, datagram) {
			t.Errorf("delivered %d bytes that were never sealed", n)
		}
		if v != delivered && v != dummy && n != 0 {
			t.Errorf("verdict %d with %d bytes", v, n)
		}
	})
}

// isSealed says whether a packet is the genuine one of FuzzOpen, whose IV of CBC
// is new each time: then what is decrypted tells.
func isSealed(in *inbound, datagram []byte) bool {
	plain, ok := in.ciphers[0].open(datagram, 1, make([]byte, len(datagram)))
	return ok && bytes.HasPrefix(plain, ipv4(60))
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
		n, v := open(in, packet, into)
		if v != delivered {
			return
		}
		if !in.selectors.match(into[:n]) || !bytes.HasPrefix(payload, into[:n]) {
			t.Errorf("delivered %x of payload %x", into[:n], payload)
		}
	})
}

// Any packet of the SA comes out as it went in; with any bit flipped it is
// refused, and the genuine one still passes after, once.
func FuzzFlippedBit(f *testing.F) {
	for i := range 2 * len(protecting) {
		f.Add(uint8(i), uint16(40), uint32(0), uint64(0))
		f.Add(uint8(i), uint16(1400), uint32(77), uint64(1<<32-2))
		f.Add(uint8(i), uint16(1438), uint32(4096), uint64(7<<32))
	}
	f.Fuzz(func(t *testing.T, choice uint8, length uint16, bit uint32, sequence uint64) {
		s, extended := anySuite(choice)
		out, in := newSAsOf(t, s.name, extended, defaultWindow)
		if out.sequence = sequence % (out.last - 1); out.sequence > 0 { // One more is to come.
			in.window.accept(out.sequence)
		}
		want := ipv4(max(int(length), ipv4Header))
		packet := sealed(out, want)
		into := make([]byte, len(packet))

		flipped := bytes.Clone(packet)
		flipped[int(bit)/8%len(flipped)] ^= 1 << (bit % 8)
		if _, v := open(in, flipped, into); v == delivered {
			t.Errorf("bit %d flipped: delivered", bit)
		}
		n, v := open(in, packet, into)
		if v != delivered || !bytes.Equal(want, into[:n]) {
			t.Errorf("genuine packet: verdict %d, %d bytes", v, n)
		}
		if _, v := open(in, packet, into); v != replayed {
			t.Errorf("genuine packet again: verdict %d, want %d", v, replayed)
		}
	})
}

// Whatever arrives: nothing moves an end to the next generation but a genuine packet of
// that one.
func FuzzGenerations(f *testing.F) {
	ends := func(t testing.TB) (near, far *generations) {
		c := newClock()
		near, far = newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{}, c.read)
		c.sleep(askAge)
		return near, far
	}
	near, _ := ends(f)
	asking := near.next.appendDummy(nil, question)[0]
	f.Add(asking)
	f.Add(near.next.appendDummy(nil, answer)[0])
	f.Add(near.sendOn(ipv4(60)))
	f.Add(asking[:headerLength])
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, datagram []byte) {
		_, far := ends(t)
		_, v := far.take(datagram)
		forged := v != dummy && v != delivered && v != wrongSelectors
		if far.count() > 0 && (forged || !bytes.HasPrefix(datagram, asking[:4])) {
			t.Errorf("moved by a packet with verdict %d", v)
		}
	})
}
