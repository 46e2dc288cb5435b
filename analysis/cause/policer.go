package cause

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"tunnelmark/analysis"
)

const (
	// flatWithin is how far apart the plateaus at different heights of overload
	// may be. A policer passes the same within 0.5 % at 110, 150 and 200 %.
	flatWithin = 0.005
	// leastHeights of overload, since one alone shows no flatness.
	leastHeights = 2
	// leastHeight and mostHeight bound what counts as an overload, as multiples
	// of the plateau.
	leastHeight, mostHeight = 1.1, 2.05
	// lessWithin and moreWithin are how well the loss must be what the rate
	// leaves over. It may be more, since a stalled host forfeits what a full
	// bucket cannot hold: 1 to 3 % through tunnels in user space.
	lessWithin, moreWithin = 0.01, 0.03
	// bucketDoubt is by how much of itself a bucket may be misread.
	bucketDoubt = 0.2
	// delayGrowth is how much longer packets may take under overload. The least
	// delay of a window of 20 ms needs only one packet that nothing held up, so
	// that scheduling does not show, and clocks drift by less than 0.1 ms in a
	// trial; but a queue in front of 350 Mbps grows by 1 ms with 44 KB in it.
	delayGrowth = time.Millisecond
	// leastBucket is more than the packet or two that any queue holds.
	leastBucket = 2
	// kneeWithin is how near 99 % and 101 % a load must be to stand for them.
	kneeBelow, kneeAbove = 0.985, 1.005
)

// policerEvidence is what decides for a policer.
func policerEvidence(c analysis.Ceiling) []analysis.Evidence {
	return []analysis.Evidence{flatness(c), lossLaw(c), delay(c)}
}

// flatness is how far apart the plateaus are. Where the windows of a reading
// differ much, the host stalled an end: that reading says nothing.
func flatness(c analysis.Ceiling) analysis.Evidence {
	steady := slices.DeleteFunc(slices.Clone(c.Overloads), analysis.Plateau.Unsteady)
	e := analysis.Evidence{
		Signal: fmt.Sprintf("largest difference from the plateau of the rates that pass at %d heights of overload", len(steady)), Unit: "ratio", Value: 1,
		Threshold: fmt.Sprintf("at most %g, at %d heights or more", flatWithin, leastHeights), For: analysis.Policer,
	}
	if len(steady) < leastHeights || c.Plateau == nil {
		return e
	}
	e.Value = 0
	for _, p := range steady {
		e.Value = max(e.Value, math.Abs(p.InnerBitsPerSecond/c.Plateau.InnerBitsPerSecond-1))
	}
	e.Holds = e.Value <= flatWithin
	return e
}

// lossLaw is at how many heights of overload exactly that was lost which the
// plateau leaves over. A height at which more was lost speaks for a stalled host,
// which forfeits what a full bucket cannot hold; one at which less was lost speaks
// against a policer.
func lossLaw(c analysis.Ceiling) analysis.Evidence {
	kept, less := 0, 0
	for _, t := range overloads(c) {
		switch l := lawOf(c, t); {
		case l.loss < l.least:
			less++
		case l.loss <= l.most:
			kept++
		}
	}
	return analysis.Evidence{
		Signal: "trials under overload that lost exactly what the plateau leaves over", Unit: "count", Value: float64(kept),
		Threshold: fmt.Sprintf("at least %d, and none that lost less (%d did)", leastHeights, less),
		Holds:     kept >= leastHeights && less == 0, For: analysis.Policer,
	}
}

// lossEvidence lists what each overload lost.
func lossEvidence(c analysis.Ceiling) []analysis.Evidence {
	var all []analysis.Evidence
	for _, t := range overloads(c) {
		l := lawOf(c, t)
		all = append(all, analysis.Evidence{
			Signal: fmt.Sprintf("loss, and what the bucket took in, at %.2f times the plateau", l.height),
			Unit:   "ratio", Value: l.loss,
			Threshold: fmt.Sprintf("%.4f to %.4f (one less plateau over load)", l.least, l.most),
			Holds:     l.least <= l.loss && l.loss <= l.most, For: analysis.Policer,
		})
	}
	return all
}

// law is what a policer loses of an overload: what the plateau leaves over.
type law struct {
	height      float64 // Load over plateau, while the sender ran.
	loss        float64 // What was lost, and what the bucket took in.
	least, most float64
}

// lawOf holds a trial against that law. While the host keeps the sender off the
// CPU the bucket fills: then less is lost than the load at other times leaves over,
// but never less than the mean load does.
func lawOf(c analysis.Ceiling, t analysis.Trial) law {
	plateau := c.Plateau.InnerBitsPerSecond
	took := bucketShare(c, t)
	doubt := bucketDoubt * took
	return law{
		height: t.InnerOnCPUBitsPerSecond() / plateau,
		loss:   t.LossRatio() + took,
		least:  1 - plateau/t.InnerSentBitsPerSecond() - lessWithin - doubt,
		most:   1 - plateau/t.InnerOnCPUBitsPerSecond() + moreWithin + doubt,
	}
}

// overloads are the trials behind the plateau, of a height that counts.
func overloads(c analysis.Ceiling) []analysis.Trial {
	if c.Plateau == nil {
		return nil
	}
	var trials []analysis.Trial
	for _, s := range c.Steps {
		ratio := s.Trial.InnerOnCPUBitsPerSecond() / c.Plateau.InnerBitsPerSecond
		if s.Purpose == analysis.Plateaus && ratio >= leastHeight && ratio <= mostHeight && s.Trial.LossRatio() > 0.05 {
			trials = append(trials, s.Trial)
		}
	}
	return trials
}

