package control

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// hidden is what a secret prints as.
const hidden = "(hidden)"

// identityFile is the name of the private key's file in a state directory.
const identityFile = "identity.pem"

// Identity is the long-lived key of one agent or controller, with a self-signed
// certificate around it. It never prints its private key.
type Identity struct {
	private     ed25519.PrivateKey
	certificate tls.Certificate
	fingerprint Fingerprint
}

// LoadOrCreate reads the identity kept in the state directory, or makes both
// directory (mode 0700) and identity (mode 0600). A file that others may read
// is refused. Where two processes create at the same time, both get the same
// identity.
func LoadOrCreate(dir string) (*Identity, error) {
	if err := makeStateDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, identityFile)
	identity, err := loadIdentity(path)
	if !errors.Is(err, os.ErrNotExist) {
		return identity, err
	}
	private, err := newPrivateKey()
	if err != nil {
		return nil, err
	}
	if err := createFile(path, private); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	return loadIdentity(path)
}

func newPrivateKey() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func loadIdentity(path string) (*Identity, error) {
	text, err := readPrivateFile(path, 4<<10)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("read identity: %s holds no PEM private key", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read identity: %s holds no PKCS #8 key", path)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read identity: %s holds a key that is not Ed25519", path)
	}
	return newIdentity(private)
}

func newIdentity(private ed25519.PrivateKey) (*Identity, error) {
	fingerprint, err := fingerprintOf(private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	der, err := selfSign(private, fingerprint)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
	return &Identity{private: private, certificate: certificate, fingerprint: fingerprint}, nil
}

// selfSign makes a certificate that does not expire: pins are trusted, dates
// are not. 9999-12-31 is RFC 5280, Section 4.1.2.5, for "no well-defined
// expiration date".
func selfSign(private ed25519.PrivateKey, fingerprint Fingerprint) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "tunnelmark " + fingerprint.Short()},
		NotBefore:    time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	return x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
}

// Fingerprint is what others pin.
func (i *Identity) Fingerprint() Fingerprint { return i.fingerprint }

// String hides the private key.
func (i *Identity) String() string { return hidden }

// GoString hides the private key.
func (i *Identity) GoString() string { return hidden }

// LogValue hides the private key.
func (i *Identity) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON hides the private key.
func (i *Identity) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
