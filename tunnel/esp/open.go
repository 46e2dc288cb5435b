package esp

import "encoding/binary"

// verdict is what became of one datagram.
type verdict int

const (
	delivered verdict = iota
	ignored           // A keepalive, IKE, or a dummy packet: nothing was lost.
	malformed
	unknownSPI
	badICV
	replayed
	wrongSelectors
)

// inbound is the SA on which this end receives. One goroutine uses it.
type inbound struct {
	transform
	spi       uint32
	selectors selectors
	window    window
}

// newInbound makes an SA with an anti-replay window of that many packets.
func newInbound(spi uint32, t transform, s selectors, packets int) *inbound {
	return &inbound{transform: t, spi: spi, selectors: s, window: newWindow(packets)}
}

// open takes the payload of a UDP datagram and puts the inner packet at the
// front of into, whose capacity is at least the datagram's length; the two do
// not overlap. The steps are those of RFC 4303, Section 3.4, in order. What is
// returned is the inner packet's length where the verdict is delivered, 0
// otherwise.
func (in *inbound) open(datagram, into []byte) (int, verdict) {
	if v := in.classify(datagram); v != delivered {
		return 0, v
	}
	sequence := in.sequence(datagram)
	if !in.window.fresh(sequence) { // First, since it costs least (Section 3.4.3).
		return 0, replayed
	}
	plain, ok := in.protection.open(datagram, sequence, into)
	if !ok {
		return 0, badICV
	}
	// Only now: an unauthenticated number must not move the window.
	in.window.accept(sequence)
	return in.unwrap(plain)
}

// classify sorts out what is no ESP packet of this SA, by RFC 3948, Section 2.
func (in *inbound) classify(datagram []byte) verdict {
	if len(datagram) == 1 && datagram[0] == 0xff {
		return ignored // NAT keepalive, Section 2.3.
	}
	if len(datagram) < 4 {
		return malformed
	}
	switch binary.BigEndian.Uint32(datagram) {
	case 0:
		return ignored // Non-ESP marker: IKE, Section 2.2.
	case in.spi:
	default:
		return unknownSPI
	}
	if len(datagram) < in.leastPacket() {
		return malformed
	}
	return delivered
}

// sequence is the packet's number, of which an extended one is sent by half.
func (in *inbound) sequence(datagram []byte) uint64 {
	low := binary.BigEndian.Uint32(datagram[4:])
	if in.extended {
		return in.window.extend(low)
	}
	return uint64(low)
}

// unwrap checks the trailer, drops padding, and compares the inner packet with
// the selectors (RFC 4301, Section 5.2, step 4). Traffic-flow confidentiality
// padding (RFC 4303, Section 2.7) is whatever lies behind the inner packet.
func (in *inbound) unwrap(plain []byte) (int, verdict) {
	payload, next, ok := trim(plain)
	if !ok {
		return 0, malformed
	}
	if next == nextDummy {
		return 0, ignored // RFC 4303, Section 2.6.
	}
	length, ok := innerLength(payload, next)
	if !ok {
		return 0, malformed
	}
	if !in.selectors.match(payload[:length]) {
		return 0, wrongSelectors
	}
	return length, delivered
}

// trim takes off the trailer and the padding, whose bytes count from 1
// (RFC 4303, Section 2.4).
func trim(plain []byte) (payload []byte, next byte, ok bool) {
	if len(plain) < trailerLength {
		return nil, 0, false
	}
	body, trailer := plain[:len(plain)-trailerLength], plain[len(plain)-trailerLength:]
	padding := int(trailer[0])
	if padding > len(body) {
		return nil, 0, false
	}
	payload = body[:len(body)-padding]
	for i, b := range body[len(payload):] {
		if int(b) != i+1 {
			return nil, 0, false
		}
	}
	return payload, trailer[1], true
}
