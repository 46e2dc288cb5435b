package xfrm

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// selector says which packets a policy is for (RFC 4301, Section 4.4.1.1).
type selector struct {
	source, destination         netip.Prefix
	protocol                    uint8 // 0 is any.
	sourcePort, destinationPort port
}

// port matches those that agree with number in the bits of mask.
type port struct {
	number, mask uint16
}

func onePort(number uint16) port { return port{number, 0xffff} }

// hosts selects what goes from one address to another.
func hosts(source, destination netip.Addr) selector {
	return selector{
		source:      netip.PrefixFrom(source, source.BitLen()),
		destination: netip.PrefixFrom(destination, destination.BitLen()),
	}
}

// flow selects the UDP datagrams from one socket to another.
func flow(source, destination netip.AddrPort) selector {
	s := hosts(source.Addr(), destination.Addr())
	s.protocol = unix.IPPROTO_UDP
	s.sourcePort, s.destinationPort = onePort(source.Port()), onePort(destination.Port())
	return s
}

// reverse selects the way back.
func (s selector) reverse() selector {
	s.source, s.destination = s.destination, s.source
	s.sourcePort, s.destinationPort = s.destinationPort, s.sourcePort
	return s
}

// overlaps says whether some packet matches both.
func (s selector) overlaps(other selector) bool {
	return s.source.Overlaps(other.source) && s.destination.Overlaps(other.destination) &&
		(s.protocol == 0 || other.protocol == 0 || s.protocol == other.protocol) &&
		s.sourcePort.overlaps(other.sourcePort) && s.destinationPort.overlaps(other.destinationPort)
}

func (p port) overlaps(other port) bool {
	return (p.number^other.number)&p.mask&other.mask == 0
}

// scope says for which of the packets that a selector matches a policy is asked:
// those of an xfrm interface, or those with a mark.
type scope struct {
	ifID       uint32 // 0 is what goes through no xfrm interface.
	mark, mask uint32
}

// overlaps says whether some packet is in both (xfrm_policy_match of
// net/xfrm/xfrm_policy.c).
func (s scope) overlaps(other scope) bool {
	return s.ifID == other.ifID && (s.mark^other.mark)&s.mask&other.mask == 0
}
