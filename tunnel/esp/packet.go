package esp

import (
	"encoding/binary"

	"tunnelmark/tunnel"
)

// An ESP packet in tunnel mode (RFC 4303, Section 2):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------------------------------------------------------+
//	|                              SPI                              |
//	+---------------------------------------------------------------+
//	|            sequence number, the low half of 64 bits           |
//	+---------------------------------------------------------------+
//	~              IV: none, 64 bits or 128, by suite               ~
//	+---------------------------------------------------------------+  -+
//	|                       inner IP packet                         |   |
//	~                               +-------------------------------+   | encrypted
//	|                               | padding: 0 to alignment-1     |   |
//	+-------------------------------+---------------+---------------+   |
//	|                               |  pad length   |  next header  |   |
//	+-------------------------------+---------------+---------------+  -+
//	~             ICV: 96, 128 or 256 bits, by suite                ~
//	+---------------------------------------------------------------+
//
// Specification: lengths in bytes.
const (
	headerLength  = 4 + 4 // SPI, sequence number: RFC 4303, Sections 2.1 and 2.2.
	trailerLength = 1 + 1 // Pad length, next header: RFC 4303, Sections 2.5 and 2.6.
)

// layout is where the parts of a suite's packets lie: lengths in bytes.
type layout struct {
	headroom  int // Before the inner packet: header and IV.
	alignment int // Of what is encrypted (RFC 4303, Section 2.4).
	icv       int
}

func layoutOf(lengths tunnel.Transform) layout {
	return layout{headroom: headerLength + lengths.IV, alignment: lengths.Align, icv: lengths.ICV}
}

// tailroom is what a packet's buffer needs behind the inner packet.
func (l layout) tailroom() int { return l.alignment - 1 + trailerLength + l.icv }

// leastPacket is the length of a packet with nothing but a trailer inside.
func (l layout) leastPacket() int { return l.headroom + l.alignment + l.icv }

// packetLength is the length of a packet with an inner one of that length inside.
func (l layout) packetLength(inner int) int {
	return l.headroom + (inner+trailerLength+l.alignment-1)&^(l.alignment-1) + l.icv
}

// Values of next header (RFC 4303, Section 2.6).
const (
	nextIPv4  = 4
	nextIPv6  = 41
	nextDummy = 59
)

// innerLength reads how long the IP packet at the head of payload says it is,
// and reports whether it is a whole one of the version that next names.
func innerLength(payload []byte, next byte) (int, bool) {
	switch {
	case next == nextIPv4 && len(payload) >= ipv4Header && payload[0]>>4 == 4:
		return ipv4Length(payload)
	case next == nextIPv6 && len(payload) >= ipv6Header && payload[0]>>4 == 6:
		length := ipv6Header + int(binary.BigEndian.Uint16(payload[4:])) // RFC 8200, Section 3.
		return length, length <= len(payload)
	}
	return 0, false
}

// ipv4Length reads RFC 791, Section 3.1: header length in words, total length.
func ipv4Length(payload []byte) (int, bool) {
	header := int(payload[0]&0x0f) * 4
	length := int(binary.BigEndian.Uint16(payload[2:]))
	return length, header >= ipv4Header && length >= header && length <= len(payload)
}
