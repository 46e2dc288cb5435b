package esp

import (
	"sync"

	"tunnelmark/tunnel"
)

// ledger holds the totals of one direction. Workers add once for each batch,
// so that the lock costs nothing that shows, and readers see totals of whole
// batches: packets that agree with bytes, which one atomic for each would not
// give.
type ledger struct {
	mu    sync.Mutex
	total tunnel.Counters // Guarded by mu.
	_     [64]byte        // The loops' ledgers do not share a cache line.
}

func (l *ledger) add(batch tunnel.Counters) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total = l.total.Add(batch)
}

func (l *ledger) read() tunnel.Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}
