package esp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
	"tunnelmark/tunnel/overhead"
)

// Driver builds tunnels of ESP in user space. The zero value is ready.
type Driver struct{}

var _ tunnel.Driver = Driver{}

// Check refuses a spec that cannot be built anywhere, and one that this machine
// cannot build for want of a TUN device or of raw sockets (wrapping
// tunnel.ErrNotSupported).
func (Driver) Check(spec tunnel.Spec) error {
	err := checkSpec(spec)
	if err == nil {
		err = inner.CheckTUN()
	}
	if c := carrierOf(spec); err == nil && c.raw {
		err = checkRaw(c.version)
	}
	if err != nil {
		return fmt.Errorf("check esp tunnel: %w", err)
	}
	return nil
}

// Open builds this end's half: connects the socket to the peer, or for raw one
// beside it, makes the TUN device in place.Inner, and starts the workers of both
// directions.
func (d Driver) Open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	h := &half{reserved: place.Socket, details: details(spec)}
	if err := d.build(ctx, h, spec, keys, place); err != nil {
		return nil, fmt.Errorf("open esp tunnel: %w", errors.Join(err, h.release()))
	}
	h.start()
	return h, nil
}

// build goes from what touches nothing to what touches most.
func (d Driver) build(ctx context.Context, h *half, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.Check(spec); err != nil {
		return err
	}
	if place.Socket == nil || place.Outer == nil || place.Inner == nil {
		return fmt.Errorf("no place: want an outer socket and namespace, and an inner namespace: %w", os.ErrInvalid)
	}
	added, err := encapsulation(spec)
	if err != nil {
		return err
	}
	workers := workersFor(runtime.GOMAXPROCS(0))
	g, err := associations(spec, keys, workers)
	if err != nil {
		return err
	}
	if err := h.openOuter(ctx, spec, place); err != nil {
		return err
	}
	outbox, inboxes, err := openBoxes(spec, place, h.outer, workers)
	if err != nil {
		return err
	}
	h.clear, err = openInterface(ctx, place.Inner, spec, longestSuper(carrierOf(spec), g.sending.layout, spec.MTU))
	if err != nil {
		return err
	}
	h.path = inner.Path(place.Inner, h.clear.device.Name, spec)
	ceiling := newCeiling(added, spec.MTU, func() (overhead.PathMTU, error) { return outerMTU(place.Outer, spec) })
	h.sender = newSender(newTUNReader(h.clear.port), newTUNWriter(h.clear.port), outbox, g, workers, newSelectors(spec.Local, spec.Remote), ceiling, &h.out)
	h.receiver = newReceiver(newTUNWriter(h.clear.port), inboxes, g, !carrierOf(spec).raw, h.clear.device.UDPSegments, &h.in)
	h.renewer = newRenewer(g, newOutbox(h.outer, carrierOf(spec)), &h.out) // An outbox is one goroutine's.
	return nil
}

// openOuter makes the port through which ESP goes. For raw ESP the place's socket
// stays beside it: it keeps the port number that both ends have agreed on from
// anybody else.
func (h *half) openOuter(ctx context.Context, spec tunnel.Spec, place tunnel.Place) (err error) {
	if carrierOf(spec).raw {
		if h.outer, err = openRaw(ctx, spec, place); err != nil {
			return err
		}
		raw, err := place.Socket.SyscallConn()
		if err != nil {
			return err
		}
		return attachFilter(raw, nothing()) // Nobody reads it.
	}
	if h.outer, err = portOf(place.Socket); err != nil {
		return err
	}
	h.reserved = nil
	return place.Socket.Close()
}

// associations makes the two SAs of this end (RFC 4301, Section 4.1) and what will
// replace them. The peer receives on its own SPI, so that is the one we send with.
func associations(spec tunnel.Spec, keys tunnel.Keys, workers int) (*generations, error) {
	suite, err := findSuite(spec.Suite)
	if err != nil {
		return nil, err
	}
	// Beside the workers, the renewer seals dummy packets.
	out, err := newSeries(suite, keys, tunnel.Send, spec.Remote.SPI, !spec.NoESN, workers+1)
	if err != nil {
		return nil, err
	}
	in, err := newSeries(suite, keys, tunnel.Receive, spec.Local.SPI, !spec.NoESN, workers)
	if err != nil {
		return nil, err
	}
	return newGenerations(out, in, newSelectors(spec.Remote, spec.Local), windowOf(spec), spec.Rekey, time.Now)
}

// openBoxes connects the port, checks what its path takes, and prepares sending and
// receiving.
func openBoxes(spec tunnel.Spec, place tunnel.Place, outer *port, workers int) (*outbox, []*inbox, error) {
	c, remote := carrierOf(spec), spec.Remote.Outer
	if c.raw {
		remote = netip.AddrPortFrom(remote.Addr(), 0)
	}
	if err := connect(outer.fd, remote); err != nil {
		return nil, nil, err
	}
	mtu, err := outerMTU(place.Outer, spec)
	if err == nil {
		err = checkPath(spec, mtu)
	}
	if err == nil {
		err = c.setReceive(outer.fd)
	}
	if err != nil {
		return nil, nil, err
	}
	inboxes := make([]*inbox, workers)
	for i := range inboxes {
		inboxes[i] = newInbox(outer, c)
	}
	return newOutbox(outer, c), inboxes, nil
}
