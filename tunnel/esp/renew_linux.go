package esp

import (
	"context"
	"fmt"
	"os"
	"time"

	"tunnelmark/tunnel"
)

// transmitter is what carries dummy packets to the outer network (outbox).
type transmitter interface {
	send(packets [][]byte, class byte) (refused []int)
	takeErrors() int
}

// renewer has the generations of one end renewed: it sends the dummy packets which they
// ask for, when they ask for them.
type renewer struct {
	generations *generations
	outer       transmitter
	ledger      *ledger
	stopped     chan struct{} // Closed to end run.
}

func newRenewer(g *generations, outer transmitter, l *ledger) *renewer {
	return &renewer{generations: g, outer: outer, ledger: l, stopped: make(chan struct{})}
}

// run ends when stopped is closed. A dummy packet that does not leave is one that is
// lost, and no inner packet: it is not counted.
func (r *renewer) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-r.generations.wake:
		case <-r.stopped:
			return
		}
		timer.Reset(r.generations.attend(r.send))
	}
}

func (r *renewer) send(dummies [][]byte) {
	r.outer.send(dummies, dummyClass)
	r.ledger.add(tunnel.Counters{OuterErrors: uint64(r.outer.takeErrors())})
}

// renew replaces the keys of both directions and returns once a packet of the peer's
// has come under the new ones. Where ctx ends before, it may still come to that later.
func (r *renewer) renew(ctx context.Context) (time.Duration, error) {
	if !r.generations.keyed {
		return 0, fmt.Errorf("rekey: the suite has no keys: %w", tunnel.ErrNotSupported)
	}
	began := time.Now()
	select {
	case <-r.generations.demand():
		return time.Since(began), nil
	case <-r.stopped:
		return 0, fmt.Errorf("rekey: this end is closed: %w", os.ErrClosed)
	case <-ctx.Done():
		return 0, fmt.Errorf("rekey: nothing came from the peer under new keys: %w", context.Cause(ctx))
	}
}
