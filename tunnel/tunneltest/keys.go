// Package tunneltest checks drivers of package tunnel: a conformance suite that
// every driver passes, and what it is made of, for the drivers' own tests: two
// namespaces joined by a link, both halves of a tunnel over it, session keys,
// and a capture of what passes in between.
package tunneltest

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"tunnelmark/tunnel"
)

// Keys derives the keys of both ends of a session from one secret: what left is
// given for Send, right is given for Receive, and the reverse.
func Keys(secret string) (left, right tunnel.Keys) {
	return keys{secret, "left to right", "right to left"}, keys{secret, "right to left", "left to right"}
}

// keys is one end of a session.
type keys struct {
	secret        string
	send, receive string // Names of the directions.
}

func (k keys) Key(direction tunnel.Direction, generation, size int) ([]byte, error) {
	name := k.send
	if direction == tunnel.Receive {
		name = k.receive
	}
	return k.expand(fmt.Sprintf("%s, generation %d", name, generation), size)
}

func (k keys) Shared(size int) ([]byte, error) { return k.expand("shared", size) }

// KeyPair derives what agents draw: a test's keys depend on its secret only.
func (k keys) KeyPair() (private *ecdh.PrivateKey, peer *ecdh.PublicKey, err error) {
	if private, err = k.private(k.send); err != nil {
		return nil, nil, err
	}
	theirs, err := k.private(k.receive)
	if err != nil {
		return nil, nil, err
	}
	return private, theirs.PublicKey(), nil
}

func (k keys) private(end string) (*ecdh.PrivateKey, error) {
	seed, err := k.expand("key pair of the end that sends "+end, 32) // RFC 7748, Section 5.
	if err != nil {
		return nil, err
	}
	return ecdh.X25519().NewPrivateKey(seed)
}

func (k keys) expand(info string, size int) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(k.secret), nil, "tunneltest "+info, size)
}
