package control

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/tunnel"
)

const (
	offerVersion  = 1
	maxOfferBytes = 4 << 10 // Of an offer's contents.
	maxWordBytes  = 32      // Of a driver's, a suite's or an encapsulation's name.
	x25519Size    = 32      // RFC 7748, Section 5.

	// offerDomain comes before the contents under the signature, so that a
	// signature made for anything else is none of an offer.
	offerDomain = "tunnelmark offer v1\x00"

	// OfferLife is for how long an offer may be accepted.
	OfferLife = time.Minute

	// MaxTunnels is how many tunnels a session may have side by side.
	MaxTunnels = 64

	// MaxReplayWindow is what the kernel's ESP takes, in packets
	// (XFRMA_REPLAY_ESN_MAX of include/uapi/linux/xfrm.h).
	MaxReplayWindow = 4096
)

// SessionID names one session at both agents. The controller draws it.
type SessionID [16]byte

// SessionIDFromBytes takes a session id from its 16 bytes, not all zero.
func SessionIDFromBytes(b []byte) (SessionID, error) {
	if len(b) != len(SessionID{}) {
		return SessionID{}, fmt.Errorf("session id of %d bytes, want %d", len(b), len(SessionID{}))
	}
	id := SessionID(b)
	if id == (SessionID{}) {
		return SessionID{}, errors.New("session id is all zero")
	}
	return id, nil
}

// String is in hexadecimal.
func (s SessionID) String() string { return hex.EncodeToString(s[:]) }

// Limits are what one end allows in a session. Zero allows nothing.
type Limits struct {
	MaxInnerBitsPerSecond uint64
	MaxDuration           time.Duration // Of one trial.
	MaxInnerSize          int           // Length of an inner IP packet, in bytes.
}

// Least returns the smaller of each limit: what both allow.
func (l Limits) Least(other Limits) Limits {
	return Limits{
		MaxInnerBitsPerSecond: min(l.MaxInnerBitsPerSecond, other.MaxInnerBitsPerSecond),
		MaxDuration:           min(l.MaxDuration, other.MaxDuration),
		MaxInnerSize:          min(l.MaxInnerSize, other.MaxInnerSize),
	}
}

// Offer is one agent's consent to one session with one peer.
type Offer struct {
	Session SessionID
	Role    controlv1.Role // Of the issuer.
	Issuer  Fingerprint
	Peer    Fingerprint // The only agent that may accept it.
	X25519  []byte      // Public value (RFC 7748), fresh for each offer.

	Outer         netip.Addr  // At which the issuer receives.
	OuterMTU      int         // Of the issuer's link, in bytes.
	Tunnels       []TunnelEnd // One for each tunnel of the session.
	Driver        string
	Suite         tunnel.Suite
	Encapsulation tunnel.Encapsulation
	NoESN         bool
	ReplayWindow  int             // In packets; 0 = the driver's own.
	Rekey         tunnel.Lifetime // Limits of 0 are the driver's own.
	InnerMTU      int             // In bytes; 0 = the largest that fits.
	Inner4        netip.Addr      // Zero where the driver has no inner network.
	Inner6        netip.Addr      // Likewise.
	Limits        Limits

	Issued, Expires time.Time
}

// TunnelEnd is the issuer's end of one of a session's tunnels.
type TunnelEnd struct {
	Port      uint16 // UDP, at the issuer's outer address.
	SPI       uint32 // On which the issuer receives.
	PublicKey []byte // X25519 (RFC 7748), fresh for each offer.
}

// SharesSPIs says that two tunnels would have SPIs in common: one that replaces its SAs
// counts in the lowest byte of its SPI.
func (e TunnelEnd) SharesSPIs(other TunnelEnd) bool { return e.SPI>>8 == other.SPI>>8 }

// sign serialises the offer and signs it.
func (o *Offer) sign(identity *Identity) (*controlv1.SignedOffer, error) {
	contents, err := o.marshal()
	if err != nil {
		return nil, fmt.Errorf("sign offer: %w", err)
	}
	return &controlv1.SignedOffer{
		Contents:  contents,
		Signature: ed25519.Sign(identity.private, underSignature(contents)),
		PublicKey: identity.private.Public().(ed25519.PublicKey),
	}, nil
}

func underSignature(contents []byte) []byte {
	return append([]byte(offerDomain), contents...)
}

