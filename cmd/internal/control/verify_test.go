package control

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"tunnelmark/cmd/internal/control/controlv1"
)

// hostile is a paired controller between the agents: it sees and changes the
// offers that it carries. from is the agent that made the offer, to the one
// that gets it.
type hostile struct {
	name string
	// swap returns what the controller brings instead of from's offer.
	swap func(t *testing.T, s *sides, from, to side) *controlv1.SignedOffer
	want string
}

// forge changes one field without being able to sign.
func forge(change func(*controlv1.Offer)) func(*testing.T, *sides, side, side) *controlv1.SignedOffer {
	return func(t *testing.T, _ *sides, from, _ side) *controlv1.SignedOffer {
		signed := proto.CloneOf(from.consent.Signed())
		signed.Contents = changed(t, signed.GetContents(), change)
		return signed
	}
}

func changed(t *testing.T, contents []byte, change func(*controlv1.Offer)) []byte {
	t.Helper()
	var message controlv1.Offer
	must(t, proto.Unmarshal(contents, &message))
	change(&message)
	contents, err := proto.Marshal(&message)
	must(t, err)
	return contents
}

// TestHostileController tries every swap on the offer of either agent: each is
// caught by the agent that gets it.
func TestHostileController(t *testing.T) {
	const badSignature = "signature is not"
	cases := []hostile{
		{"swaps the key", forge(func(o *controlv1.Offer) { o.X25519[0] ^= 1 }), badSignature},
		{"swaps the address", forge(func(o *controlv1.Offer) { o.Outer = []byte{203, 0, 113, 7} }), badSignature},
		{"swaps the port", forge(func(o *controlv1.Offer) { o.Tunnels[0].Port++ }), badSignature},
		{"swaps the SPI", forge(func(o *controlv1.Offer) { o.Tunnels[0].Spi++ }), badSignature},
		{"swaps a tunnel's key", forge(func(o *controlv1.Offer) { o.Tunnels[0].PublicKey[0] ^= 1 }), badSignature},
		{"swaps the suite", forge(func(o *controlv1.Offer) { o.Suite = "null" }), badSignature},
		{"swaps the driver", forge(func(o *controlv1.Offer) { o.Driver = "clear" }), badSignature},
		{"swaps the encapsulation", forge(func(o *controlv1.Offer) { o.Encapsulation = "raw" }), badSignature},
		{"swaps the inner address", forge(func(o *controlv1.Offer) { o.Inner4[3]++ }), badSignature},
		{"raises the limits", forge(func(o *controlv1.Offer) { o.Limits.MaxInnerBitsPerSecond *= 2 }), badSignature},
		{"prolongs the offer", forge(func(o *controlv1.Offer) { o.ExpiresUnixNs += int64(time.Hour) }), badSignature},
		{"adds a field", func(_ *testing.T, _ *sides, from, _ side) *controlv1.SignedOffer {
			signed := proto.CloneOf(from.consent.Signed())
			signed.Contents = append(signed.Contents, 0xf8, 0x01, 0x01)
			return signed
		}, badSignature},
		{"swaps the signature", func(_ *testing.T, _ *sides, from, _ side) *controlv1.SignedOffer {
			signed := proto.CloneOf(from.consent.Signed())
			signed.Signature[0] ^= 1
			return signed
		}, badSignature},
		{"drops the signature", func(_ *testing.T, _ *sides, from, _ side) *controlv1.SignedOffer {
			signed := proto.CloneOf(from.consent.Signed())
			signed.Signature = nil
			return signed
		}, badSignature},
		{"signs with its own key", func(t *testing.T, _ *sides, from, _ side) *controlv1.SignedOffer {
			return resign(t, mustIdentity(t, stateDir(t)), from)
		}, "not trusted"},
		{"signs with its own key and names the agent's", func(t *testing.T, _ *sides, from, _ side) *controlv1.SignedOffer {
			signed := resign(t, mustIdentity(t, stateDir(t)), from)
			signed.PublicKey = from.consent.Signed().GetPublicKey()
			return signed
		}, badSignature},
		{"reflects the agent's own offer", func(_ *testing.T, _ *sides, _, to side) *controlv1.SignedOffer {
			return to.consent.Signed()
		}, "own, sent back"},
		{"replays an offer of another session", func(t *testing.T, s *sides, from, to side) *controlv1.SignedOffer {
			return from.other(t, to, s.now, func(o *Offer) { o.Session[0]++ })
		}, "belongs to session"},
		{"brings an offer that was made for another agent", func(t *testing.T, s *sides, from, _ side) *controlv1.SignedOffer {
			third := side{identity: mustIdentity(t, stateDir(t))}
			return from.other(t, third, s.now, func(*Offer) {})
		}, "was made for"},
		{"brings an offer of the same role", func(t *testing.T, s *sides, from, to side) *controlv1.SignedOffer {
			return from.other(t, to, s.now, func(o *Offer) { o.Role = to.consent.offer.Role })
		}, "same role"},
		{"asked the other for another suite", func(t *testing.T, s *sides, from, to side) *controlv1.SignedOffer {
			return from.other(t, to, s.now, func(o *Offer) { o.Suite = "aes-256-gcm" })
		}, "suite is aes-256-gcm"},
		{"asked the other for another driver", func(t *testing.T, s *sides, from, to side) *controlv1.SignedOffer {
			return from.other(t, to, s.now, func(o *Offer) { o.Driver = "clear" })
		}, "driver is clear"},
		{"asked the other for another encapsulation", func(t *testing.T, s *sides, from, to side) *controlv1.SignedOffer {
			return from.other(t, to, s.now, func(o *Offer) { o.Encapsulation = "raw" })
		}, "encapsulation is raw"},
		{"asked the other for another MTU", func(t *testing.T, s *sides, from, to side) *controlv1.SignedOffer {
			return from.other(t, to, s.now, func(o *Offer) { o.InnerMTU = 1200 })
		}, "inner MTU is 1200"},
		{"keeps an offer until it has expired", func(t *testing.T, s *sides, from, to side) *controlv1.SignedOffer {
			return from.other(t, to, s.now.Add(-OfferLife-MaxSkew-time.Second), func(*Offer) {})
		}, "expired"},
		{"brings an offer of the future", func(t *testing.T, s *sides, from, to side) *controlv1.SignedOffer {
			return from.other(t, to, s.now.Add(MaxSkew+time.Second), func(*Offer) {})
		}, "in the future"},
		{"brings nothing", func(*testing.T, *sides, side, side) *controlv1.SignedOffer { return nil }, "contents of 0 bytes"},
		{"brings too much", func(_ *testing.T, _ *sides, from, _ side) *controlv1.SignedOffer {
			signed := proto.CloneOf(from.consent.Signed())
			signed.Contents = make([]byte, maxOfferBytes+1)
			return signed
		}, "contents of 4097 bytes"},
		{"brings a key of the wrong length", func(_ *testing.T, _ *sides, from, _ side) *controlv1.SignedOffer {
			signed := proto.CloneOf(from.consent.Signed())
			signed.PublicKey = signed.PublicKey[1:]
			return signed
		}, "public key of 31 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSides(t)
			for name, ends := range map[string][2]side{"a's offer to b": {s.a, s.b}, "b's offer to a": {s.b, s.a}} {
				from, to := ends[0], ends[1]
				wantRefusal(t, name, to, c.swap(t, s, from, to), s.now, c.want)
				to.mustAccept(t, from.consent.Signed(), s.now) // The true one still passes.
			}
		})
	}
}

