package search

import (
	"context"
	"math"
	"time"

	"tunnelmark/analysis"
)

const (
	// around the estimate, loads are confirmed.
	around = 0.01
	// holdFor is how long a load is held to be settled, longestHold where a
	// bucket must run dry first.
	holdFor     = time.Second
	descendFor  = 500 * time.Millisecond
	longestHold = 5 * time.Second
	// dry is how many times the bucket's time to run dry a load above the
	// plateau must last to show its loss.
	dry = 2.5

	// roughly is how much wider an interval may be that lies below a flat limit:
	// what passes there depends on how evenly packets happen to arrive.
	roughly = 10

	qualifyFor      = 4 * time.Second
	leastQualifying = time.Second
)

// confirm tries 1 % below and above the estimate. Where the one misses the goal
// the search goes down, where the other meets it up, in steps that double.
func (f *finder) confirm(ctx context.Context) error {
	if f.estimate == 0 {
		return f.confirmTop(ctx)
	}
	ok, _, err := f.measure(ctx, analysis.Confirm, (1-around)*f.estimate, holdFor)
	if err != nil {
		return err
	}
	okAbove, err := f.confirmAbove(ctx)
	switch {
	case err != nil:
		return err
	case !ok:
		return f.descend(ctx)
	case okAbove:
		return f.ascend(ctx)
	}
	return nil
}

// confirmAbove reports whether a load above the estimate met the goal. Where the
// bucket may have taken in the excess, since the host sent less than asked, it
// tries twice as high.
func (f *finder) confirmAbove(ctx context.Context) (bool, error) {
	by := f.aboveBy(around)
	for range 2 {
		load := (1 + by) * f.estimate
		ok, _, err := f.measure(ctx, analysis.Confirm, load, f.hold(load))
		if ok || err != nil || !f.bounds.within(load, 0) {
			return ok, err
		}
		by *= 2
	}
	return false, nil
}

// confirmTop tries the most that can be offered, a little less each time that
// the generator falls short of it.
func (f *finder) confirmTop(ctx context.Context) error {
	load := f.top
	if f.limited {
		load *= analysis.ValidShare
	}
	for range 6 {
		ok, t, err := f.measure(ctx, analysis.Confirm, load, holdFor)
		if err != nil || ok && t.Valid() {
			return err
		}
		if t.Valid() {
			f.estimate = t.InnerReceivedBitsPerSecond()
			return f.descend(ctx)
		}
		load = min(load*0.95, t.InnerSentBitsPerSecond()*analysis.ValidShare)
	}
	return nil
}

// descend goes down from the estimate until a load meets the goal.
func (f *finder) descend(ctx context.Context) error {
	for step := 2 * around; ; step *= 2 {
		load := f.estimate * max(1-step, 0)
		ok, _, err := f.measure(ctx, analysis.Bisect, max(load, f.opts.MinInnerBitsPerSecond), descendFor)
		if ok || err != nil || load <= f.opts.MinInnerBitsPerSecond {
			return err
		}
	}
}

// ascend goes up from the estimate until a load misses the goal.
func (f *finder) ascend(ctx context.Context) error {
	for step := 2 * around; ; step *= 2 {
		load := f.estimate * (1 + step)
		if !f.bounds.within(load, f.opts.Width) || load > f.opts.MaxInnerBitsPerSecond {
			return nil
		}
		ok, t, err := f.measure(ctx, analysis.Bisect, load, f.hold(load))
		if err != nil || !ok || !t.Valid() {
			return err
		}
	}
}

// narrow makes the interval as narrow as asked for. Around a flat limit two
// loads do that, else halving does.
func (f *finder) narrow(ctx context.Context) error {
	width := f.width()
	if f.flat() {
		for _, by := range []float64{-0.5 * width, f.aboveBy(0.48 * width)} {
			load := f.estimate * (1 + by)
			if !f.bounds.within(load, width/10) {
				continue
			}
			if _, _, err := f.measure(ctx, analysis.Bisect, load, f.hold(load)); err != nil {
				return err
			}
		}
		if f.bounds.within(f.estimate, 0) {
			return nil
		}
	}
	if f.troubled() {
		width *= roughly
	}
	for f.bounds.width() > width {
		before := f.bounds.width()
		load := math.Sqrt(f.bounds.lower() * f.bounds.upper())
		if _, _, err := f.measure(ctx, analysis.Bisect, load, f.hold(load)); err != nil {
			return err
		}
		if f.bounds.width() >= before {
			return nil
		}
	}
	return nil
}

// width is the one asked for, or what the loss goal allows: a load may exceed a
// ceiling by the goal without being seen.
func (f *finder) width() float64 { return max(f.opts.Width, 2.5*f.found.LossGoal) }

// aboveBy is how far above the plateau a load must be to run the bucket dry in
// time: as asked, or more.
func (f *finder) aboveBy(by float64) float64 {
	if !f.flat() {
		return by
	}
	return max(by, dry*f.store*8/(f.estimate*longestHold.Seconds()))
}

// hold is how long a load must last to be settled: above a plateau the bucket
// or queue must run dry first, lest its burst raise the result.
func (f *finder) hold(load float64) time.Duration {
	excess := load - f.estimate
	if !f.flat() || excess <= 0 {
		return holdFor
	}
	return min(max(holdFor, seconds(dry*f.store*8/excess)), longestHold)
}

// qualify holds the lower bound for longer. Where it misses the goal, lower
// loads are held.
func (f *finder) qualify(ctx context.Context) error {
	f.reserve = 0
	load := f.bounds.lower()
	for step := f.width(); load >= analysis.ValidShare*f.opts.MinInnerBitsPerSecond; step *= 2 {
		ok, err := f.sustained()(ctx, load)
		if ok || err != nil {
			return err
		}
		if f.troubled() {
			step = max(step, roughly*f.width())
			load *= 1 - step
			continue
		}
		load = max(f.bounds.lower(), load*(1-step))
	}
	return nil
}

func (f *finder) sustained() func(context.Context, float64) (bool, error) {
	if f.climbs() {
		return f.sustainGently
	}
	return f.sustain
}

// sustain qualifies one load; a loss in a few windows only is given another
// chance, once.
func (f *finder) sustain(ctx context.Context, load float64) (bool, error) {
	for range f.attempts() - 1 {
		if f.left() < leastQualifying {
			return false, errSpent
		}
		t, err := f.paced(ctx, analysis.Qualify, load, qualifyFor)
		if err != nil {
			return false, err
		}
		sent := t.InnerSentBitsPerSecond()
		switch f.judge(t) {
		case met:
			f.bounds.lowerTo(sent) // What was held for less long stands back.
			f.found.Qualified, f.heldLoss = true, t.LossRatio()
			return true, nil
		case missed:
			f.bounds.add(min(load, sent), false)
			return false, nil
		}
	}
	f.bounds.add(load, false)
	return false, nil
}
