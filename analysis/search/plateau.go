package search

import (
	"context"
	"math"
	"slices"
	"time"

	"tunnelmark/analysis"
)

const (
	// plateauFor is the length of an overload trial: fifty windows.
	plateauFor = time.Second
	// longestPlateau is for slow paths and deep buckets.
	longestPlateau = 3 * time.Second
	// plateauPackets is how many packets a reading wants: one more or less then
	// is 0.05 %.
	plateauPackets = 2000

	// flatWithin is how well two heights of overload agree where the limit is
	// flat, roughlyFlat how well all of them do.
	flatWithin  = 0.005
	roughlyFlat = 0.02
	// kneeHeight is by how much a load just above the plateau must exceed what
	// passes of it.
	kneeHeight = 1.005
	// stallLoss is a loss ratio beyond that of the typical windows.
	stallLoss = 0.02
)

// heights of overload, as multiples of the plateau: three, since a ceiling that
// wavers by 1 % agrees at two of them by chance too often.
var heights = []float64{1.3, 1.6, 1.45}

// readPlateau overloads the path until it is read at the first height, then at
// the others.
func (f *finder) readPlateau(ctx context.Context) error {
	if f.estimate == 0 {
		return nil
	}
	defer f.sumUp() // What was read counts, too, where the traffic is spent early.
	if err := f.firstPlateau(ctx); err != nil {
		return err
	}
	for _, height := range heights[1:] {
		if len(f.found.Overloads) == 0 {
			break
		}
		if err := f.overload(ctx, height*f.estimate); err != nil {
			return err
		}
	}
	return nil
}

// overload reads the plateau at one load, and once more where the ends stalled.
func (f *finder) overload(ctx context.Context, load float64) error {
	for range mostAttempts - 1 {
		t, err := f.paced(ctx, analysis.Plateaus, load, f.plateauTime())
		if err != nil {
			return err
		}
		r := read(t)
		f.keepPlateau(t, r)
		if !stalled(t, r) {
			break
		}
	}
	return nil
}

// stalled says that the windows of a trial differ much, or that it lost clearly
// more than its typical ones did: in the others the host kept an end from working,
// and a bucket forfeits what it cannot hold meanwhile.
func stalled(t analysis.Trial, r reading) bool {
	return r.used > 0 && (r.spread > analysis.SteadySpread || t.LossRatio() > 1-r.inner/t.InnerOnCPUBitsPerSecond()+stallLoss)
}

// firstPlateau tries 1.3 times the estimate until the reading bears the
// estimate out. A device that slows down when it is overloaded shows less than
// it can do; then the next load passes, and the estimate goes up again.
func (f *finder) firstPlateau(ctx context.Context) error {
	estimate, length := max(f.estimate, f.reached), f.plateauTime()
	var t, last analysis.Trial
	var r reading
	for n := range 6 {
		var err error
		if t, err = f.paced(ctx, analysis.Plateaus, heights[0]*estimate, length); err != nil {
			f.settleFor(last, read(last))
			return err
		}
		r, last = read(t), t
		sent := t.InnerSentBitsPerSecond()
		switch ratio := t.InnerOnCPUBitsPerSecond() / r.inner; {
		case t.LossRatio() < 0.05 && fellShort(t):
			f.top, f.limited = sent, true
			return nil
		case t.LossRatio() < 0.05:
			estimate, f.reached = sent, max(f.reached, sent*(1-t.LossRatio()))
			length = min(length*3/2, longestPlateau) // It may have been a deep bucket.
		case r.used == 0 || r.used < r.seen/3:
			length = min(2*length, longestPlateau)
			estimate = max(r.inner, f.opts.MinInnerBitsPerSecond)
		case ratio < 1.15 || ratio > 2, n < mostAttempts && stalled(t, r):
			estimate = r.inner
		default:
			f.estimate = r.inner
			f.keepPlateau(t, r)
			return nil
		}
	}
	f.estimate = estimate
	f.settleFor(t, r)
	return nil
}

// settleFor keeps an overload that no further reading bears out: on a busy host it
// is the best that can be had, and more than nothing.
func (f *finder) settleFor(t analysis.Trial, r reading) {
	if t.LossRatio() > exploreLoss {
		f.keepPlateau(t, r)
	}
}

