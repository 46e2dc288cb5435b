package control

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tunnelmark/cmd/internal/control/controlv1"
)

// ErrOfferRefused says that the peer's offer, as the controller brought it, is
// not one that this agent accepts. The error that wraps it says why.
var ErrOfferRefused = errors.New("the peer's offer is refused")

// MaxSkew is by how much the agents' clocks may differ. It opens no door: an
// offer is bound to a session, and a session accepts one.
const MaxSkew = 2 * time.Minute

// firstSPI: 1 to 255 are reserved and 0 is for local use (RFC 4303, Section 2.1).
const firstSPI = 256

// Inner addresses come from the benchmarking ranges (RFC 2544, Appendix C.2.2;
// RFC 5180, Section 8), so that no session can shadow a real network.
var (
	innerRange4 = netip.MustParsePrefix("198.18.0.0/15")
	innerRange6 = netip.MustParsePrefix("2001:2::/48")
	broadcast4  = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// VerifyOffer says whether the offer that the controller brought is the peer's
// consent to the very session that mine is this agent's consent to. Nobody
// between the two agents is trusted. Errors wrap ErrOfferRefused.
func VerifyOffer(signed *controlv1.SignedOffer, trust *Trust, now time.Time, mine *Offer) (*Offer, error) {
	offer, err := verifySigned(signed, trust, mine)
	if err == nil {
		err = errors.Join(verifySession(offer, mine, now), verifySpec(offer, mine), verifyAddresses(offer, mine), verifySecrets(offer, mine))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOfferRefused, err)
	}
	return offer, nil
}

// verifySigned parses nothing before the signature of a pinned peer is verified.
func verifySigned(signed *controlv1.SignedOffer, trust *Trust, mine *Offer) (*Offer, error) {
	contents, public := signed.GetContents(), ed25519.PublicKey(signed.GetPublicKey())
	if len(contents) == 0 || len(contents) > maxOfferBytes {
		return nil, fmt.Errorf("contents of %d bytes, allowed are 1 to %d", len(contents), maxOfferBytes)
	}
	signer, err := fingerprintOf(public)
	if err != nil {
		return nil, err
	}
	if signer == mine.Issuer {
		return nil, errors.New("it is this agent's own, sent back")
	}
	if _, err := trust.Find(Peer, signer); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	if !ed25519.Verify(public, underSignature(contents), signed.GetSignature()) {
		return nil, fmt.Errorf("the signature is not %s's over these contents", signer.Short())
	}
	offer, err := unmarshalOffer(contents)
	if err != nil {
		return nil, err
	}
	if offer.Issuer != signer {
		return nil, fmt.Errorf("it names %s as its issuer but was signed by %s", offer.Issuer.Short(), signer.Short())
	}
	return offer, nil
}

// verifySession checks that it was made for this agent, this session, this time.
func verifySession(offer, mine *Offer, now time.Time) error {
	switch {
	case offer.Peer != mine.Issuer:
		return fmt.Errorf("it was made for %s, this agent is %s", offer.Peer.Short(), mine.Issuer.Short())
	case offer.Issuer != mine.Peer:
		return fmt.Errorf("it comes from %s, this session is with %s", offer.Issuer.Short(), mine.Peer.Short())
	case offer.Session != mine.Session:
		return fmt.Errorf("it belongs to session %s, not to %s", offer.Session, mine.Session)
	case offer.Role == mine.Role:
		return errors.New("both ends have the same role")
	case !offer.Expires.After(offer.Issued) || offer.Expires.Sub(offer.Issued) > OfferLife:
		return fmt.Errorf("it is valid for %v, at most %v is allowed", offer.Expires.Sub(offer.Issued), OfferLife)
	case now.After(offer.Expires.Add(MaxSkew)):
		return fmt.Errorf("it expired %v ago (do the agents' clocks agree?)", now.Sub(offer.Expires).Round(time.Second))
	case now.Before(offer.Issued.Add(-MaxSkew)):
		return fmt.Errorf("it was issued %v in the future (do the agents' clocks agree?)", offer.Issued.Sub(now).Round(time.Second))
	}
	return nil
}

