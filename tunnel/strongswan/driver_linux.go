package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// secretBytes is the length of the preshared key, which both ends derive.
const secretBytes = 32

// Driver builds tunnels by IKEv2. The zero value is ready.
type Driver struct {
	// UserSpace takes charon's own ESP (plugin kernel-libipsec) instead of the
	// kernel's: slow, and for comparison only.
	UserSpace bool
	// Credentials authenticate the ends instead of a preshared key made for the
	// session. Optional.
	Credentials *Credentials
	// Charon and Swanctl are paths of strongSwan's programs. Optional: where
	// distributions put them.
	Charon, Swanctl string
}

var _ tunnel.Driver = Driver{}

// Check refuses a spec that cannot be built anywhere, and one that this machine
// cannot build for want of strongSwan or of its kernel's ESP (wrapping
// tunnel.ErrNotSupported).
func (d Driver) Check(spec tunnel.Spec) error {
	if _, err := d.check(spec); err != nil {
		return fmt.Errorf("check strongswan tunnel: %w", err)
	}
	return nil
}

func (d Driver) check(spec tunnel.Spec) (programs, error) {
	if err := d.checkSpec(spec); err != nil {
		return programs{}, err
	}
	found, err := d.findPrograms()
	if err != nil {
		return programs{}, err
	}
	if !d.UserSpace {
		return found, checkKernel()
	}
	return found, inner.CheckTUN()
}

// Open builds this end's half: starts charon, which takes over the reserved
// port, and puts the tunnel's clear side into place.Inner. It does not wait for
// the peer's half, which may be opened later: Await does.
func (d Driver) Open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	h := &half{spec: spec, peering: peering{local: spec.Local.Outer, remote: spec.Remote.Outer, userSpace: d.UserSpace}}
	err := d.build(ctx, h, spec, keys, place)
	if place.Socket != nil {
		if closing := place.Socket.Close(); !errors.Is(closing, net.ErrClosed) {
			err = errors.Join(err, closing)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open strongswan tunnel: %w", errors.Join(err, h.release()))
	}
	return h, nil
}

// build goes from what touches nothing to what touches most:
//
//  1. The spec, the machine and the place are looked at.
//  2. The outer path is asked for its MTU by the reserved socket, which then is
//     closed: charon binds its port.
//  3. What charon's user-space ESP needs to find is made.
//  4. Charon starts and is told the connection.
//  5. The clear side is configured in the inner namespace.
//  6. The keeper starts to negotiate.
func (d Driver) build(ctx context.Context, h *half, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	found, err := d.check(spec)
	if err != nil {
		return err
	}
	if place.Socket == nil || place.Inner == nil || place.Outer == nil {
		return fmt.Errorf("no place: want an outer socket, an outer and an inner namespace: %w", os.ErrInvalid)
	}
	if err := takePort(spec, place); err != nil {
		return err
	}
	con, files, err := d.connect(spec, keys)
	if err != nil {
		return err
	}
	defer clear(con.secret)
	if err := h.prepareClear(place); err != nil {
		return err
	}
	if err := h.start(ctx, found, place.Outer, files); err != nil {
		return err
	}
	if err := h.charon.load(ctx, con); err != nil {
		return err
	}
	if err := h.openClear(ctx); err != nil {
		return err
	}
	h.negotiate()
	return nil
}

// takePort frees the reserved port for charon, once the path has been asked.
func takePort(spec tunnel.Spec, place tunnel.Place) error {
	mtu, err := place.PathMTU(spec.Remote.Outer)
	if err != nil {
		return err
	}
	if err := checkPath(spec, mtu); err != nil {
		return err
	}
	return place.Socket.Close()
}

// connect says what is to be negotiated, and with which credentials.
func (d Driver) connect(spec tunnel.Spec, keys tunnel.Keys) (connection, map[string][]byte, error) {
	proposal, err := espProposal(spec.Suite, spec.NoESN)
	if err != nil {
		return connection{}, nil, err
	}
	files, err := d.Credentials.read()
	if err != nil {
		return connection{}, nil, err
	}
	con := connection{
		local:          spec.Local.Outer,
		remote:         spec.Remote.Outer,
		localNetworks:  innerPrefixes(spec.Local),
		remoteNetworks: innerPrefixes(spec.Remote),
		proposal:       proposal,
		forceUDP:       spec.Encapsulation == tunnel.UDP,
	}
	if d.Credentials == nil {
		if con.secret, err = keys.Shared(secretBytes); err != nil {
			return connection{}, nil, fmt.Errorf("make preshared key: %w", err)
		}
	}
	if !d.UserSpace {
		con.interfaceID, con.replayWindow, con.lifetime = spec.Local.SPI, spec.ReplayWindow, spec.Lifetime
	}
	return con, files, nil
}
