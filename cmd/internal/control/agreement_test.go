package control

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/tunnel"
)

// side is one agent with its part of one session.
type side struct {
	identity *Identity
	trust    *Trust
	consent  *Consent
}

// sides are two agents that pinned each other, a the initiator.
type sides struct {
	a, b side
	now  time.Time
}

func newSides(t testing.TB) *sides {
	t.Helper()
	now := time.Now() // The real one: certificates do not care, offers get it as an argument.
	aDir, bDir := stateDir(t), stateDir(t)
	a, b := side{identity: mustIdentity(t, aDir)}, side{identity: mustIdentity(t, bDir)}
	a.trust = mustTrust(t, aDir, Pin{Standing: Peer, Name: "b", Fingerprint: b.identity.Fingerprint()})
	b.trust = mustTrust(t, bDir, Pin{Standing: Peer, Name: "a", Fingerprint: a.identity.Fingerprint()})
	s := &sides{a: a, b: b, now: now}
	s.a.consent = s.a.mustConsent(t, s.b, sampleOffer(controlv1.Role_ROLE_INITIATOR), now)
	s.b.consent = s.b.mustConsent(t, s.a, sampleOffer(controlv1.Role_ROLE_RESPONDER), now)
	return s
}

func (s side) mustConsent(t testing.TB, peer side, offer Offer, now time.Time) *Consent {
	t.Helper()
	offer.Peer = peer.identity.Fingerprint()
	consent, err := NewConsent(s.identity, offer, now)
	must(t, err)
	return consent
}

func (s side) mustAccept(t testing.TB, signed *controlv1.SignedOffer, now time.Time) *SessionKeys {
	t.Helper()
	_, keys, err := s.consent.Accept(signed, s.trust, now)
	must(t, err)
	return keys
}

func mustKey(t testing.TB, keys tunnel.Keys, direction tunnel.Direction, generation, size int) []byte {
	t.Helper()
	key, err := keys.Key(direction, generation, size)
	must(t, err)
	if len(key) != size {
		t.Errorf("key of %d bytes, want %d", len(key), size)
	}
	return key
}

func TestBothEndsAgree(t *testing.T) {
	s := newSides(t)
	a := s.a.mustAccept(t, s.b.consent.Signed(), s.now)
	b := s.b.mustAccept(t, s.a.consent.Signed(), s.now)

	seen := map[string]string{} // Every key differs from every other.
	add := func(label string, key []byte) {
		if other, taken := seen[string(key[:16])]; taken {
			t.Errorf("%s has the key of %s", label, other)
		}
		seen[string(key[:16])] = label
	}
	for _, driver := range []string{"esp", "wireguard"} {
		for number := range 2 {
			for generation := range 2 {
				for _, size := range []int{20, 36} {
					label := fmt.Sprint(driver, number, generation, size)
					ka, kb := a.Tunnel(driver, number), b.Tunnel(driver, number)
					out := mustKey(t, ka, tunnel.Send, generation, size)
					in := mustKey(t, ka, tunnel.Receive, generation, size)
					if !bytes.Equal(out, mustKey(t, kb, tunnel.Receive, generation, size)) {
						t.Errorf("%s: what a sends with, b does not receive with", label)
					}
					if !bytes.Equal(in, mustKey(t, kb, tunnel.Send, generation, size)) {
						t.Errorf("%s: what b sends with, a does not receive with", label)
					}
					add(label+" out", out)
					add(label+" in", in)
				}
			}
		}
	}
	pa, err := a.Probe()
	must(t, err)
	pb, err := b.Probe()
	must(t, err)
	if !bytes.Equal(pa, pb) || len(pa) != ProbeKeySize {
		t.Error("the ends have different probe keys")
	}
	add("probe", pa)
}

// What is shared is the same at both ends, and each end's private key is the one
// behind the public key that the other was given.
func TestSharedAndKeyPair(t *testing.T) {
	s := newSides(t)
	ka := s.a.mustAccept(t, s.b.consent.Signed(), s.now).Tunnel("wireguard", 0)
	kb := s.b.mustAccept(t, s.a.consent.Signed(), s.now).Tunnel("wireguard", 0)
	sharedA, err := ka.Shared(32)
	must(t, err)
	sharedB, err := kb.Shared(32)
	must(t, err)
	if len(sharedA) != 32 || !bytes.Equal(sharedA, sharedB) {
		t.Error("the ends share different keys")
	}
	privateA, peerOfA, err := ka.KeyPair()
	must(t, err)
	privateB, peerOfB, err := kb.KeyPair()
	must(t, err)
	if !peerOfA.Equal(privateB.PublicKey()) || !peerOfB.Equal(privateA.PublicKey()) {
		t.Error("a public key is not of the other's private key")
	}
}

func TestErasedKeys(t *testing.T) {
	s := newSides(t)
	keys := s.a.mustAccept(t, s.b.consent.Signed(), s.now)
	of := keys.Tunnel("wireguard", 0)
	keys.Erase()
	if _, err := of.Shared(32); err == nil {
		t.Error("a shared key comes out of erased ones")
	}
	if _, _, err := of.KeyPair(); err == nil {
		t.Error("a key pair comes out of erased ones")
	}
}

func TestKeysAreFresh(t *testing.T) {
	s := newSides(t)
	first, err := s.a.mustAccept(t, s.b.consent.Signed(), s.now).Probe()
	must(t, err)
	// The same session again, by the same agents.
	s.a.consent = s.a.mustConsent(t, s.b, sampleOffer(controlv1.Role_ROLE_INITIATOR), s.now)
	second, err := s.a.mustAccept(t, s.b.consent.Signed(), s.now).Probe()
	must(t, err)
	if bytes.Equal(first, second) {
		t.Error("two sessions have the same key")
	}
}

func TestConsentAcceptsOne(t *testing.T) {
	s := newSides(t)
	bad := &controlv1.SignedOffer{}
	if _, _, err := s.a.consent.Accept(bad, s.a.trust, s.now); !errors.Is(err, ErrOfferRefused) {
		t.Errorf("got %v, want ErrOfferRefused", err)
	}
	s.a.mustAccept(t, s.b.consent.Signed(), s.now) // The refusal did no harm.
	if _, _, err := s.a.consent.Accept(s.b.consent.Signed(), s.a.trust, s.now); !errors.Is(err, ErrOfferRefused) {
		t.Errorf("a second offer: got %v, want ErrOfferRefused", err)
	}
}

func TestKeyRefuses(t *testing.T) {
	s := newSides(t)
	keys := s.a.mustAccept(t, s.b.consent.Signed(), s.now)
	for _, size := range []int{-1, 0, maxKeySize + 1} {
		if _, err := keys.Tunnel("esp", 0).Key(tunnel.Send, 0, size); err == nil {
			t.Errorf("a key of %d bytes was derived", size)
		}
	}
	if _, err := keys.Tunnel("esp", 0).Key(tunnel.Direction(2), 0, 20); err == nil {
		t.Error("a key of no direction was derived")
	}
	keys.Erase()
	if _, err := keys.Probe(); err == nil {
		t.Error("a key was derived after Erase")
	}
}
