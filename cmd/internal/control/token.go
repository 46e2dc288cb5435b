package control

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const (
	tokenPrefix = "tm1_"
	secretSize  = 32 // Bytes: not to be guessed.
	tokenCheck  = 4  // Bytes of check sum.
	// maxTokenText bounds what Parse looks at.
	maxTokenText = 1 << 10
)

var tokenEncoding = base64.RawURLEncoding.Strict()

// Token is the operator's one-time permission to pair with one agent. Its text
// form is the prefix "tm1_" and, in base64url (RFC 4648, Section 5):
//
//	expiry, 8 bytes, Unix seconds, big-endian
//	fingerprint of the agent, 32 bytes
//	secret, 32 bytes
//	address of the agent's control, up to 256 bytes
//	check sum, 4 bytes
type Token struct {
	Address     string // host:port or unix:/path.
	Fingerprint Fingerprint
	Expires     time.Time // To the second.

	secret [secretSize]byte
}

func newToken(address string, fingerprint Fingerprint, expires time.Time) (Token, error) {
	if _, _, err := splitAddress(address); err != nil {
		return Token{}, err
	}
	token := Token{Address: address, Fingerprint: fingerprint, Expires: expires.Truncate(time.Second)}
	_, err := rand.Read(token.secret[:])
	return token, err
}

// Text is what the operator copies. It holds the secret.
func (t Token) Text() string {
	raw := binary.BigEndian.AppendUint64(nil, uint64(t.Expires.Unix()))
	raw = append(raw, t.Fingerprint[:]...)
	raw = append(raw, t.secret[:]...)
	raw = append(raw, t.Address...)
	return tokenPrefix + tokenEncoding.EncodeToString(append(raw, tokenChecksum(raw)...))
}

func tokenChecksum(raw []byte) []byte {
	sum := sha256.Sum256(append([]byte("tunnelmark token"), raw...))
	return sum[:tokenCheck]
}

// ParseToken reads the text form. It does not look at the clock: the agent
// decides whether the token has expired. No error repeats the text.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxTokenText {
		return Token{}, fmt.Errorf("parse token: %d characters, at most %d are allowed", len(text), maxTokenText)
	}
	body, found := strings.CutPrefix(text, tokenPrefix)
	if !found {
		return Token{}, fmt.Errorf("parse token: it does not begin with %q", tokenPrefix)
	}
	// The decoder skips line breaks, which would give one token many texts.
	raw, err := tokenEncoding.DecodeString(body)
	if err != nil || strings.ContainsAny(body, "\r\n") {
		return Token{}, errors.New("parse token: a character is missing or wrong")
	}
	const fixed = 8 + FingerprintSize + secretSize
	if len(raw) < fixed+tokenCheck || len(raw) > fixed+maxAddressBytes+tokenCheck {
		return Token{}, errors.New("parse token: it has the wrong length; was it copied whole?")
	}
	raw, check := raw[:len(raw)-tokenCheck], raw[len(raw)-tokenCheck:]
	if !bytes.Equal(check, tokenChecksum(raw)) {
		return Token{}, errors.New("parse token: the check sum does not match; was it copied whole?")
	}
	return decodeToken(raw)
}

func decodeToken(raw []byte) (Token, error) {
	seconds, raw := binary.BigEndian.Uint64(raw), raw[8:]
	if seconds > maxTokenSeconds {
		return Token{}, errors.New("parse token: its expiry is out of range")
	}
	token := Token{
		Expires:     time.Unix(int64(seconds), 0),
		Fingerprint: Fingerprint(raw[:FingerprintSize]),
		secret:      [secretSize]byte(raw[FingerprintSize:][:secretSize]),
		Address:     string(raw[FingerprintSize+secretSize:]),
	}
	if _, _, err := splitAddress(token.Address); err != nil {
		return Token{}, fmt.Errorf("parse token: %w", err)
	}
	return token, nil
}

// maxTokenSeconds is the end of the year 9999.
const maxTokenSeconds = 253402300799

// proves says, in constant time, whether hash is the one of secret.
func proves(secret, hash []byte) bool {
	own := hashSecret(secret)
	return subtle.ConstantTimeCompare(own, hash) == 1
}

// hashSecret is what the agent keeps. The secret has 256 random bits, so that a
// slow hash would add nothing.
func hashSecret(secret []byte) []byte {
	sum := sha256.Sum256(append([]byte("tunnelmark token secret"), secret...))
	return sum[:]
}

// String hides the secret.
func (t Token) String() string { return hidden }

// GoString hides the secret.
func (t Token) GoString() string { return hidden }

// LogValue hides the secret.
func (t Token) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON hides the secret.
func (t Token) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
