package esp

import (
	"errors"
	"fmt"
	"strconv"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// leastSPI: 0 is local, 1 to 255 are reserved by IANA (RFC 4303, Section 2.1).
const leastSPI = 256

// checkSpec refuses what no machine can build.
func checkSpec(spec tunnel.Spec) error {
	if _, err := findSuite(spec.Suite); err != nil {
		return err
	}
	if spec.Encapsulation != tunnel.UDP && spec.Encapsulation != tunnel.Raw {
		return fmt.Errorf("encapsulation %q is neither %q nor %q: %w", spec.Encapsulation, tunnel.UDP, tunnel.Raw, tunnel.ErrNotSupported)
	}
	if spec.ReplayWindow != 0 && (spec.ReplayWindow < leastWindow || spec.ReplayWindow > mostWindow) {
		return fmt.Errorf("replay window of %d packets: want %d to %d, or 0 for %d: %w",
			spec.ReplayWindow, leastWindow, mostWindow, defaultWindow, tunnel.ErrNotSupported)
	}
	for name, end := range map[string]tunnel.End{"local": spec.Local, "remote": spec.Remote} {
		if end.SPI < leastSPI {
			return fmt.Errorf("%s end: SPI %d: want %d or more", name, end.SPI, leastSPI)
		}
	}
	if !spec.Suite.Protects() && spec.Rekey != (tunnel.Lifetime{}) {
		return fmt.Errorf("suite %q has no keys to replace: %w", spec.Suite, tunnel.ErrNotSupported)
	}
	if err := errors.Join(spec.CheckOuter(), spec.CheckInner(), spec.Rekey.Check()); err != nil {
		return err
	}
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	return encapsulation.CheckMTU(overhead.TunnelMTU(spec.MTU))
}

// windowOf is the spec's replay window, in packets.
func windowOf(spec tunnel.Spec) int {
	if spec.ReplayWindow == 0 {
		return defaultWindow
	}
	return spec.ReplayWindow
}

// details are for people: what of the spec no report names anyway.
func details(spec tunnel.Spec) []tunnel.Detail {
	return []tunnel.Detail{
		{Name: "ESP", Value: "in user space"},
		{Name: "extended sequence numbers", Value: strconv.FormatBool(!spec.NoESN)},
		{Name: "replay window", Value: fmt.Sprintf("%d packets", windowOf(spec))},
		{Name: "lifetime of keys", Value: complete(spec.Rekey).String()},
	}
}

// checkPath compares the tunnel's MTU with that of the outer path.
func checkPath(spec tunnel.Spec, path overhead.PathMTU) error {
	encapsulation, err := encapsulation(spec)
	if err != nil {
		return err
	}
	return encapsulation.CheckPath(overhead.TunnelMTU(spec.MTU), path, spec.Remote.Outer.Addr())
}

func encapsulation(spec tunnel.Spec) (overhead.Encapsulation, error) {
	return overhead.ESP(spec.Suite, spec.Encapsulation, overhead.VersionOf(spec.Remote.Outer.Addr()))
}
