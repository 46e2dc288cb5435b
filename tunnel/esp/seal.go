package esp

import (
	"encoding/binary"
	"math"
)

// outbound is the SA on which this end sends. One goroutine at a time reserves
// numbers; then workers seal at the same time, each with its own cipher.
type outbound struct {
	transform
	spi      uint32
	sequence uint64 // Of the last packet; the first has 1 (RFC 4303, Section 2.2).
	last     uint64 // The highest sequence number that there is.
	leaving  int    // Batches with numbers that have not left yet.
}

func newOutbound(spi uint32, t transform) *outbound {
	o := &outbound{transform: t, spi: spi, last: math.MaxUint32}
	if t.extended {
		o.last = math.MaxUint64
	}
	return o
}

// reserve takes sequence numbers for count packets that follow one another, and
// returns the first of them. It grants fewer, or none, when they are used up: they
// must not cycle (RFC 4303, Section 3.3.3).
func (o *outbound) reserve(count int) (first uint64, granted int) {
	granted = int(min(uint64(count), o.last-o.sequence))
	first = o.sequence + 1
	o.sequence += uint64(granted)
	return first, granted
}

// seal turns the inner packet at buffer[headroom:headroom+inner] into an ESP
// packet at the front of buffer and returns its length. It needs tailroom
// behind the inner packet, an inner packet that the selectors have passed, and a
// reserved number.
func (o *outbound) seal(worker int, buffer []byte, inner int, sequence uint64) (length int) {
	next := byte(nextIPv4)
	if buffer[o.headroom]>>4 == 6 {
		next = nextIPv6
	}
	return o.sealAs(next, o.ciphers[worker], buffer, inner, sequence)
}

// sealAs is seal for any payload, of which next says what it is.
func (o *outbound) sealAs(next byte, cipher protection, buffer []byte, payload int, sequence uint64) (length int) {
	end := o.headroom + pad(buffer[o.headroom:], payload, o.alignment, next)
	packet := buffer[:end+o.icv]
	binary.BigEndian.PutUint32(packet[0:], o.spi)
	binary.BigEndian.PutUint32(packet[4:], uint32(sequence))
	cipher.seal(packet, sequence)
	return len(packet)
}

// pad appends the trailer to the payload at the front of buffer: padding that counts
// from 1, its length, the next header (RFC 4303, Section 2.4). It returns the length
// of all that, a multiple of alignment, a power of two.
func pad(buffer []byte, payload, alignment int, next byte) int {
	padding := -(payload + trailerLength) & (alignment - 1)
	end := payload + padding
	for i := range padding {
		buffer[payload+i] = byte(i + 1)
	}
	buffer[end], buffer[end+1] = byte(padding), next
	return end + trailerLength
}
