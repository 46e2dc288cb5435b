package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"

	"tunnelmark/tunnel"
)

// separate is a cipher without integrity beside an HMAC: encrypt, then
// authenticate (RFC 4303, Section 3.3.2.1).
type separate struct {
	cbc      *cbc      // nil is NULL, which leaves everything as it is (RFC 2410, Section 2).
	mac      hash.Hash // Cut to icv bytes: RFC 2404, Section 2; RFC 4868, Section 2.1.
	iv, icv  int       // Lengths in bytes.
	extended bool

	// Both belong to the call that is going on, as in combined.
	high [4]byte
	sum  [sha512.Size]byte // The longest.
}

var _ protection = (*separate)(nil)

func newSeparate(c *cbc, hash func() hash.Hash, key []byte, lengths tunnel.Transform, extended bool) *separate {
	return &separate{cbc: c, mac: hmac.New(hash, key), iv: lengths.IV, icv: lengths.ICV, extended: extended}
}

func (s *separate) seal(packet []byte, sequence uint64) {
	if s.cbc != nil {
		s.cbc.nextIV(packet[headerLength:headerLength+s.iv], sequence)
	}
	s.encrypt(packet, sequence)
}

// encrypt is seal with the IV that lies in the packet.
func (s *separate) encrypt(packet []byte, sequence uint64) {
	front, end := headerLength+s.iv, len(packet)-s.icv
	if s.cbc != nil {
		s.cbc.encrypt(packet[headerLength:front], packet[front:end])
	}
	copy(packet[end:], s.authenticate(packet[:end], sequence))
}

// open compares in constant time, so that a forger does not learn from how long it
// takes how much of an ICV was right.
func (s *separate) open(packet []byte, sequence uint64, into []byte) ([]byte, bool) {
	front, end := headerLength+s.iv, len(packet)-s.icv
	if !hmac.Equal(packet[end:], s.authenticate(packet[:end], sequence)) {
		return nil, false
	}
	if s.cbc == nil {
		return take(packet[front:end], into), true
	}
	into = into[:end-front]
	if len(into)%aes.BlockSize != 0 {
		return nil, true // Of a peer that has the key: authentic, and malformed.
	}
	s.cbc.decrypt(packet[headerLength:front], packet[front:end], into)
	return into, true
}

// authenticate computes the ICV of a packet without it. The high half of an
// extended sequence number is not sent, and authenticated behind all that is
// (RFC 4303, Section 2.2.1).
func (s *separate) authenticate(packet []byte, sequence uint64) []byte {
	s.mac.Reset()
	s.mac.Write(packet)
	if s.extended {
		binary.BigEndian.PutUint32(s.high[:], uint32(sequence>>32))
		s.mac.Write(s.high[:])
	}
	return s.mac.Sum(s.sum[:0])[:s.icv]
}

// cbc is AES in CBC mode (RFC 3602) of one SA. It makes a new IV for each packet
// without asking the kernel for random bytes each time.
type cbc struct {
	encrypter, decrypter chain
	// ivs makes the IVs: RFC 3602, Section 3, wants them unpredictable, and NIST SP
	// 800-38A, Appendix C, gets such from a nonce by encrypting it. The nonce is the
	// sequence number. The key is one of its own that this end draws and keeps, so
	// that nothing inside a packet can ever be a nonce under the same key.
	ivs   cipher.Block
	nonce [aes.BlockSize]byte
}

// chain is what the block modes of crypto/cipher are (crypto/tls relies on it as
// well): one that can begin anew without being made anew.
type chain interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

func newCBC(key []byte) (*cbc, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	own := make([]byte, len(key))
	defer clear(own)
	_, _ = rand.Read(own) // It never fails.
	ivs, err := aes.NewCipher(own)
	if err != nil {
		return nil, err
	}
	none := make([]byte, aes.BlockSize)
	encrypter, ok := cipher.NewCBCEncrypter(block, none).(chain)
	decrypter, too := cipher.NewCBCDecrypter(block, none).(chain)
	if !ok || !too {
		return nil, errors.New("crypto/cipher has no SetIV for AES in CBC mode: build with another version of Go")
	}
	return &cbc{encrypter: encrypter, decrypter: decrypter, ivs: ivs}, nil
}

func (c *cbc) nextIV(iv []byte, sequence uint64) {
	binary.BigEndian.PutUint64(c.nonce[:], sequence)
	c.ivs.Encrypt(iv, c.nonce[:])
}

// encrypt works in place.
func (c *cbc) encrypt(iv, data []byte) {
	c.encrypter.SetIV(iv)
	c.encrypter.CryptBlocks(data, data)
}

func (c *cbc) decrypt(iv, data, into []byte) {
	c.decrypter.SetIV(iv)
	c.decrypter.CryptBlocks(into, data)
}