func wantRefusal(t *testing.T, name string, to side, signed *controlv1.SignedOffer, now time.Time, want string) {
	t.Helper()
	_, _, err := to.consent.Accept(signed, to.trust, now)
	if !errors.Is(err, ErrOfferRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, want a refusal with %q", name, err, want)
	}
}

// resign is from's offer with another X25519 value, signed by a key of the
// controller's.
func resign(t *testing.T, identity *Identity, from side) *controlv1.SignedOffer {
	t.Helper()
	offer := from.consent.Offer()
	consent, err := NewConsent(identity, offer, offer.Issued)
	must(t, err)
	return consent.Signed()
}

// other is another true offer of the same agent.
func (s side) other(t *testing.T, peer side, now time.Time, change func(*Offer)) *controlv1.SignedOffer {
	t.Helper()
	offer := s.consent.Offer()
	change(&offer)
	return s.mustConsent(t, peer, offer, now).Signed()
}

// TestForgedIssuer has a pinned peer sign an offer in another's name: it gains
// nothing, but what is signed must be true.
func TestForgedIssuer(t *testing.T) {
	s := newSides(t)
	offer := s.a.consent.Offer()
	offer.Issuer = Fingerprint{7}
	signed, err := offer.sign(s.a.identity)
	must(t, err)
	wantRefusal(t, "issuer", s.b, signed, s.now, "names")
}

// TestThirdPinnedPeer has an agent that is pinned, but is not the one that this
// session is with, answer.
func TestThirdPinnedPeer(t *testing.T) {
	s := newSides(t)
	third := side{identity: mustIdentity(t, stateDir(t))}
	must(t, s.b.trust.Add(Pin{Standing: Peer, Name: "c", Fingerprint: third.identity.Fingerprint()}))
	signed := third.mustConsent(t, s.b, sampleOffer(controlv1.Role_ROLE_INITIATOR), s.now).Signed()
	wantRefusal(t, "third", s.b, signed, s.now, "this session is with")
}

// TestRemovedPeer is refused from the next offer on.
func TestRemovedPeer(t *testing.T) {
	s := newSides(t)
	must(t, s.b.trust.Remove(Peer, "a"))
	wantRefusal(t, "removed", s.b, s.a.consent.Signed(), s.now, "not trusted")
}

