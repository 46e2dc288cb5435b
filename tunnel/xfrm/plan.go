package xfrm

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// Specification.
const (
	leastSPI = 256 // 0 is local, 1 to 255 are reserved by IANA: RFC 4303, Section 2.1.
)

// Implementation.
const (
	// mostReplayWindow is the kernel's limit, in packets (XFRMA_REPLAY_ESN_MAX of
	// include/uapi/linux/xfrm.h). It is also our default: packets that a path
	// reorders are the probe's to count, and must not be lost in too small a window;
	// it costs 512 bytes an SA.
	mostReplayWindow = 4096
	// defaultLifetime is the session's maximum age by default: SAs and policies are
	// never without end.
	defaultLifetime = time.Hour
	// ownRequest is set in the ids that tie our policies to our SAs. IKE daemons
	// number theirs from 1, so they never take one of ours.
	ownRequest = 1 << 31
)

// plan is what the SAs and policies of one half have in common.
type plan struct {
	algorithms
	local, remote       netip.AddrPort // Outer.
	localSPI, remoteSPI uint32
	transport           bool // ESP transport mode; tunnel mode otherwise.
	udp                 bool
	noESN               bool
	window              int
	lifetime            time.Duration
	alone               bool // No other SA may come from the peer's address.
	first               bool // Of its session's tunnels.
	scope               scope
	selectors           []selector // Of what we send.
}

// newPlan refuses what no kernel can build.
func newPlan(spec tunnel.Spec, transport bool) (plan, error) {
	algorithms, err := findSuite(spec.Suite)
	if err != nil {
		return plan{}, err
	}
	if err := checkSpec(spec, transport); err != nil {
		return plan{}, err
	}
	p := plan{
		algorithms: algorithms,
		local:      unmap(spec.Local.Outer),
		remote:     unmap(spec.Remote.Outer),
		localSPI:   spec.Local.SPI,
		remoteSPI:  spec.Remote.SPI,
		transport:  transport,
		udp:        spec.Encapsulation == tunnel.UDP,
		noESN:      spec.NoESN,
		window:     spec.ReplayWindow,
		lifetime:   spec.Lifetime,
		first:      spec.Number == 0,
	}
	if p.window == 0 {
		p.window = mostReplayWindow
	}
	if p.lifetime == 0 {
		p.lifetime = defaultLifetime
	}
	return p, nil
}

func unmap(outer netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(outer.Addr().Unmap(), outer.Port())
}

// request is the id that ties the policies to the SAs, unique on this host as
// the SPI is.
func (p plan) request() uint32 { return p.localSPI | ownRequest }

func checkSpec(spec tunnel.Spec, transport bool) error {
	if err := cmp.Or(spec.CheckOuter(), spec.CheckNoRekey()); err != nil {
		return err
	}
	local, remote := spec.Local, spec.Remote
	switch {
	case local.Outer.Addr().Unmap() == remote.Outer.Addr().Unmap():
		return fmt.Errorf("outer address %s is that of both ends: kernel ESP tells ends apart by address, not by port", local.Outer.Addr())
	case local.SPI < leastSPI:
		return fmt.Errorf("local end: SPI %d: want %d or more", local.SPI, leastSPI)
	case remote.SPI < leastSPI:
		return fmt.Errorf("remote end: SPI %d: want %d or more", remote.SPI, leastSPI)
	case spec.ReplayWindow < 0 || spec.ReplayWindow > mostReplayWindow:
		return fmt.Errorf("replay window of %d packets: want 1 to %d, or 0 for %d: %w",
			spec.ReplayWindow, mostReplayWindow, mostReplayWindow, tunnel.ErrNotSupported)
	case spec.Lifetime < 0:
		return fmt.Errorf("lifetime %s: want more than 0, or 0 for %s", spec.Lifetime, defaultLifetime)
	}
	return checkMTU(spec, transport)
}

func checkMTU(spec tunnel.Spec, transport bool) error {
	encapsulation, err := encapsulation(spec, transport)
	if err != nil {
		return err
	}
	return encapsulation.CheckMTU(overhead.TunnelMTU(spec.MTU))
}

// checkPath compares the tunnel's MTU with that of the outer path, in bytes:
// packets that do not fit would be refused one by one, or fragmented.
func checkPath(spec tunnel.Spec, transport bool, path overhead.PathMTU) error {
	encapsulation, err := encapsulation(spec, transport)
	if err != nil {
		return err
	}
	return encapsulation.CheckPath(overhead.TunnelMTU(spec.MTU), path, spec.Remote.Outer.Addr())
}

func encapsulation(spec tunnel.Spec, transport bool) (overhead.Encapsulation, error) {
	version := overhead.VersionOf(spec.Remote.Outer.Addr())
	if transport {
		return overhead.ESPTransport(spec.Suite, spec.Encapsulation, version)
	}
	return overhead.ESP(spec.Suite, spec.Encapsulation, version)
}
