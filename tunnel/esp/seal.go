package esp

import (
	"crypto/cipher"
	"encoding/binary"
)

// outbound is the SA on which this end sends. One goroutine uses it.
type outbound struct {
	aead     cipher.AEAD
	spi      uint32
	sequence uint64 // Of the last packet; the first has 1 (RFC 4303, Section 2.2).

	// Both belong to the call of seal that is going on. They are here and not
	// on its stack because what is passed through an interface escapes.
	aad   [aadLength]byte
	nonce [nonceLength]byte
}

func newOutbound(spi uint32, t transform) *outbound {
	o := &outbound{aead: t.aead, spi: spi}
	copy(o.nonce[:], t.salt[:])
	return o
}

// seal turns the inner packet at buffer[headroom:headroom+inner] into an ESP
// packet at the front of buffer and returns its length. It needs tailroom
// behind the inner packet, and an inner packet that the selectors have passed.
func (o *outbound) seal(buffer []byte, inner int) int {
	plain := pad(buffer[headroom:], inner)
	o.sequence++
	// The counter itself is the IV: unique for each packet under one key, which
	// is all that RFC 4106, Section 3.1, and RFC 7634, Section 2, ask for.
	return o.encrypt(buffer, plain, o.sequence, o.sequence)
}

// encrypt writes the headers before the padded packet at buffer[headroom:] and
// seals it in place.
func (o *outbound) encrypt(buffer []byte, length int, sequence, iv uint64) int {
	binary.BigEndian.PutUint32(buffer[0:], o.spi)
	binary.BigEndian.PutUint32(buffer[4:], uint32(sequence))
	binary.BigEndian.PutUint64(buffer[headerLength:], iv)

	binary.BigEndian.PutUint32(o.aad[0:], o.spi) // RFC 4106, Section 5.
	binary.BigEndian.PutUint64(o.aad[4:], sequence)
	binary.BigEndian.PutUint64(o.nonce[saltLength:], iv) // RFC 4106, Section 4.

	plain := buffer[headroom : headroom+length]
	sealed := o.aead.Seal(plain[:0], o.nonce[:], plain, o.aad[:])
	return headroom + len(sealed)
}

// pad appends the trailer to the inner packet at the front of buffer: padding
// that counts from 1, its length, the next header (RFC 4303, Section 2.4). It
// returns the length of all that.
func pad(buffer []byte, inner int) int {
	padding := -(inner + trailerLength) & (alignment - 1)
	end := inner + padding
	for i := range padding {
		buffer[inner+i] = byte(i + 1)
	}
	buffer[end] = byte(padding)
	buffer[end+1] = nextIPv4
	if buffer[0]>>4 == 6 {
		buffer[end+1] = nextIPv6
	}
	return end + trailerLength
}
