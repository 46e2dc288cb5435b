// Package overhead is the arithmetic of encapsulation: how long the outer IP
// packet is that carries an inner one, and which MTU of one layer another
// layer's MTU leaves. It does no I/O.
//
// An outer packet of ESP in tunnel mode is laid out as (RFC 4303, Section 2):
//
//	outer IP | [UDP] | SPI, sequence number | IV | inner IP | padding, pad length, next header | ICV
//	20 or 40 |  [8]  |         8            | 8  |          |   to a multiple of 4 bytes       | 16
package overhead

import (
	"fmt"

	"tunnelmark/tunnel"
)

// Ethernet is what a packet costs on the wire beside itself, in bytes: header,
// frame check sequence, preamble with start delimiter, least gap between
// frames (IEEE 802.3, Section 3.1.1). A VLAN tag would add four.
const Ethernet = 14 + 4 + 8 + 12

// TunnelMTU is the largest inner IP packet, in bytes, that a tunnel takes.
type TunnelMTU int

// PathMTU is the largest outer IP packet, in bytes, that a path takes.
type PathMTU int

// IPVersion is the version of the outer IP header.
type IPVersion int

// The versions of IP.
const (
	IPv4 IPVersion = 4
	IPv6 IPVersion = 6
)

// Specification: lengths in bytes.
const (
	ipv4Header = 20 // RFC 791, Section 3.1, without options.
	ipv6Header = 40 // RFC 8200, Section 3, without extensions.
	udpHeader  = 8  // RFC 768.
	espHeader  = 8  // SPI and sequence number, RFC 4303, Sections 2.1 and 2.2.
	espTrailer = 2  // Pad length and next header, RFC 4303, Sections 2.5 and 2.6.
)

// transform is what a cipher suite adds, in bytes.
type transform struct {
	iv, align, icv int
}

// transforms holds the suites that are known: RFC 4106, Sections 3.1, 3.2 and
// 6; RFC 7634, Section 2. The alignment is ESP's own (RFC 4303, Section 2.4).
var transforms = map[tunnel.Suite]transform{
	tunnel.AES128GCM:        {iv: 8, align: 4, icv: 16},
	tunnel.AES256GCM:        {iv: 8, align: 4, icv: 16},
	tunnel.ChaCha20Poly1305: {iv: 8, align: 4, icv: 16},
}

// Encapsulation knows what one kind of tunnel adds to a packet. The zero value
// adds nothing: it is the clear path.
type Encapsulation struct {
	front int // Before the inner packet: outer IP, UDP, ESP header, IV.
	back  int // Behind the padded inner packet: ICV.
	tail  int // Padded together with the inner packet.
	align int // 0 means 1.
}

// Clear is the encapsulation of the path without a tunnel: none.
func Clear() Encapsulation { return Encapsulation{} }

// ESP is the encapsulation of ESP in tunnel mode. A suite or a carrier that is
// not known is an error that wraps tunnel.ErrNotSupported.
func ESP(suite tunnel.Suite, carrier tunnel.Encapsulation, outer IPVersion) (Encapsulation, error) {
	cipher, ok := transforms[suite]
	if !ok {
		return Encapsulation{}, fmt.Errorf("overhead of suite %q: %w", suite, tunnel.ErrNotSupported)
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
		front: ipHeader + carrierHeader + espHeader + cipher.iv,
		back:  cipher.icv,
		tail:  espTrailer,
		align: cipher.align,
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

// OuterLength is the length of the outer IP packet, in bytes, that carries an
// inner IP packet of the given length.
func (e Encapsulation) OuterLength(inner int) int {
	align := max(e.align, 1)
	padded := (inner + e.tail + align - 1) / align * align
	return e.front + padded + e.back
}

// WireLength is what that outer packet costs on an Ethernet wire, in bytes.
func (e Encapsulation) WireLength(inner int) int {
	return e.OuterLength(inner) + Ethernet
}

// TunnelMTU is the largest tunnel MTU whose packets fit the path unfragmented;
// zero or less means that not even an empty packet does.
func (e Encapsulation) TunnelMTU(path PathMTU) TunnelMTU {
	align := max(e.align, 1)
	room := int(path) - e.front - e.back
	return TunnelMTU(room/align*align - e.tail)
}

// PathMTU is the least path MTU that a tunnel of that MTU needs.
func (e Encapsulation) PathMTU(inner TunnelMTU) PathMTU {
	return PathMTU(e.OuterLength(int(inner)))
}
