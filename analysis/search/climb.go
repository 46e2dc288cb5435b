package search

import (
	"context"
	"time"

	"tunnelmark/analysis"
)

const (
	// climbFor is the length of a trial at the largest step; smaller steps last
	// longer in proportion, so that the same bucket runs dry in each.
	climbFor = 250 * time.Millisecond
	// fewestWindows make a reading of a short trial worth a guess.
	fewestWindows = 3
)

func (f *finder) climbing() []step {
	f.lossy = f.opts.Lossy
	return []step{f.climb, f.stepBack, f.qualify}
}

// climb goes up from a low load. After each load that misses the goal the step
// is halved; it never exceeds the bound over the last load that met it. What
// passed of a load that missed is a guess of the ceiling: the climb does not go
// beyond it again. It ends there, or where the step is as narrow as asked for.
// A trial that could use more than is left of the lossy time is made shorter.
func (f *finder) climb(ctx context.Context) error {
	clean, load := 0.0, f.opts.clamp(f.opts.StartInnerBitsPerSecond)
	for step := f.opts.Overload - 1; step > f.width()/2; {
		long := seconds(climbFor.Seconds() * (f.opts.Overload - 1) / step)
		t, err := f.paced(ctx, analysis.Confirm, load, long)
		if err != nil {
			return err
		}
		sent := t.InnerSentBitsPerSecond()
		switch f.judge(t) {
		case met:
			f.bounds.add(sent, true)
			clean, f.limited = sent, !t.Valid()
		case missed:
			f.bounds.add(sent, false)
			f.guess(t)
			step /= 2
		default:
			step /= 2
		}
		load = f.nextUp(clean, step)
		if load <= clean*(1+f.width()/10) || clean == 0 || f.limited {
			return nil
		}
	}
	return nil
}

// guess takes the estimate from what passed of a load that missed.
func (f *finder) guess(t analysis.Trial) {
	if r := read(t); r.used >= fewestWindows {
		f.estimate = r.inner
	}
}

// nextUp is the load after one that met the goal, no higher than just below
// the estimate.
func (f *finder) nextUp(clean, step float64) float64 {
	load := f.opts.clamp(clean * (1 + step))
	if f.estimate > 0 {
		load = min(load, f.estimate*(1-f.width()))
	}
	return load
}

// stepBack forgets loads that met the goal above the estimate, since a bucket
// let them pass, and leaves the one just below it to be qualified.
func (f *finder) stepBack(context.Context) error {
	if below := f.estimate * (1 - f.width()/2); f.estimate > 0 && f.bounds.lower() > below {
		f.bounds.lowerTo(below)
	}
	return nil
}