// verifySpec checks that both ends were asked for the same tunnel.
func verifySpec(offer, mine *Offer) error {
	for _, field := range []struct {
		name         string
		theirs, mine any
	}{
		{"driver", offer.Driver, mine.Driver},
		{"suite", offer.Suite, mine.Suite},
		{"encapsulation", offer.Encapsulation, mine.Encapsulation},
		{"inner MTU", offer.InnerMTU, mine.InnerMTU},
		{"sequence numbers without extension", offer.NoESN, mine.NoESN},
		{"lifetime of keys", offer.Rekey, mine.Rekey},
		{"replay window", offer.ReplayWindow, mine.ReplayWindow},
		{"number of tunnels", len(offer.Tunnels), len(mine.Tunnels)},
	} {
		if field.theirs != field.mine {
			return fmt.Errorf("its %s is %v, this agent was asked for %v", field.name, field.theirs, field.mine)
		}
	}
	return nil
}

func verifyAddresses(offer, mine *Offer) error {
	return errors.Join(
		verifyOuter(offer, mine),
		verifyInner("IPv4", offer.Inner4, mine.Inner4, innerRange4),
		verifyInner("IPv6", offer.Inner6, mine.Inner6, innerRange6),
	)
}

func verifyOuter(theirs, mine *Offer) error {
	address := theirs.Outer
	switch {
	case address.IsUnspecified(), address.IsMulticast(), address == broadcast4, address.Is4In6():
		return fmt.Errorf("its outer address %s is not one host's", address)
	case address.Is4() != mine.Outer.Is4():
		return fmt.Errorf("its outer address %s and this agent's %s are of different families", address, mine.Outer)
	}
	for i, end := range theirs.Tunnels {
		if err := verifyPort(end.Port, theirs.Tunnels[:i], theirs, mine); err != nil {
			return err
		}
	}
	return nil
}

func verifyPort(port uint16, before []TunnelEnd, theirs, mine *Offer) error {
	switch {
	case port == 0:
		return errors.New("its outer port is 0")
	case theirs.Outer == mine.Outer && hasPort(mine.Tunnels, port):
		return fmt.Errorf("its outer address %s is this agent's own", netip.AddrPortFrom(theirs.Outer, port))
	case hasPort(before, port):
		return fmt.Errorf("its outer port %d occurs twice", port)
	}
	return nil
}

func hasPort(tunnels []TunnelEnd, port uint16) bool {
	return slices.ContainsFunc(tunnels, func(end TunnelEnd) bool { return end.Port == port })
}

func verifyInner(family string, theirs, mine netip.Addr, within netip.Prefix) error {
	switch {
	case theirs.IsValid() != mine.IsValid():
		return fmt.Errorf("only one end has an inner %s address", family)
	case !theirs.IsValid():
		return nil
	case !within.Contains(theirs):
		return fmt.Errorf("its inner address %s is outside %s", theirs, within)
	case theirs == mine:
		return fmt.Errorf("its inner address %s is this agent's own", theirs)
	}
	return nil
}

// verifySecrets checks what keys and SAs are made from.
func verifySecrets(offer, mine *Offer) error {
	if _, err := ecdh.X25519().NewPublicKey(offer.X25519); err != nil {
		return fmt.Errorf("its X25519 value: %w", err)
	}
	if slices.Equal(offer.X25519, mine.X25519) {
		return errors.New("its X25519 value is this agent's own")
	}
	for i, end := range offer.Tunnels {
		if err := verifyTunnel(end, offer.Tunnels[:i], mine.Tunnels); err != nil {
			return fmt.Errorf("its tunnel %d: %w", i, err)
		}
	}
	return nil
}

// verifyTunnel checks what one tunnel's SAs and key pair are made from.
func verifyTunnel(end TunnelEnd, before, mine []TunnelEnd) error {
	if end.SPI < firstSPI {
		return fmt.Errorf("SPI %d is reserved, the first allowed is %d", end.SPI, firstSPI)
	}
	if slices.ContainsFunc(before, end.SharesSPIs) {
		return fmt.Errorf("SPI %#x is of a series that occurs twice", end.SPI)
	}
	if _, err := ecdh.X25519().NewPublicKey(end.PublicKey); err != nil {
		return fmt.Errorf("public key: %w", err)
	}
	if slices.ContainsFunc(mine, func(own TunnelEnd) bool { return slices.Equal(own.PublicKey, end.PublicKey) }) {
		return errors.New("public key is this agent's own")
	}
	return nil
}
