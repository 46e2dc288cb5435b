package xfrm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"tunnelmark/tunnel"
)

// Guard protects one IP protocol between two outer addresses, such as GRE, by ESP
// in transport mode. The zero value is ready.
type Guard struct{}

// Check is that of a Driver.
func (Guard) Check(spec tunnel.Spec) error {
	p, err := newPlan(spec, true)
	if err == nil {
		err = tryPlan(Transport, p)
	}
	if err != nil {
		return fmt.Errorf("check ESP in transport mode: %w", err)
	}
	return nil
}

// Protect lets packets of the IP protocol, an IANA number, pass between the spec's
// outer addresses only under ESP, until Close. It takes ownership of place.Socket,
// also where it fails; place.Inner is not needed. What it returns also counts, as
// a tunnel.Tunnel does: bytes are of whole IP packets, before ESP.
func (Guard) Protect(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place, protocol int) (io.Closer, error) {
	s, err := guard(ctx, spec, keys, place, protocol)
	if err != nil {
		return nil, fmt.Errorf("protect IP protocol %d by ESP: %w", protocol, err)
	}
	return s, nil
}

func guard(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place, protocol int) (*protection, error) {
	p, err := planGuard(spec, place, protocol)
	if err == nil {
		err = refuseVTI(place.Outer, p.local.Addr(), p.remote.Addr())
	}
	if err != nil {
		if place.Socket != nil {
			err = errors.Join(err, place.Socket.Close())
		}
		return nil, err
	}
	return protect(ctx, p, keys, place.Outer, place.Socket)
}

func planGuard(spec tunnel.Spec, place tunnel.Place, protocol int) (plan, error) {
	p, err := newPlan(spec, true)
	if err != nil {
		return plan{}, err
	}
	if protocol < 1 || protocol > 255 {
		return plan{}, fmt.Errorf("IP protocol %d: want 1 to 255", protocol)
	}
	if place.Outer == nil || p.udp && place.Socket == nil {
		return plan{}, fmt.Errorf("no place: want an outer namespace, and a socket for UDP encapsulation: %w", os.ErrInvalid)
	}
	s := hosts(p.local.Addr(), p.remote.Addr())
	s.protocol = uint8(protocol)
	p.selectors = []selector{s}
	return p, tryPlan(Transport, p)
}
