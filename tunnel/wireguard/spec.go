package wireguard

import (
	"fmt"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// checkSpec refuses what no machine can build.
func checkSpec(spec tunnel.Spec) error {
	if err := checkChoices(spec); err != nil {
		return err
	}
	if err := spec.CheckOuter(); err != nil {
		return err
	}
	if err := spec.CheckInner(); err != nil {
		return err
	}
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	return encapsulation.CheckMTU(overhead.TunnelMTU(spec.MTU))
}

// checkChoices refuses what WireGuard leaves nobody to choose.
func checkChoices(spec tunnel.Spec) error {
	switch {
	case spec.Suite != "" && spec.Suite != tunnel.ChaCha20Poly1305:
		return fmt.Errorf("suite %q: WireGuard has only %s: %w", spec.Suite, tunnel.ChaCha20Poly1305, tunnel.ErrNotSupported)
	case spec.Encapsulation != "" && spec.Encapsulation != tunnel.UDP:
		return fmt.Errorf("encapsulation %q: WireGuard has only %s: %w", spec.Encapsulation, tunnel.UDP, tunnel.ErrNotSupported)
	case spec.NoESN:
		return fmt.Errorf("32-bit sequence numbers: %w, WireGuard's counters have 64", tunnel.ErrNotSupported)
	case spec.ReplayWindow != 0:
		return fmt.Errorf("replay window of %d packets: %w, WireGuard's is fixed", spec.ReplayWindow, tunnel.ErrNotSupported)
	}
	return spec.CheckNoRekey()
}

// checkPath compares the tunnel's MTU with that of the outer path: longer
// packets would travel in fragments.
func checkPath(spec tunnel.Spec, path overhead.PathMTU) error {
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	return encapsulation.CheckPath(overhead.TunnelMTU(spec.MTU), path, spec.Remote.Outer.Addr())
}

func encapsulation(spec tunnel.Spec) (overhead.Encapsulation, error) {
	return overhead.WireGuard(overhead.VersionOf(spec.Remote.Outer.Addr()))
}

// interfaceName is that of the tunnel's interface. The kernel looks for it in the
// outer namespace too before it makes one in the inner, so it is not "wg0", which
// many hosts have.
func interfaceName(spec tunnel.Spec) string { return fmt.Sprintf("tmwg%d", spec.Number) }
