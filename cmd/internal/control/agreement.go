package control

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/tunnel"
)

// ProbeKeySize is the length of the key that authenticates probes, in bytes.
const ProbeKeySize = 32

// maxKeySize bounds one output of HKDF-Expand far below its 255 hashes.
const maxKeySize = 1 << 10

// Consent is one agent's side of one session: the offer that it signed and the
// secret behind it. It accepts one offer of the peer's. Its methods may be
// called from several goroutines at once.
type Consent struct {
	offer  Offer
	signed *controlv1.SignedOffer

	mu      sync.Mutex         // Guards what follows; all nil once it was used.
	private *ecdh.PrivateKey   // Behind the offer's X25519.
	tunnels []*ecdh.PrivateKey // Behind the offer's tunnels' public keys, in their order.
}

// NewConsent fills in Issuer, X25519, the tunnels' public keys, Issued and
// Expires, and signs the offer.
func NewConsent(identity *Identity, offer Offer, now time.Time) (*Consent, error) {
	c := &Consent{offer: offer}
	if err := c.drawKeys(); err != nil {
		return nil, fmt.Errorf("make offer: %w", err)
	}
	c.offer.Issuer = identity.Fingerprint()
	c.offer.Issued, c.offer.Expires = now, now.Add(OfferLife)
	var err error
	c.signed, err = c.offer.sign(identity)
	return c, err
}

// drawKeys draws the session's key pair, and one for each tunnel: those that a
// driver needs as they are (WireGuard's) are no pair that anything else uses.
func (c *Consent) drawKeys() (err error) {
	if c.private, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		return err
	}
	c.offer.X25519 = c.private.PublicKey().Bytes()
	c.offer.Tunnels = slices.Clone(c.offer.Tunnels)
	for i := range c.offer.Tunnels {
		private, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		c.tunnels = append(c.tunnels, private)
		c.offer.Tunnels[i].PublicKey = private.PublicKey().Bytes()
	}
	return nil
}

// Offer is what was signed.
func (c *Consent) Offer() Offer { return c.offer }

// Signed is what the controller carries to the peer.
func (c *Consent) Signed() *controlv1.SignedOffer { return c.signed }

// Accept verifies the peer's offer and derives the session's keys from both.
// After an offer was accepted there is no second one; after one was refused
// (ErrOfferRefused) another may come.
func (c *Consent) Accept(signed *controlv1.SignedOffer, trust *Trust, now time.Time) (*Offer, *SessionKeys, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.private == nil {
		return nil, nil, fmt.Errorf("%w: this session has accepted one already", ErrOfferRefused)
	}
	peer, err := VerifyOffer(signed, trust, now, &c.offer)
	if err != nil {
		return nil, nil, err
	}
	keys, err := c.agree(peer, signed)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrOfferRefused, err)
	}
	c.private, c.tunnels = nil, nil
	return peer, keys, nil
}

// agree is X25519 (RFC 7748), then HKDF-Extract (RFC 5869) with a salt over both
// signed offers, the initiator's first. So every byte of what each end believes
// about the session is in the keys: where the ends differ in one, nothing that
// they seal opens.
func (c *Consent) agree(peer *Offer, signed *controlv1.SignedOffer) (*SessionKeys, error) {
	public, err := ecdh.X25519().NewPublicKey(peer.X25519)
	if err != nil {
		return nil, fmt.Errorf("agree on keys: %w", err)
	}
	shared, err := c.private.ECDH(public) // Errors where public is of low order.
	if err != nil {
		return nil, fmt.Errorf("agree on keys: its X25519 value: %w", err)
	}
	initiator, responder := c.signed, signed
	if c.offer.Role == controlv1.Role_ROLE_RESPONDER {
		initiator, responder = signed, c.signed
	}
	root, err := hkdf.Extract(sha256.New, shared, transcript(initiator, responder))
	clear(shared)
	if err != nil {
		return nil, fmt.Errorf("agree on keys: %w", err)
	}
	keys := &SessionKeys{root: root, role: c.offer.Role}
	for i, end := range peer.Tunnels {
		public, err := ecdh.X25519().NewPublicKey(end.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("agree on keys: public key of tunnel %d: %w", i, err)
		}
		keys.pairs = append(keys.pairs, keyPair{private: c.tunnels[i], peer: public})
	}
	return keys, nil
}

