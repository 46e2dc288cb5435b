package esp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// Driver builds tunnels of ESP in user space. The zero value is ready.
type Driver struct{}

var _ tunnel.Driver = Driver{}

// Check refuses a spec that cannot be built anywhere, and one that this machine
// cannot build for want of a TUN device (wrapping tunnel.ErrNotSupported).
func (Driver) Check(spec tunnel.Spec) error {
	if err := checkSpec(spec); err != nil {
		return fmt.Errorf("check esp tunnel: %w", err)
	}
	if err := inner.CheckTUN(); err != nil {
		return fmt.Errorf("check esp tunnel: %w", err)
	}
	return nil
}

// Open builds this end's half: connects the socket to the peer, makes the TUN
// device in place.Inner, and starts one goroutine for each direction.
func (d Driver) Open(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	h := &half{socket: place.Socket}
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
	if place.Socket == nil || place.Inner == nil {
		return fmt.Errorf("no place: want an outer socket and an inner namespace: %w", os.ErrInvalid)
	}
	workers := workersFor(runtime.GOMAXPROCS(0))
	sendSA, receiveSA, err := associations(spec, keys, workers)
	if err != nil {
		return err
	}
	outbox, inboxes, err := openOuter(spec, place, workers)
	if err != nil {
		return err
	}
	h.clear, err = openInterface(ctx, place.Inner, spec)
	if err != nil {
		return err
	}
	h.path = inner.Path(place.Inner, h.clear.Name, spec)
	reader, err := newTUNReader(h.clear.File)
	if err != nil {
		return err
	}
	writer, err := newTUNWriter(h.clear.File)
	if err != nil {
		return err
	}
	h.sender = newSender(reader, outbox, sendSA, newSelectors(spec.Local, spec.Remote), spec.MTU, &h.out)
	h.receiver = newReceiver(writer, inboxes, receiveSA, h.clear.UDPSegments, &h.in)
	return nil
}

// associations makes the two SAs of this end (RFC 4301, Section 4.1). The peer
// receives on its own SPI, so that is the one we send with.
func associations(spec tunnel.Spec, keys tunnel.Keys, workers int) (*outbound, *inbound, error) {
	suite, err := findSuite(spec.Suite)
	if err != nil {
		return nil, nil, err
	}
	send, err := suite.transform(keys, tunnel.Send, !spec.NoESN, workers)
	if err != nil {
		return nil, nil, err
	}
	receive, err := suite.transform(keys, tunnel.Receive, !spec.NoESN, workers)
	if err != nil {
		return nil, nil, err
	}
	packets := spec.ReplayWindow
	if packets == 0 {
		packets = defaultWindow
	}
	selectors := newSelectors(spec.Remote, spec.Local)
	return newOutbound(spec.Remote.SPI, send), newInbound(spec.Local.SPI, receive, selectors, packets), nil
}

func openOuter(spec tunnel.Spec, place tunnel.Place, workers int) (*outbox, []*inbox, error) {
	mtu, err := prepareSocket(place.Socket, spec.Remote.Outer)
	if err != nil {
		return nil, nil, err
	}
	if err := checkPath(spec, mtu); err != nil {
		return nil, nil, err
	}
	outbox, err := newOutbox(place.Socket)
	if err != nil {
		return nil, nil, fmt.Errorf("prepare sending: %w", err)
	}
	inboxes := make([]*inbox, workers)
	for i := range inboxes {
		if inboxes[i], err = newInbox(place.Socket); err != nil {
			return nil, nil, fmt.Errorf("prepare receiving: %w", err)
		}
	}
	return outbox, inboxes, nil
}
