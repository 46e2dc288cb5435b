package esp

import (
	"sync"

	"tunnelmark/tunnel"
)

// ledger holds the totals of one direction. Its loop adds once for each batch,
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
	l.total = sum(l.total, batch)
}

func (l *ledger) read() tunnel.Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

func sum(a, b tunnel.Counters) tunnel.Counters {
	return tunnel.Counters{
		OutPackets:     a.OutPackets + b.OutPackets,
		OutInnerBytes:  a.OutInnerBytes + b.OutInnerBytes,
		InPackets:      a.InPackets + b.InPackets,
		InInnerBytes:   a.InInnerBytes + b.InInnerBytes,
		Malformed:      a.Malformed + b.Malformed,
		UnknownSPI:     a.UnknownSPI + b.UnknownSPI,
		BadICV:         a.BadICV + b.BadICV,
		Replayed:       a.Replayed + b.Replayed,
		WrongSelectors: a.WrongSelectors + b.WrongSelectors,
		SendRefused:    a.SendRefused + b.SendRefused,
		DeliverRefused: a.DeliverRefused + b.DeliverRefused,
		OutOverrun:     a.OutOverrun + b.OutOverrun,
		InOverrun:      a.InOverrun + b.InOverrun,
		OuterErrors:    a.OuterErrors + b.OuterErrors,
	}
}
