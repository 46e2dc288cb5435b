package latency

import (
	"fmt"
	"slices"
	"time"
)

// Guard judges by a prober's samples whether a load must stop. It knows no clock but
// theirs.
//
// A condition on rtt holds when more than half of the pings of the last 50 ms, and of
// the last five, exceed it: their median does. A ping without an answer counts from
// when it is older than the limit. So one hiccup that meets two pings passes, and the
// third stops the load, 20 ms after the first at a ping each 10 ms.
//
// A condition on loss holds when of the pings of a second at least two were lost, and
// their share exceeds it; or when the last five all were, which is a share of 100 %. A
// ping counts as lost when one that was sent 30 ms and three pings later has been
// answered (as in RFC 8985: late by more than reordering explains); or when it has had
// no answer for 75 ms and twice the longest round trip of the last 3 s, and for 2 s at
// most. One that is answered after all was not lost.
//
// A ping that the local stack refused counts as one that is not answered: a guard that
// sees nothing must not let the load go on.
//
// A Guard judges when a sample comes: at each ping that is sent, at the latest. Whoever
// runs the load must also stop it when the prober ends.
type Guard struct {
	conditions []Condition
	every      time.Duration
	pings      []watched // A ring, by sequence number.
	next       uint64    // Sequence number of the next ping.
	now        time.Duration
	over       []time.Duration // Room for slow.
	stopped    *Stopped
}

const (
	// MostGuardEvery is the longest interval between pings with which a guard is
	// quick enough: a load must stop within 200 ms.
	MostGuardEvery = 20 * time.Millisecond

	medianOf       = 50 * time.Millisecond
	leastMedianOf  = 5
	lossOf         = time.Second
	leastLost      = 2
	allLost        = 5
	reordered      = 30 * time.Millisecond
	reorderedPings = 3
	unanswered     = 75 * time.Millisecond
	// remembered is how far back a guard sees: the window for loss, and before it the
	// pings that may yet be answered.
	remembered = lossOf + 2*MaxRTTLimit
)

// watched is what a guard knows of one ping.
type watched struct {
	sent, rtt time.Duration
	answered  bool
}

// NewGuard guards a load beside a prober that pings in this interval, at most
// MostGuardEvery. It stops it when one of the conditions holds.
func NewGuard(every time.Duration, conditions ...Condition) (*Guard, error) {
	if every < LeastEvery || every > MostGuardEvery {
		return nil, fmt.Errorf("guard a load by a ping every %v: allowed are %v to %v", every, LeastEvery, MostGuardEvery)
	}
	for _, c := range conditions {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("guard a load: %w", err)
		}
	}
	return &Guard{conditions: slices.Clone(conditions), every: every, pings: make([]watched, remembered/every)}, nil
}

// Stopped says why a guard stopped a load.
type Stopped struct {
	Condition Condition
	// RTT is the median that a condition on rtt met: at least so much, since pings that
	// are not answered count by their age. LossRatio, 0 to 1, is what one on loss met.
	RTT       time.Duration
	LossRatio float64
	// At is when, since the prober's first interval began.
	At time.Duration
}

// Error is a whole sentence.
func (s *Stopped) Error() string {
	observed := "the median round trip of the last pings was at least " + s.RTT.Round(10*time.Microsecond).String()
	if s.Condition.Metric == Loss {
		observed = percent(s.LossRatio) + " of the last pings were lost"
	}
	return fmt.Sprintf("the load was stopped after %v because %s held: %s", s.At.Round(time.Millisecond), s.Condition, observed)
}

// Take judges anew with a sample. It returns a *Stopped as soon as a condition holds,
// and from then on.
func (g *Guard) Take(s Sample) error {
	if g.stopped == nil && g.note(s) {
		g.judge()
	}
	if g.stopped == nil {
		return nil // Not a nil *Stopped in an error.
	}
	return g.stopped
}

// note says whether the sample is of a ping that the guard remembers.
func (g *Guard) note(s Sample) bool {
	g.now = max(g.now, s.At)
	switch {
	case !s.Answered && s.Sequence == g.next:
		g.next++
		*g.ping(s.Sequence) = watched{sent: s.Sent}
		return true
	case s.Answered && s.Sequence < g.next && g.next-s.Sequence <= uint64(len(g.pings)):
		*g.ping(s.Sequence) = watched{sent: s.Sent, rtt: s.RTT, answered: true}
		return true
	}
	return false
}

func (g *Guard) ping(sequence uint64) *watched { return &g.pings[sequence%uint64(len(g.pings))] }

// remembers says whether there is a ping so many before the next one.
func (g *Guard) remembers(back uint64) bool { return back <= min(g.next, uint64(len(g.pings))) }

func (g *Guard) judge() {
	for _, c := range g.conditions {
		var rtt time.Duration
		var ratio float64
		var holds bool
		if c.Metric == RTT {
			rtt, holds = g.slow(c)
		} else {
			ratio, holds = g.lossy(c)
		}
		if holds {
			g.stopped = &Stopped{Condition: c, RTT: rtt, LossRatio: ratio, At: g.now}
			return
		}
	}
}

// slow judges a condition on rtt, and returns the median.
func (g *Guard) slow(c Condition) (median time.Duration, holds bool) {
	of := max(leastMedianOf, int(medianOf/g.every))
	over, known := g.over[:0], 0
	for back := uint64(1); g.remembers(back) && known < of; back++ {
		p := g.ping(g.next - back)
		rtt := p.rtt
		if !p.answered {
			rtt = g.now - p.sent // At least.
		}
		exceeded := exceeds(rtt, c.RTT, c.OrEqual)
		if !p.answered && !exceeded {
			continue // It may yet be answered in time.
		}
		known++
		if exceeded {
			over = append(over, rtt)
		}
	}
	g.over = over
	if len(over) <= of/2 {
		return 0, false
	}
	// Those that do not exceed it are less than those that do.
	slices.Sort(over)
	return over[len(over)-1-of/2], true
}

// lossy judges a condition on loss, and returns the share.
func (g *Guard) lossy(c Condition) (ratio float64, holds bool) {
	var known, lost int
	// When the newest ping was sent that was answered, and the newest that is known.
	answered, newest := -remembered, time.Duration(0)
	patience := g.patience()
	for back := uint64(1); g.remembers(back); back++ {
		p := g.ping(g.next - back)
		overtaken := answered-p.sent >= max(reordered, reorderedPings*g.every)
		switch {
		case p.answered:
			answered = max(answered, p.sent)
		case !overtaken && g.now-p.sent <= patience:
			continue // It may yet be answered.
		}
		if known == 0 {
			newest = p.sent
		}
		if newest-p.sent >= lossOf {
			break
		}
		known++
		if !p.answered {
			lost++
		}
		if lost == allLost && known == allLost {
			return 1, true
		}
	}
	ratio = float64(lost) / float64(max(known, int(lossOf/g.every)))
	return ratio, lost >= leastLost && exceeds(ratio, c.LossRatio, c.OrEqual)
}

// patience is how long the answer to a ping may take.
func (g *Guard) patience() time.Duration {
	longest := time.Duration(0)
	for back := uint64(1); g.remembers(back); back++ {
		longest = max(longest, g.ping(g.next-back).rtt)
	}
	return min(unanswered+2*longest, 2*MaxRTTLimit)
}
