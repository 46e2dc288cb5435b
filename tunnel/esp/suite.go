package esp

import (
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"unsafe"

	"golang.org/x/crypto/chacha20poly1305"

	"tunnelmark/tunnel"
)

// protection is what a suite does to the packets of one SA. One goroutine uses it.
type protection interface {
	// seal takes a packet that is whole but for its IV and ICV. It fills in both,
	// and encrypts in place what lies between them.
	seal(packet []byte, sequence uint64)
	// open checks the ICV of a packet of at least layout.leastPacket bytes before it
	// looks at anything else, and says whether it is right. It decrypts what lies
	// between IV and ICV to the front of into, which has room for as much: that may be
	// where it lies in the packet, and else does not overlap it.
	open(packet []byte, sequence uint64, into []byte) (plain []byte, ok bool)
}

// suite is one row of the table of cipher suites: an AEAD, or a cipher without
// integrity beside an HMAC (RFC 4303, Section 3.3.2), or neither. What is nil it
// has not.
type suite struct {
	name   tunnel.Suite
	aead   func(key []byte) (cipher.AEAD, error)
	cipher func(key []byte) (*cbc, error) // None is NULL (RFC 2410).
	hash   func() hash.Hash
}

// suites are those of package tunnel's table.
var suites = []suite{
	{name: tunnel.AES128GCM, aead: newGCM},                           // RFC 4106, Section 8.1.
	{name: tunnel.AES256GCM, aead: newGCM},                           // RFC 4106, Section 8.1.
	{name: tunnel.ChaCha20Poly1305, aead: chacha20poly1305.New},      // RFC 7634, Section 2.
	{name: tunnel.AES128CBCSHA1, cipher: newCBC, hash: sha1.New},     // RFC 3602; RFC 2404.
	{name: tunnel.AES256CBCSHA1, cipher: newCBC, hash: sha1.New},     // RFC 3602; RFC 2404.
	{name: tunnel.AES128CBCSHA256, cipher: newCBC, hash: sha256.New}, // RFC 3602; RFC 4868.
	{name: tunnel.AES256CBCSHA256, cipher: newCBC, hash: sha256.New}, // RFC 3602; RFC 4868.
	{name: tunnel.AES128CBCSHA512, cipher: newCBC, hash: sha512.New}, // RFC 3602; RFC 4868.
	{name: tunnel.AES256CBCSHA512, cipher: newCBC, hash: sha512.New}, // RFC 3602; RFC 4868.
	{name: tunnel.NullSHA256, hash: sha256.New},                      // RFC 2410; RFC 4868.
	{name: tunnel.NullNull},                                          // Of no RFC.
}

func findSuite(name tunnel.Suite) (suite, error) {
	known := make([]tunnel.Suite, 0, len(suites))
	for _, s := range suites {
		if s.name == name {
			return s, nil
		}
		known = append(known, s.name)
	}
	return suite{}, fmt.Errorf("suite %q is none of %q: %w", name, known, tunnel.ErrNotSupported)
}

// transform is a suite with the key of one direction.
type transform struct {
	layout
	extended bool         // Extended sequence numbers.
	ciphers  []protection // One for each goroutine at a time.
}

// transform makes the ciphers of one direction, of the key material that take gives.
// That lives no longer than this call; what stays is inside the cipher objects.
func (s suite) transform(take func(size int) ([]byte, error), extended bool, count int) (transform, error) {
	lengths, err := s.name.Transform()
	if err != nil {
		return transform{}, err
	}
	secret, err := material(take, lengths.KeyMaterial())
	if err != nil {
		return transform{}, fmt.Errorf("take key of suite %q: %w", s.name, err)
	}
	defer clear(secret)
	t := transform{layout: layoutOf(lengths), extended: extended, ciphers: make([]protection, count)}
	for i := range t.ciphers {
		if t.ciphers[i], err = s.protect(secret, lengths, extended); err != nil {
			return transform{}, fmt.Errorf("make cipher of suite %q: %w", s.name, err)
		}
	}
	return t, nil
}

// material takes one direction's key material. The caller clears it. There is none of
// 0 bytes to ask for.
func material(take func(size int) ([]byte, error), size int) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	secret, err := take(size)
	if err == nil && len(secret) != size {
		clear(secret)
		err = fmt.Errorf("got %d bytes, want %d", len(secret), size)
	}
	return secret, err
}

// protect cuts the material up: cipher key, then salt or the HMAC's key.
func (s suite) protect(material []byte, lengths tunnel.Transform, extended bool) (protection, error) {
	key, rest := material[:lengths.Key], material[lengths.Key:]
	switch {
	case s.aead != nil:
		aead, err := s.aead(key)
		return newCombined(aead, rest, extended), err
	case s.hash == nil:
		return unprotected{}, nil
	}
	var c *cbc
	if s.cipher != nil {
		var err error
		if c, err = s.cipher(key); err != nil {
			return nil, err
		}
	}
	return newSeparate(c, s.hash, rest, lengths, extended), nil
}

// unprotected leaves packets as they are, and takes any: tunnel.NullNull.
type unprotected struct{}

var _ protection = unprotected{}

func (unprotected) seal([]byte, uint64) {}

func (unprotected) open(packet []byte, _ uint64, into []byte) ([]byte, bool) {
	return take(packet[headerLength:], into), true
}

// take is what opening comes to without a cipher: nothing, where it is done in place.
func take(plain, into []byte) []byte {
	if unsafe.SliceData(plain) != unsafe.SliceData(into) {
		copy(into, plain)
	}
	return into[:len(plain)]
}
