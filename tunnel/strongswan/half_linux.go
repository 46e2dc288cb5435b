package strongswan

import (
	"context"
	"errors"
	"sync"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// half is one end of a tunnel that is up, or is being negotiated.
type half struct {
	peering
	spec  tunnel.Spec
	path  tunnel.Path
	clear clearSide
	side  *interfaceSide

	mu     sync.Mutex // Guards what follows.
	closed bool
	last   tunnel.Counters
}

var (
	_ tunnel.Tunnel   = (*half)(nil)
	_ tunnel.Awaiter  = (*half)(nil)
	_ tunnel.Detailed = (*half)(nil)
	_ tunnel.Rekeyer  = (*half)(nil)
)

// clearSide is what one kind of ESP puts before the inner namespace.
type clearSide interface {
	// prepare makes what charon must find when it starts.
	prepare(outer *tunnel.Namespace) error
	// finish puts the tunnel's interface into the inner namespace, once charon
	// knows the connection.
	finish(ctx context.Context, c *charon) (*interfaceSide, error)
	// remove takes away what is left once charon has ended.
	remove() error
}

func (h *half) prepareClear(place tunnel.Place) error {
	if h.userSpace {
		h.clear = &userSpace{spec: h.spec, session: place.Inner}
	} else {
		h.clear = newKernelSide(h.spec, place)
	}
	return h.clear.prepare(place.Outer)
}

// openClear configures the clear side; the half is complete then.
func (h *half) openClear(ctx context.Context) (err error) {
	if h.side, err = h.clear.finish(ctx, h.charon); err != nil {
		return err
	}
	h.path = inner.Path(h.side.namespace, h.side.name, h.spec)
	return nil
}

// Path is inside the session's namespace, by IPv4 where the tunnel has it.
func (h *half) Path() tunnel.Path { return h.path }

// Counters are those of the clear side's interface: they agree with what was
// sent, and survive rekeying. They hold after Close what they held before.
func (h *half) Counters() (tunnel.Counters, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.countLocked()
	return h.last, err
}

func (h *half) countLocked() error {
	if h.closed {
		return nil
	}
	if h.charon.gone() {
		return h.charon.failure()
	}
	now, err := h.side.counters()
	if err == nil {
		h.last = now
	}
	return err
}

// Close stops in this order:
//
//  1. The last counts are read, while there is an interface.
//  2. The keeper ends, or it would negotiate anew.
//  3. Charon ends: it tells the peer, and removes its SAs and its interface.
//  4. What was made around it goes.
func (h *half) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	err := h.countLocked()
	h.closed = true
	return errors.Join(err, h.release())
}

// release removes what is there: Open calls it for a half that is not complete.
func (h *half) release() error {
	endErr := h.end()
	if h.side != nil {
		h.side.Close()
	}
	if h.clear == nil {
		return endErr
	}
	return errors.Join(endErr, h.clear.remove())
}
