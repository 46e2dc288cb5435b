package strongswan

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	retryPause = 250 * time.Millisecond // After a peer that is not there yet.
	settle     = 10 * time.Millisecond  // For the lines of one event to be one look.
	firstPause = 20 * time.Millisecond  // Of the first retries, which soon grows to retryPause.
)

// keeper keeps one charon's association up, and knows what it is. One end of a
// tunnel initiates, again and again until the peer is there; both would make
// two associations (RFC 7296, Section 2.8).
type keeper struct {
	charon    *charon
	initiates bool
	stopped   context.CancelFunc
	done      chan struct{}

	mu      sync.Mutex // Guards what follows.
	now     association
	problem error         // Why there is no association; nil where none is known.
	setup   time.Duration // From the first packet to the peer, to the association. 0: not by us.
	changed chan struct{} // Closed, and replaced, at each look.
}

// startKeeper starts the keeper's goroutine. It ends with stop or with charon.
func startKeeper(c *charon, initiates bool) *keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &keeper{charon: c, initiates: initiates, stopped: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(k.done)
		k.run(ctx)
	}()
	return k
}

func (k *keeper) stop() {
	k.stopped()
	<-k.done
}

// run looks at what charon has whenever its log grows, which it does not while
// traffic just passes.
func (k *keeper) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		now, err := k.charon.list(ctx)
		k.publish(now, err)
		switch {
		case k.charon.gone():
			return
		case k.initiates && !now.carries:
			// Also after what succeeded: a peer may delete each association at once.
			k.initiate(ctx)
			k.sleep(ctx, pause)
			pause = min(2*pause, retryPause)
		default:
			pause = firstPause
			k.awaitBell(ctx)
			k.sleep(ctx, settle)
		}
	}
}

// initiate negotiates once, and publishes why it failed.
func (k *keeper) initiate(ctx context.Context) {
	began := time.Now()
	if err := k.charon.initiate(ctx); err != nil {
		k.publish(association{}, err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.setup = time.Since(k.charon.journal.lastAsked(began))
}

func (k *keeper) awaitBell(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-k.charon.journal.bell:
	}
}

func (k *keeper) sleep(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-k.charon.ended:
	case <-time.After(pause):
	}
}

func (k *keeper) publish(now association, problem error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = now
	if problem != nil || now.carries {
		k.problem = problem
	}
	close(k.changed)
	k.changed = make(chan struct{})
}

// look returns what is known, and a channel that is closed when that changes.
func (k *keeper) look() (now association, changed <-chan struct{}, problem error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now, k.changed, k.problem
}

// await returns once the association is as wanted.
func (k *keeper) await(ctx context.Context, wanted func(association) bool) (association, error) {
	for {
		now, changed, problem := k.look()
		if wanted(now) {
			return now, nil
		}
		select {
		case <-changed:
		case <-k.charon.ended:
			return now, k.charon.failure()
		case <-k.done:
			return now, errClosed
		case <-ctx.Done():
			return now, waitError(ctx.Err(), problem)
		}
	}
}

func waitError(ended, problem error) error {
	if problem == nil || errors.Is(problem, context.Canceled) {
		return fmt.Errorf("%w: the peer's charon has not been heard", ended)
	}
	return fmt.Errorf("%w: %w", ended, problem)
}

func carries(a association) bool { return a.carries }