// plateauTime is how long an overload lasts.
func (f *finder) plateauTime() time.Duration {
	size := float64(f.found.InnerSize)
	return min(max(plateauFor, seconds(plateauPackets*size*8/f.estimate)), longestPlateau)
}

// keepPlateau keeps a reading, and the load as one that missed.
func (f *finder) keepPlateau(t analysis.Trial, r reading) {
	if r.used == 0 {
		return
	}
	sent := t.InnerSentBitsPerSecond()
	switch {
	case t.Valid() && f.judge(t) == missed:
		f.bounds.add(sent, false)
	case overloaded(t, r):
		f.bounds.add(t.InnerOnCPUBitsPerSecond(), false)
	}
	stored := (sent-r.inner)*t.Elapsed.Seconds()/8 - float64(t.Lost())*float64(t.InnerSize)
	f.store = max(f.store, stored)
	f.addOverload(t, r)
}

// overloaded says that the typical windows themselves lost much. What kept an end
// off the CPU meanwhile is not in them, so the load is too high all the same.
func overloaded(t analysis.Trial, r reading) bool {
	return r.used >= fewestWindows && r.inner < (1-exploreLoss)*t.InnerOnCPUBitsPerSecond()
}

// keepKnee keeps what a load just above a flat limit delivered, as one height of
// overload more: a ceiling that wavers is seldom the same there, too. The bucket
// has run dry in the second half of the trial; where it has not, all of the load
// passes there, and that tells nothing.
func (f *finder) keepKnee(t analysis.Trial) {
	if !f.flat() {
		return
	}
	late := t
	late.Windows = t.Windows[len(t.Windows)/2:]
	if r := read(late); r.used >= fewestWindows && t.InnerSentBitsPerSecond() >= kneeHeight*r.inner {
		f.addOverload(t, r)
	}
}

func (f *finder) addOverload(t analysis.Trial, r reading) {
	f.found.Overloads = append(f.found.Overloads, analysis.Plateau{
		InnerBitsPerSecond: r.inner, Spread: r.spread, Windows: r.used,
		OfferedRatio: t.InnerOnCPUBitsPerSecond() / r.inner, LossRatio: t.LossRatio(),
	})
}

// sumUp decides whether the limit is flat, and where.
func (f *finder) sumUp() {
	all := ofSteadyHost(f.found.Overloads)
	if len(all) == 0 {
		return
	}
	a, b, spread, ok := closest(all)
	if !ok {
		// The device gets slower the more it is overloaded, or wavers.
		best := slices.MaxFunc(all, func(a, b analysis.Plateau) int { return compare(a.InnerBitsPerSecond, b.InnerBitsPerSecond) })
		f.found.Plateau, f.estimate = &best, best.InnerBitsPerSecond
		return
	}
	whole := a
	na, nb := float64(a.Windows), float64(b.Windows)
	whole.InnerBitsPerSecond = (a.InnerBitsPerSecond*na + b.InnerBitsPerSecond*nb) / (na + nb)
	whole.Windows, whole.Spread = a.Windows+b.Windows, max(a.Spread, b.Spread)
	f.found.Plateau, f.estimate = &whole, whole.InnerBitsPerSecond
	f.found.Flat = spread <= roughlyFlat
}

// ofSteadyHost leaves out the readings of a stalled host, where enough others remain.
func ofSteadyHost(all []analysis.Plateau) []analysis.Plateau {
	kept := slices.DeleteFunc(slices.Clone(all), analysis.Plateau.Unsteady)
	if len(kept) < 2 {
		return all
	}
	return kept
}

// closest are the two plateaus that agree best, and how far all of them are
// apart; ok says whether the two agree.
func closest(all []analysis.Plateau) (a, b analysis.Plateau, spread float64, ok bool) {
	least := math.Inf(1)
	for i, p := range all {
		for _, q := range all[i+1:] {
			apart := math.Abs(p.InnerBitsPerSecond/q.InnerBitsPerSecond - 1)
			spread = max(spread, apart)
			if apart < least {
				a, b, least = p, q, apart
			}
		}
	}
	return a, b, spread, least <= flatWithin
}

func (f *finder) flat() bool { return f.found.Flat }

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
