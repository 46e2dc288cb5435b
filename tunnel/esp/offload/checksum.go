package offload

import (
	"encoding/binary"
	"math/bits"
)

// add adds data to a ones' complement sum of 64 bits, in the machine's byte order:
// RFC 1071, Section 2, shows that neither width nor order changes what comes out
// of it. data begins at an even place of what is summed.
func add(sum uint64, data []byte) uint64 {
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

// fold makes the 16 bits of a checksum, not yet inverted, of a sum. They are in
// network byte order where they are stored by putSum.
func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// putSum stores what fold made.
func putSum(b []byte, sum uint16) { binary.NativeEndian.PutUint16(b, sum) }

// pseudo is the sum of the pseudo header (RFC 9293, Section 3.1; RFC 768; RFC 8200,
// Section 8.1): addresses, protocol, and length of what follows the IP header.
func pseudo(addresses []byte, protocol byte, length int) uint64 {
	var rest [4]byte
	rest[1] = protocol
	binary.BigEndian.PutUint16(rest[2:], uint16(length))
	return add(add(0, addresses), rest[:])
}
