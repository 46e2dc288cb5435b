package esp

import "encoding/binary"

// An ESP packet in tunnel mode (RFC 4303, Section 2), as the AEAD suites fill it:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------------------------------------------------------+
//	|                              SPI                              |
//	+---------------------------------------------------------------+
//	|            sequence number, low half of 64 bits               |
//	+---------------------------------------------------------------+
//	|                       IV, 64 bits                             |
//	|                                                               |
//	+---------------------------------------------------------------+  -+
//	|                       inner IP packet                         |   |
//	~                               +-------------------------------+   | encrypted
//	|                               |   padding 0 to 3 bytes        |   |
//	+-------------------------------+---------------+---------------+   |
//	|                               |  pad length   |  next header  |   |
//	+-------------------------------+---------------+---------------+  -+
//	~                       ICV, 128 bits                           ~
//	+---------------------------------------------------------------+
//
// Specification: lengths in bytes.
const (
	headerLength  = 4 + 4 // SPI, sequence number: RFC 4303, Sections 2.1 and 2.2.
	ivLength      = 8     // RFC 4106, Section 3.1; RFC 7634, Section 2.
	trailerLength = 1 + 1 // Pad length, next header: RFC 4303, Sections 2.5 and 2.6.
	alignment     = 4     // RFC 4303, Section 2.4.
	icvLength     = 16    // RFC 4106, Section 6; RFC 7634, Section 2.
	aadLength     = 4 + 8 // SPI, extended sequence number: RFC 4106, Section 5.
	nonceLength   = saltLength + ivLength

	leastPacket = headerLength + ivLength + alignment + icvLength
)

// Room that a packet buffer needs around the inner packet, in bytes.
const (
	headroom = headerLength + ivLength
	tailroom = alignment - 1 + trailerLength + icvLength
)

// Values of next header (RFC 4303, Section 2.6).
const (
	nextIPv4  = 4
	nextIPv6  = 41
	nextDummy = 59
)

// extend reconstructs the extended sequence number of which only the low half
// was sent: the one in reach of the window (RFC 4303, Appendix A2.2). highest
// is the highest number authenticated so far.
func extend(highest uint64, low uint32) uint64 {
	highestLow, epoch := uint32(highest), highest>>32
	bottom := highestLow - (replayWindow - 1) // May wrap: the window then spans two epochs.
	switch {
	case highestLow >= replayWindow-1 && low < bottom:
		epoch++ // Case A, wrapped since.
	case highestLow < replayWindow-1 && low >= bottom && epoch > 0:
		epoch-- // Case B, from before the wrap. In epoch 0 nothing was before.
	}
	return epoch<<32 | uint64(low)
}

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
