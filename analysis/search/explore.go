package search

import (
	"context"
	"time"

	"tunnelmark/analysis"
)

const (
	// exploreFrom is where exploring begins, inner bit/s, and exploreBy the
	// factor between loads: at most four times the ceiling, since much more
	// slows some devices down.
	exploreFrom = 10e6
	exploreBy   = 4
	exploreFor  = 200 * time.Millisecond
	// clearlyLess than the load is what only a generator at its limit sends.
	clearlyLess = 0.9
	// exploreLoss is a loss ratio that only an overload has.
	exploreLoss = 0.1

	floorFor = time.Second
	// floorShare of the estimate is a load that is surely below the ceiling.
	floorShare = 0.5
	// floorTimes the floor is the goal where the floor is high, but at most
	// floorGoal: a path that loses more is not a lossy path but a broken one.
	floorTimes = 4
	floorGoal  = 0.005
)

// explore raises the load until much of it is lost: the windows of that trial
// give the first estimate. If the generator or the limit of the options comes
// first, there is a top instead.
func (f *finder) explore(ctx context.Context) error {
	for load := f.opts.clamp(exploreFrom); ; load *= exploreBy {
		t, err := f.sentInFull(ctx, load)
		if err != nil {
			return err
		}
		sent := t.InnerSentBitsPerSecond()
		switch {
		case t.LossRatio() > exploreLoss:
			f.estimate = max(read(t).inner, t.InnerReceivedBitsPerSecond(), f.opts.MinInnerBitsPerSecond)
			return nil
		case fellShort(t):
			f.top, f.limited = sent, true
			return nil
		case load >= f.opts.MaxInnerBitsPerSecond:
			f.top = f.opts.MaxInnerBitsPerSecond
			return nil
		}
		f.reached = sent * (1 - t.LossRatio())
	}
}

// fellShort says that the generator is the limit: it sent clearly less than asked
// although the host let it run. A host that is busy with other things costs it some
// per cent, too.
func fellShort(t analysis.Trial) bool {
	return !t.Valid() && t.InnerOnCPUBitsPerSecond() < clearlyLess*t.Load.InnerBitsPerSecond
}

// sentInFull tries a load again where the generator fell short, since the host
// may just have been busy. What is lost in quantity needs no second look.
func (f *finder) sentInFull(ctx context.Context, load float64) (t analysis.Trial, err error) {
	for range mostAttempts {
		t, err = f.paced(ctx, analysis.Explore, load, exploreFor)
		if err != nil || t.Valid() || t.LossRatio() > exploreLoss {
			break
		}
	}
	return t, err
}

// measureFloor reads what the path loses without any overload and sets the goal
// above it. A floor above the goal is measured again, since a single hiccup of
// the host looks the same.
func (f *finder) measureFloor(ctx context.Context) error {
	load := floorShare * f.estimate
	if f.estimate == 0 {
		load = floorShare * f.top
	}
	floor := 1.0
	for range 2 {
		t, err := f.paced(ctx, analysis.Floor, load, floorFor)
		if err != nil {
			return err
		}
		if floor = min(floor, t.LossRatio()); floor <= f.opts.LossGoal {
			break
		}
	}
	f.found.LossFloor = floor
	f.found.LossGoal = max(f.opts.LossGoal, min(floorTimes*floor, floorGoal))
	return nil
}
