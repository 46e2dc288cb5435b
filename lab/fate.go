package lab

import (
	"math"
	"math/rand/v2"
)

// fate is what a WAN does to one packet beside delaying it.
type fate struct {
	lost, late, twice bool
}

// fates draws one after the other. Each takes three numbers whatever comes of
// them, so that changing one ratio leaves the other decisions as they were.
type fates struct {
	numbers                rand.PCG
	loss, reorder, another uint64 // A number below means yes.
}

// newFates begins the fates of one direction; those of different directions have
// nothing in common.
func newFates(w WAN, direction uint64) fates {
	return fates{
		numbers: *rand.NewPCG(w.Seed, direction),
		loss:    threshold(w.LossRatio), reorder: threshold(w.ReorderRatio), another: threshold(w.DuplicateRatio),
	}
}

// threshold is below what share of all 64-bit numbers are, for a ratio below 1.
func threshold(ratio float64) uint64 { return uint64(math.Ldexp(ratio, 64)) }

func (f *fates) next() fate {
	lost := f.numbers.Uint64() < f.loss
	late := f.numbers.Uint64() < f.reorder
	twice := f.numbers.Uint64() < f.another
	return fate{lost: lost, late: late, twice: twice}
}

// wander is a jitter that keeps packets in order: by straight lines from one drawn
// value to the next. The values are spread evenly from -amplitude to +amplitude,
// and so far apart in time that no line falls faster than half as fast as time
// passes; who departs later then arrives later.
type wander struct {
	seed      uint64
	amplitude int64 // ns
	knot      int64 // The line's number.
	from, to  float64
}

// knotSpacing is how many amplitudes the values are apart in time.
const knotSpacing = 4

func newWander(amplitude int64, seed, direction uint64) wander {
	return wander{seed: scramble(seed) ^ scramble(direction), amplitude: amplitude, knot: -1}
}

// at returns the jitter, in ns, of a packet that comes at t ns, which is not
// negative.
func (w *wander) at(t int64) int64 {
	if w.amplitude == 0 {
		return 0
	}
	spacing := knotSpacing * w.amplitude
	if knot := t / spacing; knot != w.knot {
		w.knot, w.from, w.to = knot, w.value(knot), w.value(knot+1)
	}
	share := float64(t%spacing) / float64(spacing)
	return int64(math.Round((w.from + (w.to-w.from)*share) * float64(w.amplitude)))
}

// value is drawn for a knot: from -1 to 1, and the same each time.
func (w *wander) value(knot int64) float64 {
	return math.Ldexp(float64(scramble(w.seed+uint64(knot))>>11), -52) - 1
}

// scramble makes numbers that differ in one bit differ in half of theirs: the
// finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom
// Number Generators", 2014, Figure 15).
func scramble(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}
