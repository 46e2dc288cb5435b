package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// Of the suites with a combined mode algorithm (RFC 4303, Section 3.3.2.2), in bytes.
const (
	// saltLength is the part of the nonce that comes with the key (RFC 4106,
	// Section 8.1; RFC 7634, Section 2).
	saltLength     = 4
	counterLength  = 8 // The IV: RFC 4106, Section 3.1; RFC 7634, Section 2.
	combinedFront  = headerLength + counterLength
	nonceLength    = saltLength + counterLength
	extendedLength = 4 + 8 // AAD: SPI, extended sequence number: RFC 4106, Section 5.
)

// combined is an AEAD with its salt: one algorithm that encrypts and authenticates.
type combined struct {
	aead     cipher.AEAD
	extended bool

	// Both belong to the call that is going on. They are here and not on its stack
	// because what is passed through an interface escapes.
	aad   [extendedLength]byte
	nonce [nonceLength]byte
}

var _ protection = (*combined)(nil)

func newCombined(aead cipher.AEAD, salt []byte, extended bool) *combined {
	c := &combined{aead: aead, extended: extended}
	copy(c.nonce[:], salt)
	return c
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal has the sequence number for an IV: unique for each packet under one key,
// which is all that RFC 4106, Section 3.1, and RFC 7634, Section 2, ask for.
func (c *combined) seal(packet []byte, sequence uint64) {
	binary.BigEndian.PutUint64(packet[headerLength:], sequence)
	c.encrypt(packet, sequence)
}

// encrypt is seal with the IV that lies in the packet.
func (c *combined) encrypt(packet []byte, sequence uint64) {
	copy(c.nonce[saltLength:], packet[headerLength:combinedFront]) // RFC 4106, Section 4.
	plain := packet[combinedFront : len(packet)-c.aead.Overhead()]
	c.aead.Seal(plain[:0], c.nonce[:], plain, c.additional(packet, sequence))
}

func (c *combined) open(packet []byte, sequence uint64, into []byte) ([]byte, bool) {
	copy(c.nonce[saltLength:], packet[headerLength:combinedFront])
	plain, err := c.aead.Open(into[:0], c.nonce[:], packet[combinedFront:], c.additional(packet, sequence))
	return plain, err == nil
}

// additional is what is authenticated beside the ciphertext: SPI and sequence
// number, all 64 bits of it where it is extended (RFC 4106, Section 5).
func (c *combined) additional(packet []byte, sequence uint64) []byte {
	if !c.extended {
		return packet[:headerLength]
	}
	copy(c.aad[:], packet[:4])
	binary.BigEndian.PutUint64(c.aad[4:], sequence)
	return c.aad[:]
}