// marshal refuses an offer that unmarshal would.
func (o *Offer) marshal() ([]byte, error) {
	message := &controlv1.Offer{
		Version:       offerVersion,
		SessionId:     o.Session[:],
		Role:          o.Role,
		Issuer:        o.Issuer[:],
		Peer:          o.Peer[:],
		X25519:        o.X25519,
		Outer:         o.Outer.AsSlice(),
		OuterMtu:      uint32(o.OuterMTU),
		Driver:        o.Driver,
		Suite:         string(o.Suite),
		Encapsulation: string(o.Encapsulation),
		NoEsn:         o.NoESN,
		ReplayWindow:  uint32(o.ReplayWindow),
		Rekey:         LifetimeMessage(o.Rekey),
		InnerMtu:      uint32(o.InnerMTU),
		Inner4:        o.Inner4.AsSlice(),
		Inner6:        o.Inner6.AsSlice(),
		Limits:        o.Limits.Message(),
		IssuedUnixNs:  o.Issued.UnixNano(),
		ExpiresUnixNs: o.Expires.UnixNano(),
	}
	for _, end := range o.Tunnels {
		message.Tunnels = append(message.Tunnels, &controlv1.TunnelEnd{Port: uint32(end.Port), Spi: end.SPI, PublicKey: end.PublicKey})
	}
	contents, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	_, err = unmarshalOffer(contents)
	return contents, err
}

// unmarshalOffer reads contents whose signature is already verified. It checks
// form: lengths and ranges. Whether the offer is acceptable is verify.go's.
func unmarshalOffer(contents []byte) (*Offer, error) {
	var message controlv1.Offer
	if err := proto.Unmarshal(contents, &message); err != nil {
		return nil, fmt.Errorf("parse offer: %w", err)
	}
	if message.GetVersion() != offerVersion {
		return nil, fmt.Errorf("parse offer: version %d, this agent speaks %d", message.GetVersion(), offerVersion)
	}
	if err := refuseUnknown(&message); err != nil {
		return nil, fmt.Errorf("parse offer: %w", err)
	}
	offer, err := offerOf(&message)
	if err != nil {
		return nil, fmt.Errorf("parse offer: %w", err)
	}
	return offer, nil
}

// refuseUnknown looks into every message of the offer: who ignored a field would agree
// to less than what was signed.
func refuseUnknown(m *controlv1.Offer) error {
	return protorange.Range(m.ProtoReflect(), func(at protopath.Values) error {
		if at.Index(-1).Step.Kind() == protopath.UnknownAccessStep {
			return errors.New("it has fields that version 1 does not")
		}
		return nil
	})
}

func offerOf(m *controlv1.Offer) (*Offer, error) {
	if err := checkForm(m); err != nil {
		return nil, err
	}
	session, err := SessionIDFromBytes(m.GetSessionId())
	if err != nil {
		return nil, err
	}
	outer, err := addressOf("outer", m.GetOuter(), 4, 16)
	if err != nil {
		return nil, err
	}
	inner4, err := addressOf("inner IPv4", m.GetInner4(), 0, 4)
	if err != nil {
		return nil, err
	}
	inner6, err := addressOf("inner IPv6", m.GetInner6(), 0, 16)
	if err != nil {
		return nil, err
	}
	offer := &Offer{
		Session:       session,
		Role:          m.GetRole(),
		Issuer:        Fingerprint(m.GetIssuer()),
		Peer:          Fingerprint(m.GetPeer()),
		X25519:        m.GetX25519(),
		Outer:         outer,
		OuterMTU:      int(m.GetOuterMtu()),
		Driver:        m.GetDriver(),
		Suite:         tunnel.Suite(m.GetSuite()),
		Encapsulation: tunnel.Encapsulation(m.GetEncapsulation()),
		NoESN:         m.GetNoEsn(),
		ReplayWindow:  int(m.GetReplayWindow()),
		Rekey:         LifetimeOf(m.GetRekey()),
		InnerMTU:      int(m.GetInnerMtu()),
		Inner4:        inner4,
		Inner6:        inner6,
		Limits:        LimitsOf(m.GetLimits()),
		Issued:        time.Unix(0, m.GetIssuedUnixNs()),
		Expires:       time.Unix(0, m.GetExpiresUnixNs()),
	}
	for _, end := range m.GetTunnels() {
		offer.Tunnels = append(offer.Tunnels, TunnelEnd{Port: uint16(end.GetPort()), SPI: end.GetSpi(), PublicKey: end.GetPublicKey()})
	}
	return offer, nil
}

