package xfrm

import (
	"context"
	"errors"
	"fmt"
	"os"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
	"tunnelmark/tunnel/overhead"
)

// Driver builds tunnels of ESP in the kernel, in one form. The zero value is
// route-based, by an xfrm interface.
type Driver struct {
	Form Form
}

var _ tunnel.Driver = Driver{}

// Check refuses a spec that cannot be built anywhere, and one that this kernel
// cannot build (wrapping tunnel.ErrNotSupported): it tries in a namespace of its
// own, which is gone when Check returns.
func (d Driver) Check(spec tunnel.Spec) error {
	p, err := d.Form.plan(spec)
	if err == nil {
		err = tryPlan(d.Form, p)
	}
	if err != nil {
		return fmt.Errorf("check %s tunnel: %w", d.Form, err)
	}
	return nil
}

// Open builds this end's half. The kernel removes all of it when the spec's
// lifetime ends (after an hour if that is 0), if Close did not before.
func (d Driver) Open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	h, err := d.open(ctx, spec, keys, place)
	if err != nil {
		return nil, fmt.Errorf("open %s tunnel: %w", d.Form, err)
	}
	return h, nil
}

// open goes from what touches nothing to what touches most.
func (d Driver) open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (*half, error) {
	p, err := d.prepare(ctx, spec, place)
	if err != nil {
		if place.Socket != nil {
			err = errors.Join(err, place.Socket.Close())
		}
		return nil, err
	}
	socket := place.Socket
	if d.Form == Transport && !p.udp {
		// Probes use its port.
		if err := socket.Close(); err != nil {
			return nil, err
		}
		socket = nil
	}
	protection, err := protect(ctx, p, keys, place.Outer, socket)
	if err != nil {
		return nil, err
	}
	clear, err := d.openClear(ctx, p, spec, place)
	if err != nil {
		return nil, errors.Join(err, protection.Close())
	}
	protection.clear = clear
	return &half{protection, d.path(p, spec, place), p.details(d.Form)}, nil
}

// prepare finds whatever forbids the half, before anything is touched.
func (d Driver) prepare(ctx context.Context, spec tunnel.Spec, place tunnel.Place) (plan, error) {
	if err := ctx.Err(); err != nil {
		return plan{}, err
	}
	p, err := d.Form.plan(spec)
	if err != nil {
		return plan{}, err
	}
	if place.Socket == nil || place.Outer == nil || place.Inner == nil {
		return plan{}, fmt.Errorf("no place: want an outer socket and namespace, and an inner namespace: %w", os.ErrInvalid)
	}
	if err := tryPlan(d.Form, p); err != nil {
		return plan{}, err
	}
	mtu, err := place.PathMTU(spec.Remote.Outer)
	if err != nil {
		return plan{}, err
	}
	if err := checkPath(spec, p.transport, overhead.PathMTU(mtu)); err != nil {
		return plan{}, err
	}
	return p, refuseVTI(place.Outer, p.local.Addr(), p.remote.Addr())
}

func (d Driver) path(p plan, spec tunnel.Spec, place tunnel.Place) tunnel.Path {
	switch d.Form {
	case Policy:
		return inner.Path(place.Outer, "", spec)
	case Transport:
		local, remote := transportPorts(spec)
		return tunnel.Path{Namespace: place.Outer, Local: local, Remote: remote, MTU: spec.MTU, OneFlow: true}
	}
	return inner.Path(place.Inner, newLink(d.Form, p).Name, spec)
}

func (d Driver) openClear(ctx context.Context, p plan, spec tunnel.Spec, place tunnel.Place) (clearSide, error) {
	switch d.Form {
	case Policy:
		return openAddresses(ctx, p, spec, place.Outer)
	case Transport:
		return nil, nil
	}
	return openInterface(ctx, d.Form, p, spec, place)
}
