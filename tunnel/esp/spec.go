package esp

import (
	"fmt"
	"net/netip"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// Specification.
const (
	leastSPI     = 256  // 0 is local, 1 to 255 are reserved by IANA: RFC 4303, Section 2.1.
	leastMTU4    = 68   // RFC 791, Section 3.2.
	leastMTU6    = 1280 // RFC 8200, Section 5.
	maxIPLength  = 65535
	reservedPort = 0
)

// checkSpec refuses what no machine can build.
func checkSpec(spec tunnel.Spec) error {
	if _, err := findSuite(spec.Suite); err != nil {
		return err
	}
	if spec.Encapsulation != tunnel.UDP {
		return fmt.Errorf("encapsulation %q is not %q: %w", spec.Encapsulation, tunnel.UDP, tunnel.ErrNotSupported)
	}
	if spec.NoESN {
		return fmt.Errorf("32-bit sequence numbers: %w; the kernel's ESP has them (driver xfrm)", tunnel.ErrNotSupported)
	}
	if spec.ReplayWindow != 0 && spec.ReplayWindow != replayWindow {
		return fmt.Errorf("replay window of %d packets: here it is always %d: %w", spec.ReplayWindow, replayWindow, tunnel.ErrNotSupported)
	}
	if err := checkEnds(spec.Local, spec.Remote); err != nil {
		return err
	}
	return checkMTU(spec)
}

func checkEnds(local, remote tunnel.End) error {
	if err := checkEnd(local); err != nil {
		return fmt.Errorf("local end: %w", err)
	}
	if err := checkEnd(remote); err != nil {
		return fmt.Errorf("remote end: %w", err)
	}
	if local.Outer.Addr().Unmap().Is4() != remote.Outer.Addr().Unmap().Is4() {
		return fmt.Errorf("outer addresses %s and %s are of different IP versions", local.Outer.Addr(), remote.Outer.Addr())
	}
	if local.Outer == remote.Outer {
		return fmt.Errorf("outer address %s is that of both ends", local.Outer)
	}
	if !local.Inner4.IsValid() && !local.Inner6.IsValid() {
		return fmt.Errorf("no inner address: want an IPv4 one, an IPv6 one or both")
	}
	return checkInner(local, remote)
}

func checkEnd(end tunnel.End) error {
	outer := end.Outer
	switch {
	case !outer.IsValid() || outer.Port() == reservedPort || outer.Addr().IsUnspecified():
		return fmt.Errorf("outer address %q: want an IP address and a port", outer)
	case outer.Addr().Zone() != "":
		return fmt.Errorf("outer address %q: addresses with a zone are %w", outer, tunnel.ErrNotSupported)
	case end.SPI < leastSPI:
		return fmt.Errorf("SPI %d: want %d or more", end.SPI, leastSPI)
	case end.Inner4.IsValid() && !end.Inner4.Is4():
		return fmt.Errorf("inner IPv4 address %q is none", end.Inner4)
	case end.Inner6.IsValid() && (!end.Inner6.Is6() || end.Inner6.Is4In6() || end.Inner6.Zone() != ""):
		return fmt.Errorf("inner IPv6 address %q is none", end.Inner6)
	}
	return nil
}

func checkInner(local, remote tunnel.End) error {
	for _, pair := range [][2]netip.Addr{{local.Inner4, remote.Inner4}, {local.Inner6, remote.Inner6}} {
		if pair[0].IsValid() != pair[1].IsValid() {
			return fmt.Errorf("inner addresses %q and %q: want none or both", pair[0], pair[1])
		}
		if pair[0].IsValid() && pair[0] == pair[1] {
			return fmt.Errorf("inner address %s is that of both ends", pair[0])
		}
	}
	return nil
}

func checkMTU(spec tunnel.Spec) error {
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	least, most := leastMTU4, int(encapsulation.TunnelMTU(maxIPLength))
	if spec.Local.Inner6.IsValid() {
		least = leastMTU6
	}
	if spec.MTU < least || spec.MTU > most {
		return fmt.Errorf("MTU %d: want %d to %d", spec.MTU, least, most)
	}
	return nil
}

// checkPath compares the tunnel's MTU with that of the outer path: packets that
// do not fit would be refused one by one, or lost.
func checkPath(spec tunnel.Spec, path overhead.PathMTU) error {
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	if needed := encapsulation.PathMTU(overhead.TunnelMTU(spec.MTU)); needed > path {
		return fmt.Errorf("MTU %d makes outer packets of %d bytes, but the path to %s takes %d: want an MTU of at most %d",
			spec.MTU, needed, spec.Remote.Outer.Addr(), path, encapsulation.TunnelMTU(path))
	}
	return nil
}

func encapsulation(spec tunnel.Spec) (overhead.Encapsulation, error) {
	version := overhead.IPv6
	if spec.Remote.Outer.Addr().Unmap().Is4() {
		version = overhead.IPv4
	}
	return overhead.ESP(spec.Suite, spec.Encapsulation, version)
}
