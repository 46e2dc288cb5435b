package search

import (
	"context"
	"math"
	"time"

	"tunnelmark/analysis"
)

const (
	// climbFor is the length of a trial on the way up, which bounds what one load
	// too many costs. From 1 Mbps to 1 Gbps there are 73 steps of a tenth: 18 s of
	// traffic in all. Slow loads take longer, to consist of some ninety packets of
	// 1400 bytes, but not for ever.
	climbFor     = leastTrial
	climbBits    = 1e6
	longestClimb = 500 * time.Millisecond
	// onward is the least gain of a step; without it, the generator is at its end.
	onward = 1.01

	// lossyOverrun is kept free, since a lossy trial may last a little longer than
	// asked: by a packet, or by a train that the host delayed.
	lossyOverrun = 50 * time.Millisecond
	leastLossy   = leastTrial + lossyOverrun
	// rest after a load that missed lets queues drain, and other traffic take back
	// what it gave up.
	rest = time.Second
	// queued is by how much the delay may grow within a trial: more is a queue that
	// others have to wait in, too, long before it loses anything.
	queued = 5 * time.Millisecond
	// fewestWindows make a reading of a short trial worth a guess, and so do
	// fewestLate packets after its first loss.
	fewestWindows = 3
	fewestLate    = 20
	// fewestLost packets tell a floor from chance.
	fewestLost = 3
)

// climbing is the manner of climb: up to the first load that misses, between it
// and the last clean one, and a qualification there.
func (f *finder) climbing() []step {
	return []step{f.climb, f.closeIn, f.stepBack, f.qualify}
}

// climb goes up from the least load, each load a bounded share above the highest
// that was clean, until one misses twice, the generator gives in, or the options
// allow no more.
func (f *finder) climb(ctx context.Context) error {
	load, idle := f.opts.MinInnerBitsPerSecond, 0
	for {
		clean := f.bounds.lower()
		ok, t, err := f.attempt(ctx, analysis.Explore, load, climbTime(load), mostAttempts-1)
		if err != nil || !ok {
			return err
		}
		f.learnFloor()
		if load >= f.opts.MaxInnerBitsPerSecond && t.Valid() {
			return nil
		}
		if idle++; f.bounds.lower() > clean*onward {
			idle = 0
		}
		if idle == mostAttempts {
			f.limited = true
			return nil
		}
		load = f.opts.clamp(f.bounds.lower() * f.opts.Overload)
	}
}

// climbTime is how long a load on the way up lasts.
func climbTime(load float64) time.Duration {
	return min(max(climbFor, seconds(climbBits/load)), longestClimb)
}

// closeIn narrows the interval between the highest clean load and the one that
// missed: at what passed of the latter if that is a guess worth trying, else half
// way. The nearer the loads, the longer they last, to run the same bucket dry; but
// one of them may cost no more than half of the lossy time, less the share that the
// qualification needs.
func (f *finder) closeIn(ctx context.Context) error {
	before := math.Inf(1)
	for f.bounds.width() > f.width() && f.bounds.width() < before {
		before = f.bounds.width()
		lower := f.bounds.lower()
		load := lower * (1 + f.bounds.width()/2)
		if guess := f.estimate * (1 - f.width()/2); guess > lower*(1+f.width()/4) {
			load = min(load, guess)
		}
		spare := (f.lossyLeft() - f.opts.Lossy/4) / 2
		if spare < leastTrial {
			return errSpent
		}
		long := seconds(climbFor.Seconds() * (f.opts.Overload - 1) / (load/lower - 1))
		if _, _, err := f.attempt(ctx, analysis.Bisect, load, min(long, spare), 1); err != nil {
			return err
		}
	}
	return nil
}

