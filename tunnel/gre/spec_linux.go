package gre

import (
	"cmp"
	"fmt"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// checkSpec refuses what no machine can build. The key of a direction is the
// receiver's SPI; the kernel takes 0 for no key.
func (d Driver) checkSpec(spec tunnel.Spec) error {
	if err := cmp.Or(spec.CheckOuter(), spec.CheckInner(), spec.CheckNoRekey()); err != nil {
		return err
	}
	local, remote := spec.Local, spec.Remote
	switch {
	case local.Outer.Addr().Unmap() == remote.Outer.Addr().Unmap():
		return fmt.Errorf("outer address %s is that of both ends: GRE tells ends apart by address, not by port", local.Outer.Addr())
	case local.SPI == 0 || remote.SPI == 0:
		return fmt.Errorf("SPIs %d and %d: want none to be 0: they are the keys of GRE", local.SPI, remote.SPI)
	}
	added, err := d.overhead(spec)
	if err != nil {
		return err
	}
	return added.CheckMTU(overhead.TunnelMTU(spec.MTU))
}

// checkPath compares the tunnel's MTU with that of the outer path: packets that
// do not fit would be lost.
func (d Driver) checkPath(spec tunnel.Spec, place tunnel.Place) error {
	path, err := place.PathMTU(spec.Remote.Outer)
	if err != nil {
		return err
	}
	added, err := d.overhead(spec)
	if err != nil {
		return err
	}
	return added.CheckPath(overhead.TunnelMTU(spec.MTU), overhead.PathMTU(path), spec.Remote.Outer.Addr())
}

func (d Driver) overhead(spec tunnel.Spec) (overhead.Encapsulation, error) {
	version := overhead.VersionOf(spec.Remote.Outer.Addr())
	if d.Guard != nil {
		return overhead.GREOverESP(spec.Suite, spec.Encapsulation, version)
	}
	return overhead.GRE(version, true)
}

func overIPv4(spec tunnel.Spec) bool { return spec.Remote.Outer.Addr().Unmap().Is4() }