// bucketShare is which share of a trial's packets the bucket took in.
func bucketShare(c analysis.Ceiling, t analysis.Trial) float64 {
	if c.Bucket == nil || t.Sent == 0 || t.OuterSize == 0 {
		return 0
	}
	return c.Bucket.OuterBytes / (float64(t.Sent) * float64(t.OuterSize))
}

// delay is how much longer packets take under overload than just below the
// ceiling, which differs most for a queue.
func delay(c analysis.Ceiling) analysis.Evidence {
	e := analysis.Evidence{
		Signal: "growth of the typical window's least delay from below the ceiling to overload", Unit: "s",
		Threshold: fmt.Sprintf("at most %g ms", delayGrowth.Seconds()*1000), For: analysis.Policer,
	}
	var over []time.Duration
	for _, t := range overloads(c) {
		over = append(over, typicalDelay(t)...)
	}
	below, found := belowCeiling(c)
	if len(over) == 0 {
		e.Signal += " (not measured)"
		return e
	}
	grown := middle(over)
	if found {
		grown -= middle(typicalDelay(below))
	}
	e.Value, e.Holds = grown.Seconds(), grown <= delayGrowth
	return e
}

// typicalDelay are the least delays of a trial's windows.
func typicalDelay(t analysis.Trial) []time.Duration {
	delays := make([]time.Duration, 0, len(t.Windows))
	for _, w := range t.Windows {
		delays = append(delays, w.MinDelay)
	}
	return delays
}

func middle(ds []time.Duration) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[len(ds)/2]
}

// belowCeiling is the highest load below the figure that met the goal.
func belowCeiling(c analysis.Ceiling) (best analysis.Trial, ok bool) {
	for _, s := range c.Steps {
		t := s.Trial
		sent := t.InnerSentBitsPerSecond()
		if t.LossRatio() > c.LossGoal || sent > c.InnerBitsPerSecond || len(t.Windows) == 0 {
			continue
		}
		if !ok || sent > best.InnerSentBitsPerSecond() {
			best, ok = t, true
		}
	}
	return best, ok
}

// kneeEvidence is what a policer shows at its knee and with bursts: listed, not
// decisive.
func kneeEvidence(c analysis.Ceiling) []analysis.Evidence {
	var all []analysis.Evidence
	if c.Plateau == nil {
		return nil
	}
	if t, ok := confirmed(c, kneeBelow, 1); ok {
		all = append(all, analysis.Evidence{
			Signal: "loss just below the plateau, at 99 %", Unit: "ratio", Value: t.LossRatio(),
			Threshold: fmt.Sprintf("at most %g", c.LossGoal), Holds: t.LossRatio() <= c.LossGoal, For: analysis.Policer,
		})
	}
	if t, ok := confirmed(c, kneeAbove, 1.3); ok {
		all = append(all, lossAbove(c, t))
	}
	all = append(all, analysis.Evidence{
		Signal: "spread of the rates of the receive windows under overload", Unit: "ratio", Value: c.Plateau.Spread,
		Threshold: fmt.Sprintf("at most %g", analysis.SteadySpread), Holds: !c.Plateau.Unsteady(), For: analysis.Policer,
	})
	return append(all, bucketEvidence(c))
}

// lossAbove holds the load just above the plateau against the same law.
func lossAbove(c analysis.Ceiling, t analysis.Trial) analysis.Evidence {
	took := bucketShare(c, t)
	ratio := t.InnerSentBitsPerSecond() / c.Plateau.InnerBitsPerSecond
	expected := 1 - 1/ratio
	tolerance := max(expected/2, 0.002) + bucketDoubt*took
	return analysis.Evidence{
		Signal: fmt.Sprintf("loss, and what the bucket took in, just above the plateau, at %.1f %%", 100*ratio),
		Unit:   "ratio", Value: t.LossRatio() + took,
		Threshold: fmt.Sprintf("%.4f, within %.4f", expected, tolerance),
		Holds:     math.Abs(t.LossRatio()+took-expected) <= tolerance, For: analysis.Policer,
	}
}

// confirmed is the confirming trial between two multiples of the plateau which
// lost least: what the host spoilt lost more.
func confirmed(c analysis.Ceiling, from, to float64) (analysis.Trial, bool) {
	var trials []analysis.Trial
	for _, s := range c.Steps {
		ratio := s.Trial.InnerSentBitsPerSecond() / c.Plateau.InnerBitsPerSecond
		if s.Purpose == analysis.Confirm && ratio > from && ratio < to {
			trials = append(trials, s.Trial)
		}
	}
	if len(trials) == 0 {
		return analysis.Trial{}, false
	}
	return slices.MinFunc(trials, func(a, b analysis.Trial) int { return cmp.Compare(a.LossRatio(), b.LossRatio()) }), true
}

// bucketEvidence is whether short bursts pass whole at first.
func bucketEvidence(c analysis.Ceiling) analysis.Evidence {
	e := analysis.Evidence{
		Signal: "what passes of a burst before its first loss, beyond the rate", Unit: "B",
		Threshold: fmt.Sprintf("more than %d packets", leastBucket), For: analysis.Policer,
	}
	if c.Bucket == nil {
		e.Signal += " (not measured)"
		return e
	}
	e.Value = c.Bucket.OuterBytes
	e.Holds = e.Value > leastBucket*float64(c.OuterSize)
	return e
}
