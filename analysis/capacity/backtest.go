package capacity

import (
	"math"
	"slices"

	"tunnelmark/analysis"
)

const (
	// backTestFrom is how many days the first forecast of a back-test knows.
	backTestFrom = 22
	// backTestDays bounds how many forecasts start from: the latest half year's.
	backTestDays = 182
	week         = 7
	// calibrated is how many errors of the past an interval needs, and memory how many
	// origins it looks back.
	calibrated = 7
	memory     = 28
	// rounding is what an interval of no width still holds: figures are told to a thousandth.
	rounding = 0.001
)

// backTest forecasts each day of the past from the days up to one of the seven before
// it, as if those were all. It is nil where no forecast can be held against what came.
func backTest(days []day) *analysis.BackTest {
	var sums struct{ error, repeat, covered float64 }
	count := 0
	past := newErrors()
	from := max(backTestFrom-2*week, len(days)-backTestDays-week)
	for origin := max(seasonDays, from); origin < len(days); origin++ {
		p := learn(days[:origin])
		if !p.known() {
			continue
		}
		for ahead := 1; ahead <= week && origin-1+ahead < len(days); ahead++ {
			came, before := days[origin-1+ahead], days[origin-1+ahead-week]
			if !came.whole || came.Clipped || !before.whole {
				continue
			}
			expected := p.day(came.n)
			if origin >= backTestFrom {
				low, high := past.interval(origin, ahead)
				count++
				sums.error += math.Abs(expected/came.P95BitsPerSecond - 1)
				sums.repeat += math.Abs(before.P95BitsPerSecond/came.P95BitsPerSecond - 1)
				if ratio := came.P95BitsPerSecond / expected; ratio >= low-rounding && ratio <= high+rounding {
					sums.covered++
				}
			}
			past.add(origin, ahead, came.P95BitsPerSecond/expected)
		}
	}
	if count == 0 {
		return nil
	}
	n := float64(count)
	return &analysis.BackTest{Forecasts: count, Error: sums.error / n, RepeatError: sums.repeat / n, Covered: sums.covered / n}
}

// pastErrors are what came over what was expected, by how many days ahead and by
// origin.
type pastErrors map[int][]pastError

type pastError struct {
	origin int
	ratio  float64
}

func newErrors() pastErrors { return pastErrors{} }

func (e pastErrors) add(origin, ahead int, ratio float64) {
	e[ahead] = append(e[ahead], pastError{origin, ratio})
}

// interval holds 80 % of what came after forecasts as far ahead, of those that were
// known at an origin.
func (e pastErrors) interval(origin, ahead int) (low, high float64) {
	var ratios []float64
	for _, one := range e[ahead] {
		if one.origin-1+ahead < origin && one.origin >= origin-memory {
			ratios = append(ratios, one.ratio)
		}
	}
	if len(ratios) < calibrated {
		return 0, math.Inf(1)
	}
	slices.Sort(ratios)
	// One more than there are, since the next is a draw of its own.
	tail := 0.1 * float64(len(ratios)+1)
	lowest := max(0, int(math.Floor(tail))-1)
	return ratios[lowest], ratios[len(ratios)-1-lowest]
}
