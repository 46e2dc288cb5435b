package esp

import "encoding/binary"

// verdict is what became of one datagram.
type verdict int

const (
	delivered verdict = iota
	dummy             // A dummy packet (RFC 4303, Section 2.6), authentic.
	malformed
	unknownSPI
	badICV
	replayed
	wrongSelectors
	congested
)

// inbound is the SA on which this end receives. What becomes of a packet is decided
// in the steps of RFC 4303, Section 3.4: admit, decrypt, unwrap, accept. Workers decrypt
// and unwrap at the same time, each with its own cipher; admit and accept, which use
// the window, are each called in the order in which packets came.
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

// besideESP says that the payload of a UDP datagram is no ESP, by RFC 3948: a NAT
// keepalive (Section 2.3), or IKE behind a non-ESP marker, which is where SPI 0 would
// be (Section 2.2). Raw packets can be neither.
func besideESP(payload []byte) bool {
	return len(payload) == 1 && payload[0] == 0xff ||
		len(payload) >= 4 && binary.BigEndian.Uint32(payload) == 0
}

// admit takes a packet as it came, in UDP or raw, and says whether it is worth decrypting,
// with which sequence number.
func (in *inbound) admit(datagram []byte) (sequence uint64, v verdict) {
	if v := in.classify(datagram); v != delivered {
		return 0, v
	}
	sequence = in.sequence(datagram)
	if !in.window.fresh(sequence) { // First, since it costs least (Section 3.4.3).
		return 0, replayed
	}
	return sequence, delivered
}

// decrypt checks an admitted packet's integrity and decrypts it to the front of into,
// which has room for all of it. That may be where the ciphertext lies, at
// packet[headroom:], and else does not overlap the packet.
func (in *inbound) decrypt(worker int, packet []byte, sequence uint64, into []byte) (plain []byte, ok bool) {
	return in.ciphers[worker].open(packet, sequence, into)
}

// accept marks the number of an authentic packet: not before, since an
// unauthenticated number must not move the window. It says no where the same packet
// came twice between two calls of admit.
func (in *inbound) accept(sequence uint64) bool {
	if !in.window.fresh(sequence) {
		return false
	}
	in.window.accept(sequence)
	return true
}

// classify sorts out what is no ESP packet of this SA.
func (in *inbound) classify(datagram []byte) verdict {
	if len(datagram) < 4 {
		return malformed
	}
	if binary.BigEndian.Uint32(datagram) != in.spi {
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

// unwrap checks the trailer of a decrypted packet, drops padding, and compares the inner packet with
// the selectors (RFC 4301, Section 5.2, step 4). The inner packet, of the length that
// it returns, is at the front; of a dummy packet its payload is. Traffic-flow confidentiality padding (RFC 4303,
// Section 2.7) is whatever lies behind it.
func (in *inbound) unwrap(plain []byte) (length int, v verdict) {
	payload, next, ok := trim(plain)
	if !ok {
		return 0, malformed
	}
	if next == nextDummy {
		return len(payload), dummy
	}
	length, ok = innerLength(payload, next)
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
