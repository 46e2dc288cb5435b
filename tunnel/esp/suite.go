package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"tunnelmark/tunnel"
)

// saltLength is the part of the nonce that comes with the key, in bytes
// (RFC 4106, Section 8.1; RFC 7634, Section 2).
const saltLength = 4

// firstGeneration is the only one: a session ends long before 2^32 packets of
// one key would be unsafe, let alone its 2^64 sequence numbers be used up.
const firstGeneration = 0

// suite is one row of the table of cipher suites.
type suite struct {
	name    tunnel.Suite
	newAEAD func(key []byte) (cipher.AEAD, error)
}

// suites are the AEADs of package tunnel's table.
var suites = []suite{
	{tunnel.AES128GCM, newGCM},                      // RFC 4106, Section 8.1.
	{tunnel.AES256GCM, newGCM},                      // RFC 4106, Section 8.1.
	{tunnel.ChaCha20Poly1305, chacha20poly1305.New}, // RFC 7634, Section 2.
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
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

// transform is the cipher of one SA with its salt.
type transform struct {
	aead cipher.AEAD
	salt [saltLength]byte
}

// transform makes the cipher of one direction. The key material lives no
// longer than this call; what stays is inside the cipher object.
func (s suite) transform(keys tunnel.Keys, direction tunnel.Direction) (transform, error) {
	lengths, err := s.name.Transform()
	if err != nil {
		return transform{}, err
	}
	size := lengths.KeyMaterial()
	material, err := keys.Key(direction, firstGeneration, size)
	if err != nil {
		return transform{}, fmt.Errorf("take key of suite %q: %w", s.name, err)
	}
	defer clear(material)
	if len(material) != size {
		return transform{}, fmt.Errorf("take key of suite %q: got %d bytes, want %d", s.name, len(material), size)
	}
	aead, err := s.newAEAD(material[:lengths.Key])
	if err != nil {
		return transform{}, fmt.Errorf("make cipher of suite %q: %w", s.name, err)
	}
	return transform{aead: aead, salt: [saltLength]byte(material[lengths.Key:])}, nil
}
