package esp

import (
	"encoding/binary"
	"net/netip"

	"tunnelmark/tunnel/checksum"
)

// An inner packet that the outer path does not take is answered as a router would:
// "fragmentation needed" of ICMP (RFC 792; RFC 1191, Section 4), or "packet too
// big" of ICMPv6 (RFC 4443, Section 3.2). Both are a header of 8 bytes and what
// they quote of the packet:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|     type      |     code      |           checksum            |
//	+---------------+---------------+-------------------------------+
//	|      MTU: 32 bits, of which ICMP uses the lower 16            |
//	+---------------------------------------------------------------+
//	~                 the packet, as much as fits                   ~
//	+---------------------------------------------------------------+

// Specification: lengths in bytes.
const (
	icmpHeader = 8

	longestAnswer4 = 576  // RFC 1812, Section 4.3.2.3.
	longestAnswer6 = 1280 // RFC 4443, Section 3.2, as much as fits the least MTU.

	// No link has a smaller MTU, and a host obeys no answer that says so: RFC 791,
	// Section 3.2; RFC 8200, Section 5.
	leastMTU4 = 68
	leastMTU6 = 1280
)

// Numbers of protocols and messages (IANA).
const (
	protocolICMP   = 1
	protocolICMPv6 = 58

	unreachable         = 3 // ICMP; RFC 792.
	fragmentationNeeded = 4 // Its code.
	packetTooBig        = 2 // ICMPv6; RFC 4443, Section 3.2.

	internetworkControl = 6 << 5 // Precedence of ICMP errors: RFC 1812, Section 4.3.2.5.
	dontFragment        = 0x4000 // RFC 791, Section 3.1.
	fragmentOffset      = 0x1fff
	hopLimit            = 64 // The answer makes no hop.
)

// answerTooLong writes to into, which has room for longestAnswer6 bytes, what tells
// the sender of an inner packet that no more than mtu bytes pass. It returns 0 where
// there is nobody to tell: the packet is no longer than that, or than every host may
// send; or no answer is allowed. The answer comes from the packet's destination,
// which is the peer's inner address: the one that the sender knows to be behind this
// interface.
func answerTooLong(into, packet []byte, mtu int) (length int) {
	if packet[0]>>4 == 6 {
		mtu = max(mtu, leastMTU6)
		if len(packet) <= mtu || !mayAnswer6(packet) {
			return 0
		}
		return answer6(into, packet, mtu)
	}
	mtu = max(mtu, leastMTU4)
	if len(packet) <= mtu || !mayAnswer4(packet) {
		return 0
	}
	return answer4(into, packet, mtu)
}

// mayAnswer4 says whether RFC 1122, Section 3.2.2, lets a packet be answered, and
// whether its sender wants to know: it has forbidden fragments.
func mayAnswer4(packet []byte) bool {
	flags := binary.BigEndian.Uint16(packet[6:])
	header := int(packet[0]&0x0f) * 4
	if flags&dontFragment == 0 || flags&fragmentOffset != 0 || header < ipv4Header || len(packet) < header+icmpHeader {
		return false
	}
	if packet[9] == protocolICMP && isError4(packet[header]) {
		return false
	}
	return isHost(netip.AddrFrom4([4]byte(packet[12:]))) && isHost(netip.AddrFrom4([4]byte(packet[16:])))
}

// isError4 knows the types that are about other packets (RFC 1122, Section 3.2.2):
// unreachable, source quench, redirect, time exceeded, parameter problem.
func isError4(kind byte) bool {
	switch kind {
	case unreachable, 4, 5, 11, 12:
		return true
	}
	return false
}

// mayAnswer6 is the same by RFC 4443, Section 2.4 (e). That lets "packet too big"
// answer multicast as well, but such a destination is no address to answer from.
func mayAnswer6(packet []byte) bool {
	protocol, at, first := upperLayer(packet)
	if !first || protocol == protocolICMPv6 && (at >= len(packet) || isError6(packet[at])) {
		return false
	}
	return isHost(netip.AddrFrom16([16]byte(packet[8:]))) && isHost(netip.AddrFrom16([16]byte(packet[24:])))
}