// transcript hashes both offers; each part carries its length.
func transcript(offers ...*controlv1.SignedOffer) []byte {
	hash := sha256.New()
	hash.Write([]byte("tunnelmark agreement v1\x00"))
	for _, offer := range offers {
		for _, part := range [][]byte{offer.GetContents(), offer.GetSignature(), offer.GetPublicKey()} {
			hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			hash.Write(part)
		}
	}
	return hash.Sum(nil)
}

// String hides the secret.
func (c *Consent) String() string { return hidden }

// GoString hides the secret.
func (c *Consent) GoString() string { return hidden }

// LogValue hides the secret.
func (c *Consent) LogValue() slog.Value { return slog.StringValue(hidden) }

// SessionKeys are one session's secrets, as one end sees them. They never print.
type SessionKeys struct {
	root  []byte // HKDF's pseudorandom key.
	role  controlv1.Role
	pairs []keyPair // One for each tunnel.
}

// keyPair is what a driver with keys of its own needs.
type keyPair struct {
	private *ecdh.PrivateKey
	peer    *ecdh.PublicKey
}

// Tunnel gives the keys of one of the session's tunnels to a driver.
func (k *SessionKeys) Tunnel(driver string, number int) tunnel.Keys {
	return tunnelKeys{session: k, driver: driver, number: number}
}

// Probe is the key that authenticates the probes' hello and feedback, of
// ProbeKeySize bytes and the same at both ends.
func (k *SessionKeys) Probe() ([]byte, error) {
	return k.expand("probe", ProbeKeySize)
}

// Erase forgets the session's secret. Nothing can be derived afterwards. It must
// not be called while keys are being derived.
func (k *SessionKeys) Erase() {
	clear(k.root)
	k.root, k.pairs = nil, nil
}

func (k *SessionKeys) expand(label string, size int) ([]byte, error) {
	if k.root == nil {
		return nil, errors.New("derive key: the session's keys were erased")
	}
	if size < 1 || size > maxKeySize {
		return nil, fmt.Errorf("derive key: %d bytes, allowed are 1 to %d", size, maxKeySize)
	}
	// The length is in the label: a shorter key is no prefix of a longer one.
	info := fmt.Sprintf("tunnelmark v1 %s size=%d", label, size)
	return hkdf.Expand(sha256.New, k.root, info, size)
}

// String hides the keys.
func (k *SessionKeys) String() string { return hidden }

// GoString hides the keys.
func (k *SessionKeys) GoString() string { return hidden }

// LogValue hides the keys.
func (k *SessionKeys) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON hides the keys.
func (k *SessionKeys) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

var _ tunnel.Keys = tunnelKeys{}

// tunnelKeys labels keys by driver, tunnel, absolute direction and generation.
type tunnelKeys struct {
	session *SessionKeys
	driver  string
	number  int
}

// Key implements tunnel.Keys.
func (t tunnelKeys) Key(direction tunnel.Direction, generation, size int) ([]byte, error) {
	absolute, err := t.session.absolute(direction)
	if err != nil {
		return nil, err
	}
	return t.session.expand(fmt.Sprintf("tunnel driver=%q number=%d %s generation=%d", t.driver, t.number, absolute, generation), size)
}

// Shared implements tunnel.Keys.
func (t tunnelKeys) Shared(size int) ([]byte, error) {
	return t.session.expand(fmt.Sprintf("tunnel driver=%q number=%d shared", t.driver, t.number), size)
}

// KeyPair implements tunnel.Keys.
func (t tunnelKeys) KeyPair() (*ecdh.PrivateKey, *ecdh.PublicKey, error) {
	if t.number >= len(t.session.pairs) {
		return nil, nil, fmt.Errorf("take key pair of tunnel %d: the session has %d, or its keys were erased", t.number, len(t.session.pairs))
	}
	pair := t.session.pairs[t.number]
	return pair.private, pair.peer, nil
}

// absolute turns a direction as this end sees it into one that both ends name
// alike.
func (k *SessionKeys) absolute(direction tunnel.Direction) (string, error) {
	switch {
	case direction != tunnel.Send && direction != tunnel.Receive:
		return "", fmt.Errorf("derive key: direction %d is neither send nor receive", direction)
	case (direction == tunnel.Send) == (k.role == controlv1.Role_ROLE_INITIATOR):
		return "initiator to responder", nil
	default:
		return "responder to initiator", nil
	}
}

// String hides the keys.
func (t tunnelKeys) String() string { return hidden }

// GoString hides the keys.
func (t tunnelKeys) GoString() string { return hidden }

// LogValue hides the keys.
func (t tunnelKeys) LogValue() slog.Value { return slog.StringValue(hidden) }
