package wire

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// KeySize is the length of a session's key, in bytes.
const KeySize = 32

// TagSize is the length of an authentication tag, in bytes.
const TagSize = 16

// ErrTag means that a datagram was not made by the holder of the session's key,
// or was changed on its way.
var ErrTag = errors.New("authentication tag does not match")

// Key authenticates HELLO and FEEDBACK for one session. It prints as "(hidden)".
type Key struct{ bytes [KeySize]byte }

// NewKey copies the key from b, which must have KeySize bytes.
func NewKey(b []byte) (Key, error) {
	var k Key
	if len(b) != KeySize {
		return k, fmt.Errorf("take probe key: %d bytes, want %d", len(b), KeySize)
	}
	copy(k.bytes[:], b)
	return k, nil
}

// Format keeps the key out of every log and message, whatever the verb.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "(hidden)") }

// Nonce is 16 random bytes that an end chose afresh for one trial.
type Nonce [16]byte

// NewNonce makes one that nobody can foresee.
func NewNonce() (n Nonce) {
	_, _ = rand.Read(n[:]) // Never fails (crypto/rand).
	return n
}

// appendTag appends the tag over the whole of b.
func appendTag(b []byte, key Key) []byte {
	return append(b, tag(b, key)...)
}

// open checks that the datagram b is of type want, has size bytes and a right
// tag, and returns its header and body.
func open(b []byte, want Type, size int, key Key) (Header, []byte, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, nil, err
	}
	if h.Type != want || len(b) != size {
		return h, nil, fmt.Errorf("%w: type %d with %d bytes, want type %d with %d", ErrForeign, h.Type, len(b), want, size)
	}
	signed, got := b[:size-TagSize], b[size-TagSize:]
	if !hmac.Equal(got, tag(signed, key)) {
		return h, nil, ErrTag
	}
	return h, signed[HeaderSize:], nil
}

// Authenticator seals and opens datagrams of any length with one key. Unlike the
// functions that take a Key it does not allocate, for what comes often. It must not
// be used by two goroutines at once.
type Authenticator struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

// NewAuthenticator seals and opens with key.
func NewAuthenticator(key Key) *Authenticator {
	return &Authenticator{mac: hmac.New(sha256.New, key.bytes[:])}
}

// seal writes the tag over all that goes before to the end of b.
func (a *Authenticator) seal(b []byte) {
	signed := b[:len(b)-TagSize]
	copy(b[len(signed):], a.tag(signed))
}

// open checks that the datagram b is of type want, has at least so many bytes and a
// right tag, and returns its header and body.
func (a *Authenticator) open(b []byte, want Type, least int) (Header, []byte, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, nil, err
	}
	if h.Type != want || len(b) < least {
		return h, nil, fmt.Errorf("%w: type %d with %d bytes, want type %d with %d at least", ErrForeign, h.Type, len(b), want, least)
	}
	signed := b[:len(b)-TagSize]
	if !hmac.Equal(b[len(signed):], a.tag(signed)) {
		return h, nil, ErrTag
	}
	return h, signed[HeaderSize:], nil
}

// tag is valid until the next one.
func (a *Authenticator) tag(b []byte) []byte {
	a.mac.Reset()
	a.mac.Write(b) // A hash never returns an error.
	return a.mac.Sum(a.sum[:0])[:TagSize]
}

func tag(b []byte, key Key) []byte {
	mac := hmac.New(sha256.New, key.bytes[:])
	mac.Write(b) // A hash never returns an error.
	return mac.Sum(nil)[:TagSize]
}
