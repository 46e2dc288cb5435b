package control

import (
	"net/netip"
	"sync"
	"time"
)

// Attempts to pair: so many at once, then one per interval, from one source.
// The secret cannot be guessed; this protects the agent's disk and log.
const (
	attemptBurst    = 10
	attemptInterval = 3 * time.Second
	maxSources      = 256 // Beyond it all further sources share one allowance.
)

// attempts limits the attempts to pair. Its zero value is ready; its methods may
// be called from several goroutines at once.
type attempts struct {
	mu sync.Mutex // Guards full.
	// full is when a source has its whole allowance again: an attempt costs
	// one interval (the generic cell rate algorithm, ITU-T I.371).
	full map[netip.Addr]time.Time
}

// allow says whether the source may try now.
func (a *attempts) allow(source netip.Addr, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	source = a.slotLocked(network(source), now)
	full := a.full[source]
	if full.Before(now) {
		full = now
	}
	full = full.Add(attemptInterval)
	if full.Sub(now) > attemptBurst*attemptInterval {
		return false
	}
	a.full[source] = full
	return true
}

// slotLocked returns the key under which a source is counted, the zero address
// where the table is full.
func (a *attempts) slotLocked(source netip.Addr, now time.Time) netip.Addr {
	if a.full == nil {
		a.full = make(map[netip.Addr]time.Time)
	}
	if _, known := a.full[source]; known || len(a.full) < maxSources {
		return source
	}
	for other, full := range a.full {
		if !full.After(now) {
			delete(a.full, other)
		}
	}
	if len(a.full) < maxSources {
		return source
	}
	return netip.Addr{}
}

// network is what one source can choose its address from: an IPv6 host owns a
// whole /64.
func network(source netip.Addr) netip.Addr {
	source = source.Unmap()
	if !source.Is6() {
		return source
	}
	return netip.PrefixFrom(source, 64).Masked().Addr()
}
