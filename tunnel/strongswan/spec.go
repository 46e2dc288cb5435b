package strongswan

import (
	"cmp"
	"fmt"
	"net/netip"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

const (
	// The kernel's longest bitmap (XFRMA_REPLAY_ESN_MAX of net/xfrm/xfrm_user.c).
	mostReplayWindow = 4096

	// What charon's user-space ESP cannot be told otherwise:
	userSpaceWindow = 128  // ESP_DEFAULT_WINDOW_SIZE of src/libipsec/esp_context.c.
	userSpaceMTU    = 1400 // TUN_DEFAULT_MTU of kernel_libipsec_plugin.c: it reads no more.
)

// checkSpec refuses what no machine can build.
func (d Driver) checkSpec(spec tunnel.Spec) error {
	if err := cmp.Or(spec.CheckOuter(), spec.CheckNoRekey()); err != nil {
		return err
	}
	if _, err := espProposal(spec.Suite, spec.NoESN); err != nil {
		return err
	}
	if err := spec.CheckInner(); err != nil {
		return err
	}
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	if err := encapsulation.CheckMTU(overhead.TunnelMTU(spec.MTU)); err != nil {
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

// checkPath compares the tunnel's MTU with that of the outer path, in bytes.
func checkPath(spec tunnel.Spec, path int) error {
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	return encapsulation.CheckPath(overhead.TunnelMTU(spec.MTU), overhead.PathMTU(path), spec.Remote.Outer.Addr())
}

func encapsulation(spec tunnel.Spec) (overhead.Encapsulation, error) {
	return overhead.ESP(spec.Suite, spec.Encapsulation, overhead.VersionOf(spec.Remote.Outer.Addr()))
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