// isError6: types below 128 are errors (RFC 4443, Section 2.1), and redirect counts
// as one (Section 2.4, e.2).
func isError6(kind byte) bool { return kind < 128 || kind == 137 }

// Extension headers of IPv6 that may stand before others (RFC 8200, Section 4.1).
const (
	hopByHopOptions    = 0
	routingHeader      = 43
	fragmentHeader     = 44
	destinationOptions = 60
)

// upperLayer finds what an IPv6 packet carries behind its extension headers, and
// says whether the packet is the first fragment, or whole. Each header that is
// passed is at least 8 bytes long, which bounds the walk.
func upperLayer(packet []byte) (protocol byte, at int, first bool) {
	protocol, at = packet[6], ipv6Header
	for at+8 <= len(packet) {
		length := 8
		switch protocol {
		case hopByHopOptions, routingHeader, destinationOptions:
			length += int(packet[at+1]) * 8
		case fragmentHeader:
			const offset = 0xfff8 // RFC 8200, Section 4.5.
			if binary.BigEndian.Uint16(packet[at+2:])&offset != 0 {
				return protocol, at, false
			}
		default:
			return protocol, at, true
		}
		protocol, at = packet[at], at+length
	}
	return protocol, at, true
}

// isHost says whether an address is one host's.
func isHost(address netip.Addr) bool {
	everybody := netip.AddrFrom4([4]byte{255, 255, 255, 255}) // RFC 919, Section 7.
	return !address.IsUnspecified() && !address.IsMulticast() && !address.IsLoopback() && address != everybody
}

func answer4(into, packet []byte, mtu int) int {
	quote := packet[:min(len(packet), longestAnswer4-ipv4Header-icmpHeader)]
	answer := into[:ipv4Header+icmpHeader+len(quote)]
	clear(answer[:ipv4Header])
	answer[0] = 0x45
	answer[1] = internetworkControl
	binary.BigEndian.PutUint16(answer[2:], uint16(len(answer)))
	binary.BigEndian.PutUint16(answer[6:], dontFragment) // So it needs no identification: RFC 6864, Section 4.1.
	answer[8], answer[9] = hopLimit, protocolICMP
	copy(answer[12:], packet[16:20])
	copy(answer[16:], packet[12:16])
	putChecksum(answer[:ipv4Header], 10, 0)
	putMessage(answer[ipv4Header:], unreachable, fragmentationNeeded, uint32(min(mtu, 0xffff)), quote)
	putChecksum(answer[ipv4Header:], 2, 0)
	return len(answer)
}

func answer6(into, packet []byte, mtu int) int {
	quote := packet[:min(len(packet), longestAnswer6-ipv6Header-icmpHeader)]
	answer := into[:ipv6Header+icmpHeader+len(quote)]
	message := answer[ipv6Header:]
	clear(answer[:ipv6Header])
	answer[0] = 0x60
	binary.BigEndian.PutUint16(answer[4:], uint16(len(message)))
	answer[6], answer[7] = protocolICMPv6, hopLimit
	copy(answer[8:], packet[24:40])
	copy(answer[24:], packet[8:24])
	putMessage(message, packetTooBig, 0, uint32(mtu), quote)
	putChecksum(message, 2, checksum.Pseudo(answer[8:ipv6Header], protocolICMPv6, len(message)))
	return len(answer)
}

func putMessage(message []byte, kind, code byte, mtu uint32, quote []byte) {
	message[0], message[1] = kind, code
	binary.BigEndian.PutUint32(message[4:], mtu)
	copy(message[icmpHeader:], quote)
}

// putChecksum writes the Internet checksum of data into the word at offset at. also is
// the sum of what it covers beside data.
func putChecksum(data []byte, at int, also uint64) {
	checksum.Put(data[at:], 0)
	checksum.Put(data[at:], ^checksum.Fold(checksum.Add(also, data)))
}
