package esp

import (
	"net/netip"

	"tunnelmark/tunnel"
)

// Least lengths of IP headers, in bytes: RFC 791, Section 3.1; RFC 8200, Section 3.
const (
	ipv4Header = 20
	ipv6Header = 40
)

// selectors are the inner addresses that one SA carries, from one host to one
// (RFC 4301, Section 4.4.1.1). In both IP headers the source lies right before
// the destination, so one comparison does for both.
type selectors struct {
	has4, has6 bool
	ipv4       [4 + 4]byte
	ipv6       [16 + 16]byte
}

// newSelectors takes the addresses of both ends; an IP version that they do
// not have is carried by none.
func newSelectors(from, to tunnel.End) selectors {
	s := selectors{has4: from.Inner4.IsValid(), has6: from.Inner6.IsValid()}
	if s.has4 {
		s.ipv4 = [8]byte(join(from.Inner4, to.Inner4))
	}
	if s.has6 {
		s.ipv6 = [32]byte(join(from.Inner6, to.Inner6))
	}
	return s
}

func join(source, destination netip.Addr) []byte {
	return append(source.AsSlice(), destination.AsSlice()...)
}

// match says whether the SA carries the packet; what is too short for an IP
// header matches nothing.
func (s *selectors) match(packet []byte) bool {
	switch {
	case len(packet) >= ipv4Header && packet[0]>>4 == 4:
		return s.has4 && [8]byte(packet[12:20]) == s.ipv4
	case len(packet) >= ipv6Header && packet[0]>>4 == 6:
		return s.has6 && [32]byte(packet[8:40]) == s.ipv6
	}
	return false
}
