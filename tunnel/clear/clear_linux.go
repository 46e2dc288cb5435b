// Package clear is the tunnel that is none: the same path unencrypted, so that
// every measurement has its baseline.
package clear

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"tunnelmark/tunnel"
)

// Driver gives the outer path itself. The zero value is ready.
type Driver struct{}

var _ tunnel.Driver = Driver{}

// Check refuses a spec without two outer addresses of one IP version, without an
// MTU, or with keys to replace. Suite, encapsulation, SPIs and inner addresses mean nothing here.
func (Driver) Check(spec tunnel.Spec) error {
	if err := cmp.Or(spec.CheckOuter(), spec.CheckNoRekey()); err != nil {
		return fmt.Errorf("check clear path: %w", err)
	}
	return nil
}

// Open closes the reserved socket, so that a probe can bind its address and
// port; whoever else binds there first makes that probe fail. An MTU that the
// outer path is known not to take is refused. keys are not asked.
func (d Driver) Open(ctx context.Context, spec tunnel.Spec, _ tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	path, err := d.open(ctx, spec, place)
	if place.Socket != nil {
		err = errors.Join(err, place.Socket.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("open clear path: %w", err)
	}
	return half{path}, nil
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
	return place.OuterPath(spec)
}

// half is one end of the clear path. There is nothing to keep.
type half struct {
	path tunnel.Path
}

var _ tunnel.Tunnel = half{}

// Path is the outer path: outer namespace, outer addresses and ports.
func (h half) Path() tunnel.Path { return h.path }

// Counters are not to be had, and the error wraps tunnel.ErrNotSupported:
// packets do not pass through this driver. The interface's counters would
// count everybody's traffic, and the probe's own are the probe's to report.
func (half) Counters() (tunnel.Counters, error) {
	return tunnel.Counters{}, fmt.Errorf("count packets of the clear path: %w", tunnel.ErrNotSupported)
}

// Close has nothing to remove.
func (half) Close() error { return nil }
