package wireguard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
	"tunnelmark/tunnel/overhead"
)

// Kernel builds tunnels of the kernel's WireGuard. The zero value is ready.
type Kernel struct{}

// User builds tunnels of wireguard-go, in this process. The zero value is ready.
type User struct{}

var (
	_ tunnel.Driver = Kernel{}
	_ tunnel.Driver = User{}
)

// Check refuses a spec that cannot be built anywhere, and a kernel without
// WireGuard (wrapping tunnel.ErrNotSupported). The kernel may load its module for
// the question.
func (Kernel) Check(spec tunnel.Spec) error {
	if err := checkSpec(spec); err != nil {
		return fmt.Errorf("check wireguard tunnel: %w", err)
	}
	if err := askKernel(); err != nil {
		return fmt.Errorf("check wireguard tunnel: %w", err)
	}
	return nil
}

// Check refuses a spec that cannot be built anywhere, and a machine without TUN
// devices (wrapping tunnel.ErrNotSupported).
func (User) Check(spec tunnel.Spec) error {
	if err := checkSpec(spec); err != nil {
		return fmt.Errorf("check wireguard-user tunnel: %w", err)
	}
	if err := inner.CheckTUN(); err != nil {
		return fmt.Errorf("check wireguard-user tunnel: %w", err)
	}
	return nil
}

// Open makes the interface in place.Inner, its sockets in place.Outer, and
// starts the first handshake; Await waits for it. WireGuard opens its own sockets,
// on all addresses: place.Socket is closed before that, and another socket that
// has the port by then makes Open fail.
func (k Kernel) Open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	return open(ctx, k, newKernel, spec, keys, place)
}

// Open does as Kernel's does.
func (u User) Open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	return open(ctx, u, newUser, spec, keys, place)
}

// maker makes an interface in the inner namespace that does nothing yet. Where it
// fails nothing remains.
type maker func(spec tunnel.Spec, place tunnel.Place) (implementation, error)

func open(ctx context.Context, driver tunnel.Driver, make maker, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	h, err := build(ctx, driver, make, spec, keys, place)
	if err == nil {
		return h, nil
	}
	if place.Socket != nil {
		_ = place.Socket.Close() // Closed already where WireGuard was to have the port.
	}
	return nil, fmt.Errorf("open wireguard tunnel: %w", err)
}

// build goes from what touches nothing to what touches most.
func build(ctx context.Context, driver tunnel.Driver, make maker, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (*half, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := driver.Check(spec); err != nil {
		return nil, err
	}
	if place.Socket == nil || place.Outer == nil || place.Inner == nil {
		return nil, fmt.Errorf("no place: want an outer socket and two namespaces: %w", os.ErrInvalid)
	}
	settings, err := newSettings(spec, keys)
	if err != nil {
		return nil, err
	}
	defer settings.clear()
	mtu, err := place.PathMTU(spec.Remote.Outer)
	if err != nil {
		return nil, err
	}
	if err := checkPath(spec, overhead.PathMTU(mtu)); err != nil {
		return nil, err
	}
	wireguard, err := make(spec, place)
	if err != nil {
		return nil, err
	}
	h := &half{
		wireguard: wireguard,
		path:      inner.Path(place.Inner, interfaceName(spec), spec),
		remote:    spec.Remote.Outer,
		peer:      settings.peer,
	}
	if err := h.start(ctx, spec, settings, place); err != nil {
		return nil, errors.Join(explainPort(err, settings.port), h.release())
	}
	return h, nil
}

// explainPort says what to do where WireGuard's port is taken.
func explainPort(err error, port int) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return fmt.Errorf("%w: UDP port %d is taken at an address of this host, and WireGuard listens on all: choose another port", err, port)
}
