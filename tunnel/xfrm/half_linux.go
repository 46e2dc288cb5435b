package xfrm

import (
	"errors"
	"sync"

	"tunnelmark/tunnel"
)

// half is one end of a tunnel that is up.
type half struct {
	path    tunnel.Path
	details []tunnel.Detail
	*protection
	clear clearSide // nil in transport mode.

	mu     sync.Mutex // Guards what follows.
	closed bool
	last   tunnel.Counters
}

var (
	_ tunnel.Tunnel   = (*half)(nil)
	_ tunnel.Detailed = (*half)(nil)
)

// Path is inside the session's namespace for the route-based forms, and in the
// agent's own for the others.
func (h *half) Path() tunnel.Path { return h.path }

// Details name the kernel's algorithms and implementations.
func (h *half) Details() []tunnel.Detail { return h.details }

// Counters holds after Close what it held before.
func (h *half) Counters() (tunnel.Counters, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.countLocked()
}

func (h *half) countLocked() (tunnel.Counters, error) {
	if h.closed {
		return h.last, nil
	}
	counters, err := h.protection.Counters()
	if h.clear != nil {
		err = errors.Join(err, h.clear.count(&counters))
	}
	if err == nil {
		h.last = counters
	}
	return counters, err
}

// Close removes the clear side first, so that nothing is sent that ESP would no
// longer protect.
func (h *half) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	_, _ = h.countLocked() // An SA that has expired has nothing to say.
	h.closed = true
	var clearErr error
	if h.clear != nil {
		clearErr = h.clear.remove()
	}
	return errors.Join(clearErr, h.protection.Close())
}
