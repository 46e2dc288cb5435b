// Package tunneltest checks drivers of package tunnel: a conformance suite that
// every driver passes, and what it is made of, for the drivers' own tests: two
// namespaces joined by a link, both halves of a tunnel over it, session keys,
// and a capture of what passes in between.
package tunneltest

import (
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
	info := fmt.Sprintf("tunneltest %s, generation %d", name, generation)
	return hkdf.Key(sha256.New, []byte(k.secret), nil, info, size)
}
