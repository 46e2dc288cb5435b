package gre

import (
	"errors"
	"io"
	"sync"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// half is one end of a tunnel that is up.
type half struct {
	path  tunnel.Path
	place tunnel.Place
	link  inner.Link
	added bool // The link is there.
	side  *inner.Side
	guard io.Closer // Nil: in clear.

	mu     sync.Mutex // Guards what follows.
	closed bool
	last   tunnel.Counters
}

var _ tunnel.Tunnel = (*half)(nil)

// Path is inside the session's namespace, by IPv4 where the tunnel has it.
func (h *half) Path() tunnel.Path { return h.path }

// Counters are the interface's, and the guard's of what it dropped, if it counts.
// A packet that the kernel handles in segments counts once. They hold after
// Close what they held before.
func (h *half) Counters() (tunnel.Counters, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.countLocked()
}

func (h *half) countLocked() (tunnel.Counters, error) {
	if h.closed {
		return h.last, nil
	}
	counters, err := h.guardCounters()
	if err != nil {
		return h.last, err
	}
	statistics, err := h.side.Statistics()
	if err != nil {
		return h.last, err
	}
	counters.OutPackets, counters.OutInnerBytes = statistics.TxPackets, statistics.TxBytes
	counters.InPackets, counters.InInnerBytes = statistics.RxPackets, statistics.RxBytes
	counters.SendRefused += statistics.TxErrors + statistics.TxDropped
	counters.Malformed += statistics.RxErrors
	counters.DeliverRefused += statistics.RxDropped
	h.last = counters
	return counters, nil
}

func (h *half) guardCounters() (tunnel.Counters, error) {
	counting, ok := h.guard.(interface {
		Counters() (tunnel.Counters, error)
	})
	if !ok {
		return tunnel.Counters{}, nil
	}
	return counting.Counters()
}

// Close reads the last counts while there is an interface, and removes what is
// there.
func (h *half) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	_, _ = h.countLocked() // An SA that has expired, say, must not stop the removal.
	h.closed = true
	return h.release()
}

// release removes the interface before the guard: what it sends must never leave
// unprotected. Open calls it for a half that is not complete.
func (h *half) release() error {
	var errs []error
	if h.side != nil {
		h.side.Close()
	}
	if h.added {
		errs = append(errs, h.link.Remove(h.place.Inner))
	}
	if h.guard != nil {
		errs = append(errs, h.guard.Close())
	}
	if h.place.Socket != nil {
		errs = append(errs, h.place.Socket.Close())
	}
	return errors.Join(errs...)
}
