package overhead

import (
	"fmt"

	"tunnelmark/tunnel"
)

// Specification: lengths in bytes.
const (
	ipv4Header = 20 // RFC 791, Section 3.1, without options.
	ipv6Header = 40 // RFC 8200, Section 3, without extensions.
	udpHeader  = 8  // RFC 768.
	espHeader  = 8  // SPI and sequence number, RFC 4303, Sections 2.1 and 2.2.
	espTrailer = 2  // Pad length and next header, RFC 4303, Sections 2.5 and 2.6.
	greHeader  = 4  // RFC 2784, Section 2, without checksum.
	greKey     = 4  // RFC 2890, Section 2.1.

	// WireGuard whitepaper, Section 5.4.6.
	wireGuardHeader = 4 + 4 + 8 // Type, receiver index, counter.
	wireGuardTag    = 16        // Of ChaCha20-Poly1305.
	wireGuardAlign  = 16
)

// Clear is the encapsulation of the path without a tunnel: none.
func Clear() Encapsulation { return Encapsulation{} }

// ESP is the encapsulation of ESP in tunnel mode. A suite or a carrier that is
// not known is an error that wraps tunnel.ErrNotSupported.
func ESP(suite tunnel.Suite, carrier tunnel.Encapsulation, outer IPVersion) (Encapsulation, error) {
	cipher, err := suite.Transform()
	if err != nil {
		return Encapsulation{}, fmt.Errorf("overhead of ESP: %w", err)
	}
	carrierHeader, err := carrierLength(carrier)
	if err != nil {
		return Encapsulation{}, err
	}
	ipHeader, err := ipLength(outer)
	if err != nil {
		return Encapsulation{}, err
	}
	return Encapsulation{
		front: ipHeader + carrierHeader + espHeader + cipher.IV,
		back:  cipher.ICV,
		tail:  espTrailer,
		align: cipher.Align,
	}, nil
}

// ESPTransport is the encapsulation of ESP in transport mode: the inner packet's
// own IP header, which is of that version, stays in front.
func ESPTransport(suite tunnel.Suite, carrier tunnel.Encapsulation, outer IPVersion) (Encapsulation, error) {
	e, err := ESP(suite, carrier, outer)
	if err != nil {
		return Encapsulation{}, err
	}
	ipHeader, err := ipLength(outer)
	e.tail -= ipHeader
	return e, err
}

// GRE is the encapsulation of GRE, with a key or without, and without checksum
// and sequence number. An outer IP version that is not known is an error that
// wraps tunnel.ErrNotSupported.
func GRE(outer IPVersion, keyed bool) (Encapsulation, error) {
	ipHeader, err := ipLength(outer)
	if err != nil {
		return Encapsulation{}, err
	}
	e := Encapsulation{front: ipHeader + greHeader}
	if keyed {
		e.front += greKey
	}
	return e, nil
}

// GREOverESP is the encapsulation of GRE with a key, which ESP in transport mode
// protects.
func GREOverESP(suite tunnel.Suite, carrier tunnel.Encapsulation, outer IPVersion) (Encapsulation, error) {
	e, err := ESP(suite, carrier, outer)
	if err != nil {
		return Encapsulation{}, err
	}
	e.tail += greHeader + greKey
	return e, nil
}

// WireGuard is the encapsulation of WireGuard. It pads to 16 bytes, but never
// beyond the tunnel's MTU (WithMTU), as Linux and wireguard-go do. An outer IP
// version that is not known is an error that wraps tunnel.ErrNotSupported.
func WireGuard(outer IPVersion) (Encapsulation, error) {
	ipHeader, err := ipLength(outer)
	if err != nil {
		return Encapsulation{}, err
	}
	return Encapsulation{
		front:  ipHeader + udpHeader + wireGuardHeader,
		back:   wireGuardTag,
		align:  wireGuardAlign,
		capped: true,
	}, nil
}

func carrierLength(carrier tunnel.Encapsulation) (int, error) {
	switch carrier {
	case tunnel.UDP:
		return udpHeader, nil // RFC 3948, Section 2.1.
	case tunnel.Raw:
		return 0, nil
	}
	return 0, fmt.Errorf("overhead of encapsulation %q: %w", carrier, tunnel.ErrNotSupported)
}

func ipLength(version IPVersion) (int, error) {
	switch version {
	case IPv4:
		return ipv4Header, nil
	case IPv6:
		return ipv6Header, nil
	}
	return 0, fmt.Errorf("overhead of outer IP version %d: %w", version, tunnel.ErrNotSupported)
}
