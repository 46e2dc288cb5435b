// Package existing measures through a tunnel that is already there: an
// appliance's, a cloud VPN gateway's, or an interface of this host. Nothing is
// built and nothing is removed. What this host can see of the way to the peer is
// looked up and said, since load that goes around the tunnel would measure
// something else.
package existing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"tunnelmark/tunnel"
)

// Driver gives the path between the two outer addresses of a spec, which are
// those that the tunnel joins. The zero value is ready.
type Driver struct{}

var _ tunnel.Driver = Driver{}

// Check refuses a spec without two outer addresses of one IP version, without an
// MTU, or with keys to replace. Suite, encapsulation, SPIs and inner addresses mean nothing here.
func (Driver) Check(spec tunnel.Spec) error {
	if err := cmp.Or(spec.CheckOuter(), spec.CheckNoRekey()); err != nil {
		return fmt.Errorf("check existing tunnel: %w", err)
	}
	return nil
}

// Open refuses a peer that cannot be reached, that is this host, or that is
// reached by another interface than the place's, and an MTU that the path is
// known not to take. It closes the reserved socket, so that a probe can bind its
// address and port. keys are not asked.
func (d Driver) Open(ctx context.Context, spec tunnel.Spec, _ tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	path, err := d.open(ctx, spec, place)
	if place.Socket != nil {
		err = errors.Join(err, place.Socket.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("open existing tunnel: %w", err)
	}
	return half{path: path, through: place.Interface}, nil
}

func (d Driver) open(ctx context.Context, spec tunnel.Spec, place tunnel.Place) (tunnel.Path, error) {
	if err := ctx.Err(); err != nil {
		return tunnel.Path{}, err
	}
	if err := d.Check(spec); err != nil {
		return tunnel.Path{}, err
	}
	if place.Outer == nil || place.Socket == nil {
		return tunnel.Path{}, fmt.Errorf("no place: want an outer namespace and socket: %w", os.ErrInvalid)
	}
	if _, err := look(place.Outer, flowBetween(spec.Local.Outer, spec.Remote.Outer), place.Interface); err != nil {
		return tunnel.Path{}, err
	}
	return place.OuterPath(spec)
}

// flow is what goes from this host to the peer.
type flow struct {
	local, remote netip.AddrPort
}

// flowBetween leaves IPv4 addresses in no notation but their own.
func flowBetween(local, remote netip.AddrPort) flow {
	return flow{
		local:  netip.AddrPortFrom(local.Addr().Unmap(), local.Port()),
		remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()),
	}
}

// half is one end of the path. There is nothing to keep.
type half struct {
	path    tunnel.Path
	through string // The interface that packets to the peer must leave by; empty: any.
}

var (
	_ tunnel.Tunnel  = half{}
	_ tunnel.Witness = half{}
)

// Path is between the outer addresses and ports, in the outer namespace.
func (h half) Path() tunnel.Path { return h.path }

// Counters are not to be had, and the error wraps tunnel.ErrNotSupported: the
// tunnel is not ours, and an interface's counters would count everybody's
// traffic.
func (half) Counters() (tunnel.Counters, error) {
	return tunnel.Counters{}, fmt.Errorf("count packets of a tunnel that is not ours: %w", tunnel.ErrNotSupported)
}

// Close has nothing to remove.
func (half) Close() error { return nil }

// Evidence looks how the peer is reached at this moment. It sends nothing.
func (h half) Evidence() tunnel.Evidence {
	f := flowBetween(h.path.Local, h.path.Remote)
	w, err := look(h.path.Namespace, f, h.through)
	if err == nil {
		err = w.measure(h.path.Namespace)
	}
	if err != nil {
		return tunnel.Evidence{How: err.Error()}
	}
	return w.evidence()
}
