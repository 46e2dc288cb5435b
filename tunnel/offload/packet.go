package offload

import (
	"encoding/binary"

	"tunnelmark/tunnel/checksum"
)

// What is read of headers, in bytes: RFC 791, Section 3.1; RFC 8200, Section 3;
// RFC 9293, Section 3.1; RFC 768.
const (
	ipv4Header = 20
	ipv6Header = 40
	tcpHeader  = 20
	udpHeader  = 8

	protocolTCP = 6
	protocolUDP = 17

	tcpChecksum = 16 // Where it lies in the TCP header.
	udpChecksum = 6  // Likewise of UDP.
)

// Flags of TCP (RFC 9293, Section 3.1; RFC 3168, Section 6.1).
const (
	tcpFIN = 1 << iota
	tcpSYN
	tcpRST
	tcpPSH
	tcpACK
	tcpURG
	tcpECE
	tcpCWR
)

// shape is where the parts of a packet of TCP or UDP lie.
type shape struct {
	ipv6     bool
	protocol byte
	ip       int // Length of the IP header, in bytes.
	headers  int // Of both headers.
}

// shapeOf reads a whole packet of TCP or UDP directly in IP, and no fragment of
// one. Of others it says no.
func shapeOf(packet []byte) (s shape, ok bool) {
	if len(packet) < ipv4Header {
		return shape{}, false
	}
	switch packet[0] >> 4 {
	case 4:
		fragment := binary.BigEndian.Uint16(packet[6:]) &^ (1 << 14) // All but the don't-fragment bit.
		s = shape{protocol: packet[9], ip: int(packet[0]&0x0f) * 4}
		ok = s.ip >= ipv4Header && fragment == 0 && int(binary.BigEndian.Uint16(packet[2:])) == len(packet)
	case 6:
		if len(packet) < ipv6Header {
			return shape{}, false
		}
		s = shape{ipv6: true, protocol: packet[6], ip: ipv6Header}
		ok = ipv6Header+int(binary.BigEndian.Uint16(packet[4:])) == len(packet)
	}
	ok = ok && s.transport(packet)
	if ok && s.protocol == protocolUDP { // Anything else behind it is an option (RFC 9868).
		ok = int(binary.BigEndian.Uint16(packet[s.ip+4:])) == len(packet)-s.ip
	}
	return s, ok
}

// transport completes a shape that has everything but the transport's header.
func (s *shape) transport(packet []byte) bool {
	switch s.protocol {
	case protocolTCP:
		if len(packet) < s.ip+tcpHeader {
			return false
		}
		length := int(packet[s.ip+12]>>4) * 4
		s.headers = s.ip + length
		return length >= tcpHeader && len(packet) >= s.headers
	case protocolUDP:
		s.headers = s.ip + udpHeader
		return len(packet) >= s.headers
	}
	return false
}

// addresses are both, as they stand in the IP header.
func (s shape) addresses(packet []byte) []byte {
	if s.ipv6 {
		return packet[8:ipv6Header]
	}
	return packet[12:ipv4Header]
}

// checksumAt is where the transport's checksum stands in the packet.
func (s shape) checksumAt() int {
	if s.protocol == protocolTCP {
		return s.ip + tcpChecksum
	}
	return s.ip + udpChecksum
}

// hasTrueChecksums says whether the checksum of the transport is there, and it and that
// of IPv4's header are right.
func (s shape) hasTrueChecksums(packet []byte) bool {
	if !s.ipv6 && checksum.Fold(checksum.Add(0, packet[:s.ip])) != 0xffff {
		return false
	}
	if s.protocol == protocolUDP && packet[s.ip+udpChecksum] == 0 && packet[s.ip+udpChecksum+1] == 0 {
		return false // None was sent (RFC 768).
	}
	sum := checksum.Pseudo(s.addresses(packet), s.protocol, len(packet)-s.ip)
	return checksum.Fold(checksum.Add(sum, packet[s.ip:])) == 0xffff
}

// setLength writes a new length of the packet into its IP header.
func (s shape) setLength(packet []byte, length int) {
	if s.ipv6 {
		binary.BigEndian.PutUint16(packet[4:], uint16(length-ipv6Header))
		return
	}
	binary.BigEndian.PutUint16(packet[2:], uint16(length))
	checksum.Put(packet[10:], 0)
	checksum.Put(packet[10:], ^checksum.Fold(checksum.Add(0, packet[:s.ip])))
}

// setChecksum computes the transport's checksum of a packet that is complete but for
// it.
func (s shape) setChecksum(packet []byte) {
	field := packet[s.checksumAt():]
	checksum.Put(field, 0)
	sum := checksum.Pseudo(s.addresses(packet), s.protocol, len(packet)-s.ip)
	result := ^checksum.Fold(checksum.Add(sum, packet[s.ip:]))
	if result == 0 && s.protocol == protocolUDP {
		result = 0xffff // 0 would say that there is none (RFC 768).
	}
	checksum.Put(field, result)
}
