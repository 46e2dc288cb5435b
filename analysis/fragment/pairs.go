package fragment

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"tunnelmark/analysis"
)

const (
	// leastStep is the least drop that counts as one: readings of the same path
	// differ by up to 0.5 % without a cause.
	leastStep = 0.005
	// block is the longest that a cipher pads to, in bytes (AES-CBC, RFC 3602,
	// Section 2.4; WireGuard). Sizes that differ by a multiple of it are padded by
	// the same, so their outer packets differ as much as they do.
	block = 16
	// othersMost is how large other drops may be, as a share of the greatest.
	othersMost = 0.5
)

// pair is two readings that can be compared, and by how much the packet rate drops from
// one to the other, beyond what their bytes explain.
type pair struct {
	below, above Reading
	ratio        float64 // Of the packet rates, above to below.
	drop, doubt  float64
}

// compare pairs each reading with the nearest smaller one that it can be compared with.
func compare(readings []Reading) (pairs []pair) {
	sorted := merged(readings)
	for i, above := range sorted {
		for _, below := range slices.Backward(sorted[:i]) {
			if alike(below, above) {
				pairs = append(pairs, newPair(below, above))
				break
			}
		}
	}
	return pairs
}

// alike says whether what padding adds is known, or the same.
func alike(below, above Reading) bool {
	known := below.OuterSize > 0 && above.OuterSize > 0
	return known || (above.InnerSize-below.InnerSize)%block == 0
}

// newPair compares packet rates. Where bytes are the limit, larger packets are fewer:
// by their outer lengths, or at most by their inner ones where the outer are not known.
func newPair(below, above Reading) pair {
	p := pair{below: below, above: above, doubt: below.Spread + above.Spread}
	p.ratio = above.packetsPerSecond() / below.packetsPerSecond()
	p.drop = 1 - p.ratio/p.whole()
	return p
}

// whole is the least ratio of the packet rates were no packet cut up.
func (p pair) whole() float64 {
	if p.below.OuterSize > 0 && p.above.OuterSize > 0 {
		return float64(p.below.OuterSize) / float64(p.above.OuterSize)
	}
	return float64(p.below.InnerSize) / float64(p.above.InnerSize)
}

// least is the least drop that can be told from none.
func (p pair) least() float64 { return max(leastStep, p.doubt) }

// isStep says whether a drop is beyond doubt. Where the path may carry more at the
// larger size, there may be none.
func (p pair) isStep() bool { return p.drop > p.least() && !p.above.AtLeast }

// merged are the usable readings by size; of several of one size, their mean.
func merged(readings []Reading) (sorted []Reading) {
	usable := slices.DeleteFunc(slices.Clone(readings), func(r Reading) bool { return !usable(r) })
	slices.SortStableFunc(usable, func(a, b Reading) int { return cmp.Compare(a.InnerSize, b.InnerSize) })
	for len(usable) > 0 {
		n := 1
		for n < len(usable) && usable[n].InnerSize == usable[0].InnerSize {
			n++
		}
		sorted = append(sorted, mean(usable[:n]))
		usable = usable[n:]
	}
	return sorted
}

// usable leaves out what nobody can have read.
func usable(r Reading) bool {
	const least, most = 1, 1e15 // Inner bit/s.
	return r.InnerSize > 0 && r.InnerBitsPerSecond >= least && r.InnerBitsPerSecond <= most && r.Spread >= 0
}

// mean of readings of one size is as doubtful as the worst of them, or as they are far
// apart.
func mean(same []Reading) Reading {
	m := same[0]
	least, most, sum := math.Inf(1), 0.0, 0.0
	for _, r := range same {
		least, most, sum = min(least, r.InnerBitsPerSecond), max(most, r.InnerBitsPerSecond), sum+r.InnerBitsPerSecond
		m.Spread, m.AtLeast = max(m.Spread, r.Spread), m.AtLeast || r.AtLeast
	}
	m.InnerBitsPerSecond = sum / float64(len(same))
	m.Spread = max(m.Spread, (most-least)/2/m.InnerBitsPerSecond)
	return m
}

