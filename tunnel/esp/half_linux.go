package esp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"tunnelmark/tunnel"
)

// sendGrace is how long Close lets a send wait for room in the socket's buffer.
const sendGrace = time.Second

// half is one end of a tunnel that is up.
type half struct {
	path     tunnel.Path
	outer    *port
	reserved *net.UDPConn // Of the session's offer; nil where outer has taken its place.
	clear    *clearInterface
	sender   *sender
	receiver *receiver
	renewer  *renewer
	details  []tunnel.Detail // Of what does not change.
	out, in  ledger
	loops    sync.WaitGroup

	mu      sync.Mutex // Guards what follows.
	closed  bool
	drops   tunnel.Counters // Overruns, as last read.
	dropped uint32          // What the socket said then.
}

var (
	_ tunnel.Tunnel   = (*half)(nil)
	_ tunnel.Detailed = (*half)(nil)
	_ tunnel.Rekeyer  = (*half)(nil)
)

func (h *half) start() {
	h.sender.start(&h.loops)
	h.receiver.start(&h.loops)
	h.loops.Go(h.renewer.run)
}

// Path is inside the session's namespace, by IPv4 where the tunnel has it.
func (h *half) Path() tunnel.Path { return h.path }

// Rekey replaces the keys of both directions and says how long that took. It returns
// once a packet of the peer's has come under the new ones; where ctx ends before, it may
// still come to that later.
func (h *half) Rekey(ctx context.Context) (time.Duration, error) {
	return h.renewer.renew(ctx)
}

// Details say how the SAs are made, and how often they have been replaced so far.
func (h *half) Details() []tunnel.Detail {
	rekeys := h.renewer.generations.count()
	if rekeys == 0 {
		return h.details
	}
	return append(slices.Clone(h.details), tunnel.Detail{Name: "rekeyed", Value: fmt.Sprintf("%d times", rekeys)})
}

// Counters holds after Close what it held before.
func (h *half) Counters() (tunnel.Counters, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.readDropsLocked()
	return h.out.read().Add(h.in.read()).Add(h.drops), err
}

// readDropsLocked asks the kernel for what it dropped in queues of this end.
func (h *half) readDropsLocked() error {
	if h.closed {
		return nil
	}
	out, outErr := h.clear.drops()
	in, inErr := socketDrops(h.outer.fd)
	if err := errors.Join(outErr, inErr); err != nil {
		return err
	}
	h.drops.OutOverrun = out
	h.drops.InOverrun += uint64(in - h.dropped)
	h.dropped = in
	return nil
}

// Close stops in this order:
//
//  1. The renewer ends, and the workers stop reading: closing a descriptor under
//     them would lose the batch in hand, and count it as refused.
//  2. The loops end; nobody uses the descriptors any more.
//  3. The last counts are read, while there is a socket and an interface.
//  4. The socket is closed, so that the peer learns by ICMP that nobody is here,
//     and not by silence from behind an interface that is gone.
//  5. The interface is closed, which removes it.
func (h *half) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	stopErr := h.stop()
	h.loops.Wait()
	dropsErr := h.readDropsLocked()
	h.closed = true
	return errors.Join(stopErr, dropsErr, h.release())
}

// stop ends the loops.
func (h *half) stop() error {
	close(h.renewer.stopped)
	return errors.Join(h.clear.port.stop(0), h.outer.stop(sendGrace))
}

// release closes what is there: Open calls it for a half that is not complete.
func (h *half) release() error {
	var errs []error
	if h.outer != nil {
		errs = append(errs, h.outer.Close())
	}
	if h.reserved != nil {
		errs = append(errs, h.reserved.Close())
	}
	if h.clear != nil {
		errs = append(errs, h.clear.close())
	}
	return errors.Join(errs...)
}
