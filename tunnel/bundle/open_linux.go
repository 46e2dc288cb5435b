// Package bundle carries flows over several tunnels side by side as over one, to
// tell a limit of each tunnel from a limit that they share.
//
// Every tunnel is built by the same driver into the same session's namespace, with
// the same inner addresses; the kernel spreads the flows by a hash over addresses
// and ports (ECMP, RFC 2992), so that each flow stays on one tunnel.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// Half is what this end's half of one of the tunnels is built from.
type Half struct {
	Spec  tunnel.Spec
	Keys  tunnel.Keys
	Place tunnel.Place
}

// Open builds this end's halves in order and joins them. It takes ownership of
// all their sockets, and where it fails, nothing remains. The specs differ in
// number, outer ports and SPIs, never in inner addresses; the places only in
// sockets.
//
// One half is the driver's own tunnel, as it is. Several need a driver whose
// tunnels have an interface on their clear side: others are refused with an
// error that wraps tunnel.ErrNotSupported.
func Open(ctx context.Context, driver tunnel.Driver, halves []Half) (tunnel.Tunnel, error) {
	if len(halves) == 1 {
		return driver.Open(ctx, halves[0].Spec, halves[0].Keys, halves[0].Place)
	}
	b := &bundle{}
	opened, err := b.open(ctx, driver, halves)
	if err != nil {
		err = errors.Join(err, b.Close(), closeSockets(halves[opened:]))
		return nil, fmt.Errorf("open %d tunnels side by side: %w", len(halves), err)
	}
	return b, nil
}

// open says how many halves the driver was given.
func (b *bundle) open(ctx context.Context, driver tunnel.Driver, halves []Half) (opened int, err error) {
	if err := check(halves); err != nil {
		return 0, err
	}
	spec, namespace := halves[0].Spec, halves[0].Place.Inner
	// First of all, since it shows whether the kernel can spread flows.
	if err := inner.HashFlows(namespace, spec); err != nil {
		return 0, err
	}
	for i, h := range halves {
		half, err := driver.Open(ctx, h.Spec, h.Keys, h.Place)
		if err != nil {
			return i + 1, fmt.Errorf("tunnel %d: %w", i, err)
		}
		b.halves = append(b.halves, half)
		if half.Path().Interface == "" {
			return i + 1, fmt.Errorf("the driver's tunnels have no interface over which flows could be spread: %w; use one tunnel, or another driver", tunnel.ErrNotSupported)
		}
	}
	return len(halves), inner.Spread(namespace, b.interfaces(), spec)
}

// check refuses halves that cannot be one.
func check(halves []Half) error {
	if len(halves) == 0 {
		return fmt.Errorf("no tunnel: %w", os.ErrInvalid)
	}
	first := halves[0]
	if first.Place.Inner == nil {
		return fmt.Errorf("no place: want an inner namespace: %w", os.ErrInvalid)
	}
	numbers := map[int]bool{}
	for i, h := range halves {
		switch {
		case h.Place.Inner != first.Place.Inner:
			return fmt.Errorf("tunnel %d: its inner namespace is not that of the first: %w", i, os.ErrInvalid)
		case !sameInner(h.Spec.Local, first.Spec.Local) || !sameInner(h.Spec.Remote, first.Spec.Remote):
			return fmt.Errorf("tunnel %d: its inner addresses are not those of the first: %w", i, os.ErrInvalid)
		case numbers[h.Spec.Number]:
			return fmt.Errorf("tunnel %d: its number %d is another's: %w", i, h.Spec.Number, os.ErrInvalid)
		}
		numbers[h.Spec.Number] = true
	}
	return nil
}

func sameInner(a, b tunnel.End) bool { return a.Inner4 == b.Inner4 && a.Inner6 == b.Inner6 }

// closeSockets closes what no driver has taken.
func closeSockets(halves []Half) error {
	var errs []error
	for _, h := range halves {
		if h.Place.Socket != nil {
			errs = append(errs, h.Place.Socket.Close())
		}
	}
	return errors.Join(errs...)
}