// lostAbove is the least size of which nothing passed though smaller ones did; zero
// where there is none.
func lostAbove(readings []Reading) (lost int) {
	passed := 0
	for _, r := range readings {
		if usable(r) {
			passed = max(passed, r.InnerSize)
		}
	}
	for _, r := range readings {
		if r.InnerBitsPerSecond == 0 && r.InnerSize > passed && (lost == 0 || r.InnerSize < lost) {
			lost = r.InnerSize
		}
	}
	return lost
}

// split takes the pair with the greatest drop from the others. One whose larger size may
// carry more comes last: its drop may be none.
func split(pairs []pair) (greatest pair, others []pair) {
	sorted := slices.Clone(pairs)
	slices.SortStableFunc(sorted, func(a, b pair) int {
		if a.above.AtLeast != b.above.AtLeast {
			return map[bool]int{true: 1, false: -1}[a.above.AtLeast]
		}
		return cmp.Compare(b.drop, a.drop)
	})
	return sorted[0], sorted[1:]
}

func predictedIn(all []Prediction, p pair) (in []Prediction) {
	for _, q := range all {
		if q.within(p) {
			in = append(in, q)
		}
	}
	return in
}

// within says whether fragments begin between the sizes of a pair.
func (q Prediction) within(p pair) bool {
	return p.below.InnerSize <= q.InnerSize && q.InnerSize < p.above.InnerSize
}

func dropEvidence(p pair) analysis.Evidence {
	return analysis.Evidence{
		Signal: fmt.Sprintf("drop of the packet rate from %d to %d B, beyond what their bytes explain", p.below.InnerSize, p.above.InnerSize),
		Unit:   "ratio", Value: p.drop,
		Threshold: fmt.Sprintf("more than %.4f, which is the readings' doubt or the least that counts", p.least()),
		Holds:     p.isStep(), For: Cause,
	}
}

func aloneEvidence(greatest pair, others []pair) analysis.Evidence {
	e := analysis.Evidence{
		Signal: "greatest drop between other sizes", Unit: "ratio", For: Cause, Holds: true,
		Threshold: fmt.Sprintf("at most %g of that one, or in doubt", othersMost),
	}
	for _, p := range others {
		e.Value = max(e.Value, p.drop)
		if p.isStep() && p.drop > othersMost*greatest.drop {
			e.Holds = false
		}
	}
	return e
}

// predictedEvidence names the predicted size in the step, or the one nearest to it.
func predictedEvidence(all []Prediction, p pair) analysis.Evidence {
	e := analysis.Evidence{
		Signal: "predicted size of the largest packet that leaves whole", Unit: "B", For: Cause,
		Threshold: fmt.Sprintf("%d to %d", p.below.InnerSize, p.above.InnerSize-1),
	}
	if len(all) == 0 {
		e.Signal += " (none is predicted)"
		return e
	}
	distance := func(q Prediction) int {
		return max(p.below.InnerSize-q.InnerSize, q.InnerSize-p.above.InnerSize+1, 0)
	}
	nearest := slices.MinFunc(all, func(a, b Prediction) int { return cmp.Compare(distance(a), distance(b)) })
	e.Signal += ", by " + nearest.By
	e.Value, e.Holds = float64(nearest.InnerSize), distance(nearest) == 0
	return e
}

// dfEvidence is for information: fragmentation is one thing, who ignores DF another.
func dfEvidence(in Input, p pair) analysis.Evidence {
	e := analysis.Evidence{
		Signal: "largest inner packet that passed with DF set", Unit: "B", Value: float64(in.LargestWithDF), For: Cause,
		Threshold: fmt.Sprintf("for information: %d or more where DF is not heeded", p.above.InnerSize),
		Holds:     in.LargestWithDF >= p.above.InnerSize,
	}
	if in.LargestWithDF == 0 {
		e.Signal += " (not measured)"
	}
	return e
}
