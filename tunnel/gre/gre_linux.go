// Package gre is a tunnel of the kernel's GRE (RFC 2784), in clear or over ESP in
// transport mode, which a Guard provides:
//
//	outer IP | GRE flags, protocol | key | inner IP
//	20 or 40 |          4          |  4  |
//
// Each direction has a key (RFC 2890, Section 2.1), the SPI of the end that
// receives: it tells the session's tunnels from one another, and from any other
// GRE tunnel between the same two hosts, which is not touched.
package gre

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// Guard protects an IP protocol between a spec's outer addresses with ESP in
// transport mode.
type Guard interface {
	// Check says whether this machine can protect, before anything is touched.
	Check(spec tunnel.Spec) error
	// Protect returns once packets of the protocol leave in ESP or not at all, and
	// are taken from the peer only so; until the closer is closed. It takes
	// ownership of place.Socket, also where it fails.
	Protect(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place, protocol int) (io.Closer, error)
}

// Driver builds tunnels of GRE. The zero value is ready, and sends in clear.
type Driver struct {
	Guard Guard // Optional.
}

var _ tunnel.Driver = Driver{}

// Check refuses a spec that cannot be built anywhere, and one that this machine's
// kernel cannot build, wrapping tunnel.ErrNotSupported. It tries in a namespace
// of its own, which may load the kernel's module.
func (d Driver) Check(spec tunnel.Spec) error {
	if err := d.check(spec); err != nil {
		return fmt.Errorf("check %s tunnel: %w", d.name(), err)
	}
	return nil
}

func (d Driver) name() string {
	if d.Guard != nil {
		return "gre-esp"
	}
	return "gre"
}

func (d Driver) check(spec tunnel.Spec) error {
	if err := d.checkSpec(spec); err != nil {
		return err
	}
	if err := tryKernel(spec); err != nil {
		return err
	}
	if d.Guard != nil {
		return d.Guard.Check(spec)
	}
	return nil
}

// Open builds this end's half.
func (d Driver) Open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	h := &half{place: place, link: newLink(spec)}
	if err := d.build(ctx, h, spec, keys); err != nil {
		return nil, fmt.Errorf("open %s tunnel: %w", d.name(), errors.Join(err, h.release()))
	}
	return h, nil
}

// build goes from what touches nothing to what touches most. The guard comes
// before the interface, so that no packet ever leaves without it.
func (d Driver) build(ctx context.Context, h *half, spec tunnel.Spec, keys tunnel.Keys) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.Check(spec); err != nil {
		return err
	}
	place := h.place
	if place.Outer == nil || place.Inner == nil || place.Socket == nil {
		return fmt.Errorf("no place: want an outer namespace and socket, and an inner namespace: %w", os.ErrInvalid)
	}
	if err := d.checkPath(spec, place); err != nil {
		return err
	}
	if err := d.protect(ctx, h, spec, keys); err != nil {
		return err
	}
	if err := h.link.Add(place.Outer, place.Inner); err != nil {
		return explainExisting(err, spec)
	}
	h.added = true
	var err error
	if h.side, err = inner.Configure(ctx, place.Inner, h.link.Name, spec); err != nil {
		return err
	}
	h.path = inner.Path(place.Inner, h.link.Name, spec)
	return nil
}

// protect hands the reserved socket over to the guard. GRE alone has no port and
// no use for it, but keeps it: the offer promised its port to nobody else.
func (d Driver) protect(ctx context.Context, h *half, spec tunnel.Spec, keys tunnel.Keys) error {
	if d.Guard == nil {
		return nil
	}
	place := h.place
	if err := refuseOthers(place.Outer, spec); err != nil {
		return err
	}
	h.place.Socket = nil
	closer, err := d.Guard.Protect(ctx, spec, keys, place, unix.IPPROTO_GRE)
	if err != nil {
		return fmt.Errorf("protect GRE: %w", err)
	}
	h.guard = closer
	return nil
}
