package agent

import (
	"maps"
	"slices"
	"sync"

	"tunnelmark/tunnel"
)

// Tunnels is what the tunnels of each driver have counted since the agent began.
// Sessions that have ended stay in it, so no count goes back. A driver that has
// built none, or cannot count, is not in it.
func (a *Agent) Tunnels() map[string]tunnel.Counters {
	a.mu.Lock()
	totals, live := maps.Clone(a.ended), slices.Collect(maps.Values(a.sessions))
	a.mu.Unlock()
	for _, s := range live {
		s.tally.addTo(totals, s.driverName)
	}
	return totals
}

// tally is what a session's tunnels have counted. It can be read at any time: while
// a trial uses them, and when they are gone.
type tally struct {
	mu     sync.Mutex      // Held while they are asked: an older answer must not follow a newer one.
	half   tunnel.Tunnel   // Nil before they are there, and after.
	last   tunnel.Counters // As they answered last.
	counts bool            // They have answered: not every driver can.
}

func (t *tally) begin(half tunnel.Tunnel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.half = half
}

// end asks for the last time. The tunnels may be closed after it.
func (t *tally) end() tunnel.Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.askLocked()
	t.half = nil
	return t.last
}

func (t *tally) addTo(totals map[string]tunnel.Counters, driver string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.askLocked()
	if t.counts {
		totals[driver] = totals[driver].Add(t.last)
	}
}

// askLocked keeps the last answer where there is none now.
func (t *tally) askLocked() {
	if t.half == nil {
		return
	}
	if counters, err := t.half.Counters(); err == nil {
		t.last, t.counts = counters, true
	}
}
