package strongswan

import (
	"fmt"
	"net/netip"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

const (
	leastMTU6   = 1280 // RFC 8200, Section 5.
	maxIPLength = 65535

	// The kernel's longest bitmap (XFRMA_REPLAY_ESN_MAX of net/xfrm/xfrm_user.c).
	mostReplayWindow = 4096

	// What charon's user-space ESP cannot be told otherwise:
	userSpaceWindow = 128  // ESP_DEFAULT_WINDOW_SIZE of src/libipsec/esp_context.c.
	userSpaceMTU    = 1400 // TUN_DEFAULT_MTU of kernel_libipsec_plugin.c: it reads no more.
)

// checkSpec refuses what no machine can build.
func (d Driver) checkSpec(spec tunnel.Spec) error {
	if err := spec.CheckOuter(); err != nil {
		return err
	}
	if _, err := espProposal(spec.Suite, spec.NoESN); err != nil {
		return err
	}
	if err := checkInner(spec.Local, spec.Remote); err != nil {
		return err
	}
	if err := checkMTU(spec); err != nil {
		return err
	}
	if spec.ReplayWindow < 0 || spec.ReplayWindow > mostReplayWindow {
		return fmt.Errorf("replay window of %d packets: want 0 (charon's own) to %d", spec.ReplayWindow, mostReplayWindow)
	}
	if d.UserSpace {
		return checkUserSpace(spec)
	}
	if spec.Local.SPI == 0 {
		return fmt.Errorf("SPI 0: want a number of its own, which the kernel's interface, SAs and policies will carry")
	}
	return nil
}

// checkUserSpace knows the limits of kernel-libipsec.
func checkUserSpace(spec tunnel.Spec) error {
	switch {
	case spec.Encapsulation != tunnel.UDP:
		return fmt.Errorf("encapsulation %q: charon's user-space ESP has only %q: %w; driver strongswan uses the kernel's", spec.Encapsulation, tunnel.UDP, tunnel.ErrNotSupported)
	case !spec.NoESN:
		return fmt.Errorf("extended sequence numbers: charon's user-space ESP has only 32-bit ones: %w; ask for those, or use driver esp", tunnel.ErrNotSupported)
	case spec.ReplayWindow != 0 && spec.ReplayWindow != userSpaceWindow:
		return fmt.Errorf("replay window of %d packets: in charon's user-space ESP it is always %d: %w", spec.ReplayWindow, userSpaceWindow, tunnel.ErrNotSupported)
	case spec.MTU > userSpaceMTU:
		return fmt.Errorf("MTU %d: charon's user-space ESP takes packets of at most %d bytes: %w", spec.MTU, userSpaceMTU, tunnel.ErrNotSupported)
	}
	return nil
}

func checkInner(local, remote tunnel.End) error {
	if !local.Inner4.IsValid() && !local.Inner6.IsValid() {
		return fmt.Errorf("no inner address: want an IPv4 one, an IPv6 one or both")
	}
	for _, pair := range [][2]netip.Addr{{local.Inner4, remote.Inner4}, {local.Inner6, remote.Inner6}} {
		switch {
		case pair[0].IsValid() != pair[1].IsValid():
			return fmt.Errorf("inner addresses %q and %q: want none or both", pair[0], pair[1])
		case pair[0].IsValid() && pair[0] == pair[1]:
			return fmt.Errorf("inner address %s is that of both ends", pair[0])
		}
	}
	for _, end := range []tunnel.End{local, remote} {
		if end.Inner4.IsValid() && !end.Inner4.Is4() {
			return fmt.Errorf("inner IPv4 address %q is none", end.Inner4)
		}
		if end.Inner6.IsValid() && (!end.Inner6.Is6() || end.Inner6.Is4In6() || end.Inner6.Zone() != "") {
			return fmt.Errorf("inner IPv6 address %q is none", end.Inner6)
		}
	}
	return nil
}

func checkMTU(spec tunnel.Spec) error {
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	most := int(encapsulation.TunnelMTU(maxIPLength))
	if spec.MTU > most {
		return fmt.Errorf("MTU %d: want at most %d", spec.MTU, most)
	}
	if spec.Local.Inner6.IsValid() && spec.MTU < leastMTU6 {
		return fmt.Errorf("MTU %d: IPv6 inside wants %d or more", spec.MTU, leastMTU6)
	}
	return nil
}

// checkPath compares the tunnel's MTU with that of the outer path: packets that
// do not fit would be lost one by one.
func checkPath(spec tunnel.Spec, path int) error {
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	if needed := int(encapsulation.PathMTU(overhead.TunnelMTU(spec.MTU))); needed > path {
		return fmt.Errorf("MTU %d makes outer packets of %d bytes, but the path to %s takes %d: want an MTU of at most %d",
			spec.MTU, needed, spec.Remote.Outer.Addr(), path, encapsulation.TunnelMTU(overhead.PathMTU(path)))
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

// innerPrefixes are an end's inner addresses, as traffic selectors.
func innerPrefixes(end tunnel.End) (prefixes []netip.Prefix) {
	for _, address := range []netip.Addr{end.Inner4, end.Inner6} {
		if address.IsValid() {
			prefixes = append(prefixes, netip.PrefixFrom(address, address.BitLen()))
		}
	}
	return prefixes
}
