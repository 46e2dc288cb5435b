// Package overhead is the arithmetic of encapsulation: how long the outer IP
// packet is that carries an inner one, which MTU of one layer another layer's
// MTU leaves, and how much a link can carry at most. It does no I/O.
//
// An outer packet is laid out as follows; lengths are in bytes, what is in
// brackets is optional, and what is in braces is padded together:
//
//	ESP, tunnel mode     IP [UDP] ESP IV {inner, trailer} ICV      RFC 4303, Section 3.1.2
//	ESP, transport mode  IP [UDP] ESP IV {payload, trailer} ICV    RFC 4303, Section 3.1.1
//	GRE                  IP GRE [key] inner                        RFC 2784, Section 2; RFC 2890, Section 2
//	GRE over ESP         IP [UDP] ESP IV {GRE key inner, trailer} ICV
//	WireGuard            IP UDP data-header {inner} tag            WireGuard whitepaper, Section 5.4.6
package overhead

import (
	"fmt"
	"net/netip"
)

// maxIPLength is the largest IP packet, in bytes (RFC 791, Section 3.1).
const maxIPLength = 65535

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

// VersionOf is that of an address; one that is mapped into IPv6 is an IPv4 one.
func VersionOf(address netip.Addr) IPVersion {
	if address.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// Encapsulation knows what one kind of tunnel adds to a packet. The zero value
// adds nothing: it is the clear path.
type Encapsulation struct {
	front int // Before what is padded: outer IP, UDP, ESP header, IV.
	back  int // Behind what is padded: ICV.
	tail  int // Padded together with the inner packet; less than none where the inner IP header is not.
	align int // 0 means 1.
	// capped says that padding never makes a packet longer than the tunnel's MTU.
	capped bool
	mtu    TunnelMTU // Of the tunnel; 0 while it is not known.
}

// WithMTU is the same encapsulation in a tunnel of that MTU. Only WireGuard
// looks at it: it pads no packet beyond the tunnel's MTU. While the MTU is not
// known, every packet counts as padded in full.
func (e Encapsulation) WithMTU(inner TunnelMTU) Encapsulation {
	e.mtu = inner
	return e
}

// OuterLength is the length of the outer IP packet, in bytes, that carries an
// inner IP packet of the given length.
func (e Encapsulation) OuterLength(inner int) int {
	return e.front + e.pad(inner) + e.back
}

func (e Encapsulation) pad(inner int) int {
	padded := floor(inner+e.tail+e.alignment()-1, e.alignment())
	if e.capped && inner <= int(e.mtu) {
		return min(padded, int(e.mtu))
	}
	return padded
}

// WireLength is what that outer packet costs on an Ethernet wire, in bytes.
func (e Encapsulation) WireLength(inner int) int {
	return e.OuterLength(inner) + Ethernet
}

// TunnelMTU is the largest tunnel MTU whose packets fit the path unfragmented;
// zero or less means that not even an empty packet does.
func (e Encapsulation) TunnelMTU(path PathMTU) TunnelMTU {
	room := int(path) - e.front - e.back
	if e.capped {
		return TunnelMTU(room)
	}
	return TunnelMTU(floor(room, e.alignment()) - e.tail)
}

// PathMTU is the least path MTU that a tunnel of that MTU needs.
func (e Encapsulation) PathMTU(inner TunnelMTU) PathMTU {
	return PathMTU(e.WithMTU(inner).OuterLength(int(inner)))
}

// CheckMTU refuses a tunnel's MTU whose packets no path can take.
func (e Encapsulation) CheckMTU(inner TunnelMTU) error {
	if most := e.TunnelMTU(maxIPLength); inner > most {
		return fmt.Errorf("MTU %d: want at most %d", inner, most)
	}
	return nil
}

// CheckPath refuses a tunnel's MTU whose packets do not fit the path to a peer:
// they would be refused one by one, travel in fragments, or be lost.
func (e Encapsulation) CheckPath(inner TunnelMTU, path PathMTU, peer netip.Addr) error {
	if needed := e.PathMTU(inner); needed > path {
		return fmt.Errorf("MTU %d makes outer packets of %d bytes, but the path to %s takes %d: want an MTU of at most %d",
			inner, needed, peer, path, e.TunnelMTU(path))
	}
	return nil
}

func (e Encapsulation) alignment() int { return max(e.align, 1) }

// floor is the largest multiple of step that is not above length, below zero
// too.
func floor(length, step int) int {
	return length - (length%step+step)%step
}
