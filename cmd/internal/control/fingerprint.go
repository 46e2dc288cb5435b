package control

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// FingerprintSize is the length of a fingerprint in bytes.
const FingerprintSize = sha256.Size

// Fingerprint is the SHA-256 of a public key's SubjectPublicKeyInfo (RFC 5280,
// Section 4.1.2.7). Its text form is seven groups of eight letters and digits
// of base32 (RFC 4648, Section 6), in lower case, of which the last five
// characters' worth is a check sum: 256 + 24 bits = 56 characters.
type Fingerprint [FingerprintSize]byte

const (
	fingerprintCheck = 3 // Bytes of check sum.
	fingerprintGroup = 8 // Characters of a group.
	fingerprintText  = 56
	// maxFingerprintInput bounds what is looked at: the text, its hyphens, and
	// some spaces.
	maxFingerprintInput = 128
)

var fingerprintEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func fingerprintOf(public ed25519.PublicKey) (Fingerprint, error) {
	if len(public) != ed25519.PublicKeySize {
		return Fingerprint{}, fmt.Errorf("take fingerprint: public key of %d bytes, want %d", len(public), ed25519.PublicKeySize)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Fingerprint{}, fmt.Errorf("take fingerprint: %w", err)
	}
	return sha256.Sum256(der), nil
}

// FingerprintFromBytes takes a fingerprint from its 32 bytes.
func FingerprintFromBytes(b []byte) (Fingerprint, error) {
	if len(b) != FingerprintSize {
		return Fingerprint{}, fmt.Errorf("fingerprint of %d bytes, want %d", len(b), FingerprintSize)
	}
	return Fingerprint(b), nil
}

// ParseFingerprint reads the text form. Case, hyphens and spaces do not matter;
// any single wrong character is found.
func ParseFingerprint(text string) (Fingerprint, error) {
	if len(text) > maxFingerprintInput {
		return Fingerprint{}, fmt.Errorf("parse fingerprint: %d characters, at most %d are allowed", len(text), maxFingerprintInput)
	}
	plain := strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(text))
	if len(plain) != fingerprintText {
		return Fingerprint{}, fmt.Errorf("parse fingerprint: %d letters and digits, want %d", len(plain), fingerprintText)
	}
	raw, err := fingerprintEncoding.DecodeString(plain)
	if err != nil {
		return Fingerprint{}, errors.New("parse fingerprint: only a to z and 2 to 7 are allowed")
	}
	f := Fingerprint(raw[:FingerprintSize])
	if !bytes.Equal(raw[FingerprintSize:], f.checksum()) {
		return Fingerprint{}, errors.New("parse fingerprint: the check sum does not match, a character is wrong")
	}
	return f, nil
}

func (f Fingerprint) checksum() []byte {
	sum := sha256.Sum256(append([]byte("tunnelmark fingerprint"), f[:]...))
	return sum[:fingerprintCheck]
}

// String is the text form.
func (f Fingerprint) String() string {
	plain := fingerprintEncoding.EncodeToString(append(f[:], f.checksum()...))
	groups := make([]string, 0, fingerprintText/fingerprintGroup)
	for at := 0; at < len(plain); at += fingerprintGroup {
		groups = append(groups, plain[at:at+fingerprintGroup])
	}
	return strings.Join(groups, "-")
}

// Short is the first group, for logs and tables. It is no proof of anything.
func (f Fingerprint) Short() string { return f.String()[:fingerprintGroup] }

// IsZero says that no fingerprint was set.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// MarshalText is String.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is ParseFingerprint.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	parsed, err := ParseFingerprint(string(text))
	if err != nil {
		return err
	}
	*f = parsed
	return nil
}
