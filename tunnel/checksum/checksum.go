// Package checksum computes the Internet checksum (RFC 1071): of IP headers, TCP, UDP
// and ICMP. It is pure.
package checksum

import (
	"encoding/binary"
	"math/bits"
)

// Add adds data to a ones' complement sum of 64 bits, in the machine's byte order:
// RFC 1071, Section 2, shows that neither width nor order changes what comes out
// of it. data begins at an even place of what is summed.
func Add(sum uint64, data []byte) uint64 {
	var carry uint64
	for len(data) >= 64 {
		d := data[:64]
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(d[0:]), 0)
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(d[8:]), carry)
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(d[16:]), carry)
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(d[24:]), carry)
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(d[32:]), carry)
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(d[40:]), carry)
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(d[48:]), carry)
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(d[56:]), carry)
		sum += carry // It cannot overflow: after a carry the sum is below its most.
		data = data[64:]
	}
	for len(data) >= 8 {
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(data), 0)
		sum += carry
		data = data[8:]
	}
	if len(data) > 0 {
		var rest [8]byte
		copy(rest[:], data)
		sum, carry = bits.Add64(sum, binary.NativeEndian.Uint64(rest[:]), 0)
		sum += carry
	}
	return sum
}

// Fold makes the 16 bits of a checksum, not yet inverted, of a sum. They are in network
// byte order where Put has stored them.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// Put stores what Fold made, inverted or not, at the front of b.
func Put(b []byte, sum uint16) { binary.NativeEndian.PutUint16(b, sum) }

// Update makes the checksum at the front of b right again where a word of what it covers
// has changed, from before to after, in the machine's byte order (RFC 1624, Section 3,
// equation 3).
func Update(b []byte, before, after uint16) {
	Put(b, ^Fold(uint64(^binary.NativeEndian.Uint16(b))+uint64(^before)+uint64(after)))
}

// Pseudo is the sum of the pseudo header (RFC 9293, Section 3.1; RFC 768; RFC 8200,
// Section 8.1): addresses, protocol, and length of what follows the IP header.
func Pseudo(addresses []byte, protocol byte, length int) uint64 {
	var rest [4]byte
	rest[1] = protocol
	binary.BigEndian.PutUint16(rest[2:], uint16(length))
	return Add(Add(0, addresses), rest[:])
}