// checkForm bounds every field that has a length or a range.
func checkForm(m *controlv1.Offer) error {
	switch {
	case m.GetRole() != controlv1.Role_ROLE_INITIATOR && m.GetRole() != controlv1.Role_ROLE_RESPONDER:
		return fmt.Errorf("role %d is neither initiator nor responder", m.GetRole())
	case len(m.GetIssuer()) != FingerprintSize || len(m.GetPeer()) != FingerprintSize:
		return fmt.Errorf("issuer of %d and peer of %d bytes, want %d", len(m.GetIssuer()), len(m.GetPeer()), FingerprintSize)
	case len(m.GetX25519()) != x25519Size:
		return fmt.Errorf("X25519 value of %d bytes, want %d", len(m.GetX25519()), x25519Size)
	case m.GetOuterMtu() > 65535 || m.GetInnerMtu() > 65535:
		return fmt.Errorf("outer MTU %d, inner MTU %d, at most 65535 is allowed", m.GetOuterMtu(), m.GetInnerMtu())
	case m.GetReplayWindow() > MaxReplayWindow:
		return fmt.Errorf("replay window of %d packets, at most %d is allowed", m.GetReplayWindow(), MaxReplayWindow)
	case len(m.GetTunnels()) < 1 || len(m.GetTunnels()) > MaxTunnels:
		return fmt.Errorf("%d tunnels, allowed are 1 to %d", len(m.GetTunnels()), MaxTunnels)
	case m.GetDriver() == "":
		return errors.New("no driver is named")
	case max(len(m.GetDriver()), len(m.GetSuite()), len(m.GetEncapsulation())) > maxWordBytes:
		return fmt.Errorf("driver, suite or encapsulation is longer than %d bytes", maxWordBytes)
	case m.GetLimits().GetMaxDurationNs() < 0 || m.GetLimits().GetMaxInnerSize() > 65535:
		return fmt.Errorf("limits of %d ns and %d bytes are out of range", m.GetLimits().GetMaxDurationNs(), m.GetLimits().GetMaxInnerSize())
	}
	for _, end := range m.GetTunnels() {
		if err := checkTunnelEnd(end); err != nil {
			return err
		}
	}
	return LifetimeOf(m.GetRekey()).Check()
}

// checkTunnelEnd bounds one of the offer's tunnels.
func checkTunnelEnd(m *controlv1.TunnelEnd) error {
	if m.GetPort() > 65535 {
		return fmt.Errorf("port %d of a tunnel, at most 65535 is allowed", m.GetPort())
	}
	if len(m.GetPublicKey()) != x25519Size {
		return fmt.Errorf("public key of %d bytes of a tunnel, want %d", len(m.GetPublicKey()), x25519Size)
	}
	return nil
}

// addressOf reads an address of one of the lengths; of length 0 it is zero.
func addressOf(what string, b []byte, lengths ...int) (netip.Addr, error) {
	for _, length := range lengths {
		if len(b) == length {
			address, _ := netip.AddrFromSlice(b)
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s address of %d bytes, want one of %v", what, len(b), lengths)
}

// Message converts for the wire.
func (l Limits) Message() *controlv1.Limits {
	return &controlv1.Limits{
		MaxInnerBitsPerSecond: l.MaxInnerBitsPerSecond,
		MaxDurationNs:         int64(l.MaxDuration),
		MaxInnerSize:          uint32(l.MaxInnerSize),
	}
}

// LimitsOf converts from the wire. Negative durations allow nothing.
func LimitsOf(m *controlv1.Limits) Limits {
	return Limits{
		MaxInnerBitsPerSecond: m.GetMaxInnerBitsPerSecond(),
		MaxDuration:           max(0, time.Duration(m.GetMaxDurationNs())),
		MaxInnerSize:          int(m.GetMaxInnerSize()),
	}
}

// LifetimeMessage converts for the wire: none where no limit is asked for.
func LifetimeMessage(l tunnel.Lifetime) *controlv1.Lifetime {
	if l == (tunnel.Lifetime{}) {
		return nil
	}
	return &controlv1.Lifetime{Bytes: l.Bytes, Packets: l.Packets, TimeNs: int64(l.Time)}
}

// LifetimeOf converts from the wire.
func LifetimeOf(m *controlv1.Lifetime) tunnel.Lifetime {
	return tunnel.Lifetime{Bytes: m.GetBytes(), Packets: m.GetPackets(), Time: time.Duration(m.GetTimeNs())}
}
