package tunnel

import (
	"fmt"
	"net/netip"
)

// leastMTU is IPv4's, in bytes (RFC 791, Section 3.2).
const leastMTU = 68

// CheckOuter refuses a spec between whose outer addresses no packet can go: it
// wants two different ones of one IP version, with ports, and an MTU. The other
// fields are not looked at.
func (s Spec) CheckOuter() error {
	local, remote := s.Local.Outer, s.Remote.Outer
	for _, outer := range []netip.AddrPort{local, remote} {
		switch {
		case !outer.IsValid() || outer.Port() == 0 || outer.Addr().IsUnspecified():
			return fmt.Errorf("outer address %q: want an IP address and a port", outer)
		case outer.Addr().Zone() != "":
			return fmt.Errorf("outer address %q: addresses with a zone are %w", outer, ErrNotSupported)
		}
	}
	if local.Addr().Unmap().Is4() != remote.Addr().Unmap().Is4() {
		return fmt.Errorf("outer addresses %s and %s are of different IP versions", local.Addr(), remote.Addr())
	}
	if local == remote {
		return fmt.Errorf("outer address %s is that of both ends", local)
	}
	if s.MTU < leastMTU {
		return fmt.Errorf("MTU %d: want %d or more", s.MTU, leastMTU)
	}
	return nil
}