// TestUnlikeBeliefsGiveUnlikeKeys: where the controller gets one agent to make
// two true offers and brings each agent another, nothing that they seal opens.
func TestUnlikeBeliefsGiveUnlikeKeys(t *testing.T) {
	s := newSides(t)
	second := s.a.other(t, s.b, s.now, func(*Offer) {})
	a, err := s.a.mustAccept(t, s.b.consent.Signed(), s.now).Probe()
	must(t, err)
	b, err := s.b.mustAccept(t, second, s.now).Probe()
	must(t, err)
	if bytes.Equal(a, b) {
		t.Error("the agents have one key for two beliefs")
	}
}

// TestPeerErrors are offers that a faulty peer signs.
func TestPeerErrors(t *testing.T) {
	cases := []struct {
		name   string
		change func(*Offer)
		want   string
	}{
		{"unspecified address", func(o *Offer) { o.Outer = mustAddr("0.0.0.0") }, "not one host's"},
		{"multicast", func(o *Offer) { o.Outer = mustAddr("224.0.0.1") }, "not one host's"},
		{"broadcast", func(o *Offer) { o.Outer = mustAddr("255.255.255.255") }, "not one host's"},
		{"mapped address", func(o *Offer) { o.Outer = mustAddr("::ffff:192.0.2.1") }, "not one host's"},
		{"unspecified IPv6", func(o *Offer) { o.Outer = mustAddr("::") }, "not one host's"},
		{"another family", func(o *Offer) { o.Outer = mustAddr("2001:db8::1") }, "different families"},
		{"port 0", func(o *Offer) { o.Tunnels[0].Port = 0 }, "port is 0"},
		{"the other's own address", func(o *Offer) { o.Outer = mustAddr("192.0.2.2") }, "this agent's own"},
		{"inner address outside the range", func(o *Offer) { o.Inner4 = mustAddr("10.0.0.1") }, "outside 198.18.0.0/15"},
		{"inner IPv6 outside the range", func(o *Offer) { o.Inner6 = mustAddr("2001:db8::1") }, "outside 2001:2::/48"},
		{"the other's inner address", func(o *Offer) { o.Inner4 = mustAddr("198.18.0.2") }, "this agent's own"},
		{"no inner IPv6", func(o *Offer) { o.Inner6 = netip.Addr{} }, "only one end"},
		{"reserved SPI", func(o *Offer) { o.Tunnels[0].SPI = 255 }, "reserved"},
		{"another lifetime", func(o *Offer) { o.Rekey.Time = time.Second }, "lifetime of keys is 1s, this agent was asked for unlimited"},
		{"two tunnels", func(o *Offer) { o.Tunnels = append(o.Tunnels, o.Tunnels[0]) }, "number of tunnels is 2"},
		{"valid for long", func(o *Offer) { o.Expires = o.Issued.Add(time.Hour) }, "valid for 1h0m0s"},
		{"valid backwards", func(o *Offer) { o.Expires = o.Issued.Add(-time.Second) }, "valid for -1s"},
		{"low-order key", func(o *Offer) { o.X25519 = make([]byte, x25519Size) }, "low order"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSides(t)
			offer := s.a.consent.Offer()
			c.change(&offer)
			signed, err := offer.sign(s.a.identity)
			must(t, err)
			wantRefusal(t, "offer", s.b, signed, s.now, c.want)
		})
	}
}

func TestTunnelsThatOccurTwice(t *testing.T) {
	tests := map[string]struct{ second, third TunnelEnd }{
		"SPI 0x1001 is of a series that occurs twice": {TunnelEnd{Port: 4501, SPI: 0x2001}, TunnelEnd{Port: 4502, SPI: 0x1001}},
		"SPI 0x10ff is of a series that occurs twice": {TunnelEnd{Port: 4501, SPI: 0x10ff}, TunnelEnd{Port: 4502, SPI: 0x3001}},
		"outer port 4500 occurs twice":                {TunnelEnd{Port: 4501, SPI: 0x2001}, TunnelEnd{Port: 4500, SPI: 0x3001}},
	}
	for want, test := range tests {
		s := newSides(t)
		offer := s.a.consent.Offer()
		key := offer.Tunnels[0].PublicKey
		test.second.PublicKey, test.third.PublicKey = key, key
		offer.Tunnels = []TunnelEnd{{Port: 4500, SPI: 0x1001, PublicKey: key}, test.second, test.third}
		s.b.consent.offer.Tunnels = make([]TunnelEnd, 3)
		signed, err := offer.sign(s.a.identity)
		must(t, err)
		wantRefusal(t, "offer", s.b, signed, s.now, want)
	}
}

// A peer that sends an agent's own public key back would make it a tunnel to
// itself.
func TestTunnelKeySentBack(t *testing.T) {
	s := newSides(t)
	offer := s.a.consent.Offer()
	offer.Tunnels = slices.Clone(s.b.consent.Offer().Tunnels)
	signed, err := offer.sign(s.a.identity)
	must(t, err)
	wantRefusal(t, "offer", s.b, signed, s.now, "public key is this agent's own")
}
