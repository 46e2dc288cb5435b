package esp

import (
	"encoding/binary"

	"tunnelmark/tunnel/checksum"
)

// The traffic class of an IP packet is one octet in both versions: DSCP in the
// upper six bits, ECN in the lower two (RFC 2474, Section 3; RFC 3168, Section 5).
//
// Outside, a packet has the class of the one inside: DSCP is copied (RFC 4301,
// Section 5.1.2.1), so that the outer network queues it as it would have queued the
// inner one, and ECN is copied as well (RFC 6040, Section 4.1, normal mode). DSCPs
// that overtake one another outside need a replay window that is wide enough.
// Inside, DSCP stays as it was sent, and ECN is what decapsulate makes of both.

// The four ECN codepoints (RFC 3168, Section 5).
const (
	notECT                = 0b00 // The transport knows no ECN.
	ect1                  = 0b01
	ect0                  = 0b10
	congestionMarked      = 0b11 // CE.
	ecnMask          byte = 0b11
)

// classOf is the traffic class of an IP packet that is at least a header long.
func classOf(packet []byte) byte {
	if packet[0]>>4 == 6 {
		return byte(binary.BigEndian.Uint16(packet) >> 4) // RFC 8200, Section 3.
	}
	return packet[1] // RFC 791, Section 3.1.
}

// decapsulate gives an inner packet the ECN that follows from its own and from the
// outer packet's class. It returns false where the packet must be dropped: it met
// congestion, and only loss can tell its sender. RFC 6040, Section 4.2, Figure 4:
//
//	             outer
//	inner        Not-ECT   ECT(0)    ECT(1)    CE
//	Not-ECT      Not-ECT   Not-ECT   Not-ECT   drop
//	ECT(0)       ECT(0)    ECT(0)    ECT(1)    CE
//	ECT(1)       ECT(1)    ECT(1)    ECT(1)    CE
//	CE           CE        CE        CE        CE
func decapsulate(inner []byte, outerClass byte) bool {
	class, outer := classOf(inner), outerClass&ecnMask
	switch own := class & ecnMask; {
	case own == notECT:
		return outer != congestionMarked
	case outer == congestionMarked && own != congestionMarked,
		outer == ect1 && own == ect0:
		setClass(inner, class&^ecnMask|outer)
	}
	return true
}

// setClass changes a packet's traffic class, and with it IPv4's header checksum.
func setClass(packet []byte, class byte) {
	if packet[0]>>4 == 6 {
		before := binary.BigEndian.Uint16(packet)
		binary.BigEndian.PutUint16(packet, before&^0x0ff0|uint16(class)<<4)
		return
	}
	before := binary.NativeEndian.Uint16(packet)
	packet[1] = class
	checksum.Update(packet[10:], before, binary.NativeEndian.Uint16(packet))
}