// attempt settles one load and adds it to the bounds: it is clean, or was not in so
// many trials, between which the path rests.
func (f *finder) attempt(ctx context.Context, p analysis.Purpose, inner float64, d time.Duration, times int) (bool, analysis.Trial, error) {
	var t analysis.Trial
	for range times {
		var err error
		if t, err = f.paced(ctx, p, inner, d); err != nil {
			return false, t, err
		}
		if f.clean(t) {
			f.bounds.add(t.InnerSentBitsPerSecond(), true)
			return true, t, nil
		}
		f.guess(t)
	}
	f.bounds.add(t.InnerSentBitsPerSecond(), false)
	return false, t, nil
}

// clean says that a load hurt nobody: it was not lossy, and no queue grew under it.
func (f *finder) clean(t analysis.Trial) bool {
	growth, _ := t.DelayGrowth()
	return t.Sent > 0 && !t.Lossy(f.found.LossGoal) && growth <= queued
}

// guess takes the estimate from what passed of a load that missed: in its typical
// windows, or where those are too few since its first loss, when a bucket has run
// dry. Beside other traffic it is too high, since that loses its share as well.
func (f *finder) guess(t analysis.Trial) {
	if r := read(t); r.used >= fewestWindows {
		f.estimate = r.inner
	} else if late := sinceFirstLoss(t); late > 0 {
		f.estimate = late
	}
}

// sinceFirstLoss is the inner rate that arrived after a trial's first loss, bit/s;
// zero where too few packets did.
func sinceFirstLoss(t analysis.Trial) float64 {
	if t.FirstLoss == nil || len(t.Windows) == 0 || t.Received < t.FirstLoss.Packets+fewestLate {
		return 0
	}
	late := t.Windows[len(t.Windows)-1].End - t.FirstLoss.After
	if late <= 0 {
		return 0
	}
	return float64(t.Received-t.FirstLoss.Packets) * float64(t.InnerSize) * 8 / late.Seconds()
}

// learnFloor reads what the path loses by itself from all loads that were no more
// than half of one that was clean since, and raises the goal above it. The goal
// does not fall again: what was allowed once does not become lossy later.
func (f *finder) learnFloor() {
	var sent, lost uint64
	for _, s := range f.found.Steps {
		if s.Trial.InnerSentBitsPerSecond() <= floorShare*f.bounds.lower() {
			sent, lost = sent+s.Trial.Sent, lost+s.Trial.Lost()
		}
	}
	if lost < fewestLost || float64(sent) < fewestLost/f.opts.LossGoal {
		return
	}
	f.found.LossFloor = float64(lost) / float64(sent)
	f.found.LossGoal = max(f.found.LossGoal, min(floorTimes*f.found.LossFloor, floorGoal))
}

// stepBack forgets loads that were clean above the estimate, since a bucket let
// them pass, and leaves the one just below it to be qualified.
func (f *finder) stepBack(context.Context) error {
	if below := f.estimate * (1 - f.width()/2); f.estimate > 0 && f.bounds.lower() > below {
		f.bounds.lowerTo(below)
	}
	return nil
}

// sustainGently qualifies one load in as many trials as the lossy time that is left
// asks for: each of them could turn out to be lossy, and a lower load shall still
// have its turn then.
func (f *finder) sustainGently(ctx context.Context, load float64) (bool, error) {
	var held time.Duration
	var sent, lost uint64
	offered := load
	for held < qualifyFor {
		long := max(min(qualifyFor-held, f.lossyLeft()*2/3), leastTrial)
		t, err := f.paced(ctx, analysis.Qualify, load, long)
		if err != nil {
			return false, err
		}
		if !f.clean(t) {
			f.bounds.add(min(load, t.InnerSentBitsPerSecond()), false)
			f.guess(t)
			return false, f.stepBack(ctx)
		}
		offered = min(offered, t.InnerSentBitsPerSecond())
		held, sent, lost = held+t.Elapsed, sent+t.Sent, lost+t.Lost()
	}
	f.bounds.lowerTo(offered)
	f.found.Qualified, f.heldLoss = true, float64(lost)/float64(sent)
	return true, nil
}

// lossyLeft is for how long loads may still be lossy.
func (f *finder) lossyLeft() time.Duration {
	return f.opts.Lossy - lossyOverrun - f.found.LossyTime()
}
