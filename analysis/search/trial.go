package search

import (
	"context"
	"errors"
	"time"

	"tunnelmark/analysis"
)

// errSpent says that the traffic that a step may use is spent.
var errSpent = errors.New("traffic is spent")

const (
	// leastTrial is the shortest trial worth sending.
	leastTrial = 200 * time.Millisecond
	// overrun is kept free, since a trial may send a little longer than asked.
	overrun = 250 * time.Millisecond
	// settle is the least idle time before a load: queues drain in it.
	settle = 20 * time.Millisecond
	// longestIdle bounds the wait for a bucket to refill.
	longestIdle = time.Second
	// mostAttempts is how often a load is tried until two trials agree or one is
	// beyond doubt: MLRsearch's exceed ratio of a half, in small.
	mostAttempts = 3
)

// left is the traffic that this step may still send. Any of it may turn out to
// be lossy.
func (f *finder) left() time.Duration {
	left := f.opts.Traffic - overrun - f.sent - f.reserve
	if f.climbs() {
		left = min(left, f.lossyLeft())
	}
	return left
}

// trial runs one load, made shorter where the traffic left asks for it, and
// keeps it as a step.
func (f *finder) trial(ctx context.Context, p analysis.Purpose, load analysis.Load) (analysis.Trial, error) {
	if f.left() < leastTrial {
		return analysis.Trial{}, errSpent
	}
	if err := ctx.Err(); err != nil {
		return analysis.Trial{}, err
	}
	load.Duration = min(load.Duration, f.left())
	load.Idle = max(load.Idle, f.refill())
	f.tell(p, load, nil)
	t, err := f.run(ctx, load)
	if err != nil {
		return t, err
	}
	f.sent += t.Elapsed
	f.found.InnerSize, f.found.OuterSize = t.InnerSize, t.OuterSize
	f.found.Steps = append(f.found.Steps, analysis.Step{Purpose: p, Trial: t})
	f.tell(p, load, &t)
	return t, nil
}

// paced runs one rate for a duration.
func (f *finder) paced(ctx context.Context, p analysis.Purpose, inner float64, d time.Duration) (analysis.Trial, error) {
	return f.trial(ctx, p, analysis.Load{InnerBitsPerSecond: f.opts.clamp(inner), Duration: d, Burst: f.gentleBurst()})
}

// bucketBursts is how many of a load's bursts a bucket shall hold.
const bucketBursts = 4

// gentleBurst is how many packets may leave back to back, so that a small bucket does
// not drop what the rate would pass; zero leaves it to the generator.
func (f *finder) gentleBurst() int {
	if f.found.Bucket == nil {
		return 0
	}
	burst := int(f.found.Bucket.OuterBytes) / (bucketBursts * f.found.OuterSize)
	if burst >= gentleEnough {
		return 0
	}
	return max(1, burst)
}

// gentleEnough is a burst beyond which the generator does not go at common rates.
const gentleEnough = 8

// refill is how long the path needs to empty its queues and fill its bucket.
func (f *finder) refill() time.Duration {
	if steps := f.found.Steps; f.climbs() && len(steps) > 0 && !f.clean(steps[len(steps)-1].Trial) {
		return rest
	}
	if f.estimate == 0 {
		return settle
	}
	return min(settle+2*seconds(f.store*8/f.estimate), longestIdle)
}

func (f *finder) tell(p analysis.Purpose, load analysis.Load, t *analysis.Trial) {
	if f.opts.Progress == nil {
		return
	}
	f.opts.Progress(Progress{
		Purpose: p, Load: load, Trial: t, Sent: f.sent,
		InnerLowerBitsPerSecond: f.bounds.lower(), InnerUpperBitsPerSecond: f.bounds.upper(),
	})
}

// outcome is what one trial says about its load.
type outcome int

const (
	met     outcome = iota
	missed          // It lost more than the goal all the time.
	unclear         // It lost in a few windows only, or was not sent in full.
)

// judge holds a trial against the goal. A loss that only a few windows saw may
// be the host's doing: a stalled tunnel sends a burst later, and a bucket drops
// it. So what the typical windows lost must miss the goal, too.
func (f *finder) judge(t analysis.Trial) outcome {
	switch {
	case t.Sent == 0:
		return unclear
	case t.LossRatio() <= f.found.LossGoal:
		return met
	case !t.Valid():
		return unclear
	}
	if f.flat() && t.InnerSentBitsPerSecond() > f.estimate {
		return missed // As was to be expected there.
	}
	if r := read(t); r.used > 0 && 1-r.inner/t.InnerSentBitsPerSecond() <= f.found.LossGoal {
		return unclear
	}
	return missed
}

// measure settles one load and adds it to the bounds: tries it again where the
// outcome is unclear, or is a miss where none was to be expected. It reports
// whether the goal was met, and the last trial.
func (f *finder) measure(ctx context.Context, p analysis.Purpose, inner float64, d time.Duration) (bool, analysis.Trial, error) {
	var last analysis.Trial
	var offered float64
	misses, surprise := 0, f.surprising(inner)
	for n := range f.attempts() {
		t, err := f.undisturbed(ctx, p, inner, d)
		if err != nil {
			return false, last, err
		}
		last = t
		offered += (t.InnerSentBitsPerSecond() - offered) / float64(n+1)
		switch f.judge(t) {
		case met:
			return f.keepMet(t), t, nil
		case missed:
			misses++
			f.keepKnee(t)
		}
		if misses == 2 || misses == 1 && !surprise {
			break
		}
	}
	if last.Valid() || misses > 0 {
		f.bounds.add(offered, false)
	}
	return false, last, nil
}

// undisturbed runs one rate, once more where the host interrupted it and it lost:
// what was lost then says little about the path.
func (f *finder) undisturbed(ctx context.Context, p analysis.Purpose, inner float64, d time.Duration) (analysis.Trial, error) {
	t, err := f.paced(ctx, p, inner, d)
	if err == nil && t.Interrupted() && t.LossRatio() > f.found.LossGoal {
		t, err = f.paced(ctx, p, inner, d)
	}
	return t, err
}

// keepMet adds a load that met the goal to the bounds, and reports whether it
// may: above a plateau, a bucket or queue may have taken in all of the excess.
func (f *finder) keepMet(t analysis.Trial) bool {
	sent := t.InnerSentBitsPerSecond()
	excess := (sent - f.estimate) * t.Elapsed.Seconds() / 8
	if f.flat() && sent > (1+f.found.LossGoal)*f.estimate && excess < 1.5*f.store {
		return false
	}
	f.bounds.add(sent, true)
	return true
}

// surprising says whether a miss at this load would contradict what is known.
func (f *finder) surprising(inner float64) bool {
	return inner < f.bounds.lower() || f.flat() && inner < 0.995*f.estimate && !f.troubled()
}

// troubled says that a load below a flat limit has already missed the goal:
// what arrives is too uneven for the bucket, so that no miss surprises.
func (f *finder) troubled() bool {
	upper := f.bounds.upper()
	return f.flat() && upper > 0 && upper < f.estimate
}

// attempts is how often a load may be tried.
func (f *finder) attempts() int {
	if f.troubled() {
		return mostAttempts - 1
	}
	return mostAttempts
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
