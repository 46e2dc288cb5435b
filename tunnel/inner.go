package tunnel

import (
	"fmt"
	"net/netip"
)

// leastMTU6 is IPv6's, in bytes (RFC 8200, Section 5).
const leastMTU6 = 1280

// CheckInner refuses a spec between whose inner addresses no packet can go: it
// wants an IPv4 pair, an IPv6 pair or both, and an MTU that the IP versions allow.
// The other fields are not looked at.
func (s Spec) CheckInner() error {
	local, remote := s.Local, s.Remote
	if !local.Inner4.IsValid() && !local.Inner6.IsValid() {
		return fmt.Errorf("no inner address: want an IPv4 one, an IPv6 one or both")
	}
	for _, end := range []End{local, remote} {
		switch {
		case end.Inner4.IsValid() && !end.Inner4.Is4():
			return fmt.Errorf("inner IPv4 address %q is none", end.Inner4)
		case end.Inner6.IsValid() && (!end.Inner6.Is6() || end.Inner6.Is4In6() || end.Inner6.Zone() != ""):
			return fmt.Errorf("inner IPv6 address %q is none", end.Inner6)
		}
	}
	for _, pair := range [][2]netip.Addr{{local.Inner4, remote.Inner4}, {local.Inner6, remote.Inner6}} {
		if pair[0].IsValid() != pair[1].IsValid() {
			return fmt.Errorf("inner addresses %q and %q: want none or both", pair[0], pair[1])
		}
		if pair[0].IsValid() && pair[0] == pair[1] {
			return fmt.Errorf("inner address %s is that of both ends", pair[0])
		}
	}
	if local.Inner6.IsValid() && s.MTU < leastMTU6 {
		return fmt.Errorf("MTU %d: IPv6 inside wants %d or more", s.MTU, leastMTU6)
	}
	return nil
}
