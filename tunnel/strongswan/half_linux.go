package strongswan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

const (
	versionPatience = 10 * time.Second
	portTaken       = "unable to bind socket" // What charon says of it (socket_default_socket.c).
)

var errClosed = fmt.Errorf("this half is closed: %w", os.ErrClosed)

// half is one end of a tunnel that is up, or is being negotiated.
type half struct {
	spec      tunnel.Spec
	userSpace bool
	path      tunnel.Path
	charon    *charon
	version   string
	clear     clearSide
	side      *interfaceSide
	keeper    *keeper

	mu     sync.Mutex // Guards what follows.
	closed bool
	last   tunnel.Counters
	rekey  time.Duration // How long the last one took.
}

var (
	_ tunnel.Tunnel   = (*half)(nil)
	_ tunnel.Awaiter  = (*half)(nil)
	_ tunnel.Detailed = (*half)(nil)
	_ tunnel.Rekeyer  = (*half)(nil)
)

func (h *half) startCharon(ctx context.Context, found programs, place tunnel.Place, files map[string][]byte) (err error) {
	outer := h.spec.Local.Outer
	d := daemon{userSpace: h.userSpace, port: outer.Port(), ipv6: !outer.Addr().Unmap().Is4()}
	if h.charon, err = startCharon(ctx, found, place.Outer, d, files); err != nil {
		return err
	}
	if line := h.charon.journal.find(portTaken); line != "" {
		return fmt.Errorf("start charon: port %d: %s", outer.Port(), line)
	}
	h.version, err = h.charon.version(ctx)
	return err
}

// begin starts to negotiate over a clear side that is ready.
func (h *half) begin() error {
	h.path = inner.Path(h.side.namespace, h.side.name, h.spec)
	h.keeper = startKeeper(h.charon, h.spec.Local.Outer.Compare(h.spec.Remote.Outer) < 0)
	return nil
}

// Path is inside the session's namespace, by IPv4 where the tunnel has it.
func (h *half) Path() tunnel.Path { return h.path }

// Await returns once both ends have negotiated their SAs. The error of one that
// did not come to that quotes what charon says.
func (h *half) Await(ctx context.Context) error {
	if _, err := h.keeper.await(ctx, carries); err != nil {
		return fmt.Errorf("negotiate with %s by IKEv2: %w", h.spec.Remote.Outer, err)
	}
	return nil
}

// Rekey negotiates new SAs with the peer and says how long that took, from the
// order to their use.
func (h *half) Rekey(ctx context.Context) (time.Duration, error) {
	before, err := h.keeper.await(ctx, carries)
	if err != nil {
		return 0, fmt.Errorf("rekey: %w", err)
	}
	began := time.Now()
	if err := h.charon.rekey(ctx); err != nil {
		return 0, fmt.Errorf("rekey: %w", err)
	}
	renewed := func(a association) bool { return a.carries && a.child.spiIn != before.child.spiIn }
	if _, err := h.keeper.await(ctx, renewed); err != nil {
		return 0, fmt.Errorf("rekey: %w", err)
	}
	took := time.Since(began)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rekey = took
	return took, nil
}

// Details are charon's version and what has been negotiated so far.
func (h *half) Details() []tunnel.Detail {
	esp := "of the kernel"
	if h.userSpace {
		esp = "of charon in user space (kernel-libipsec)"
	}
	details := []tunnel.Detail{{Name: "charon", Value: h.version}, {Name: "ESP", Value: esp}}
	details = append(details, h.keeper.details()...)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rekey > 0 {
		details = append(details, tunnel.Detail{Name: "rekey time", Value: h.rekey.Round(time.Millisecond).String()})
	}
	return details
}

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
	var stopErr, removeErr error
	if h.keeper != nil {
		h.keeper.stop()
	}
	if h.charon != nil {
		stopErr = h.charon.stop()
	}
	if h.side != nil {
		h.side.Close()
	}
	if h.clear != nil {
		removeErr = h.clear.remove()
	}
	return errors.Join(stopErr, removeErr)
}
