package capacity

import (
	"math"

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
	// outage is the share of the usual below which a day is one.
	outage = 0.1
	// rounding is what an interval of no width still holds: figures are told to a thousandth.
	rounding = 0.001
)

// backTest forecasts each day of the past from the days up to one of the seven before
// it, as if those were all. It is nil where no forecast can be held against what came.
func backTest(days []day) *analysis.BackTest {
	t := tally{ratios: map[int][]pastRatio{}}
	for origin := max(seasonDays, len(days)-backTestDays-week); origin < len(days); origin++ {
		past := learn(days[:origin])
		for ahead := 1; past.known() && ahead <= week && origin-1+ahead < len(days); ahead++ {
			came, before := days[origin-1+ahead], days[origin-1+ahead-week]
			if came.whole && before.whole && !came.Clipped && !isOutage(days[:origin], came) {
				t.add(origin, ahead, past.day(came.n), came.P95BitsPerSecond, before.P95BitsPerSecond)
			}
		}
	}
	return t.backTest()
}

// isOutage says whether a day carried next to nothing of what the four weeks before an
// origin did: an error as a ratio of that would hide all others.
func isOutage(days []day, came day) bool {
	var usual []float64
	for _, d := range days[max(0, len(days)-lateDays):] {
		if d.whole {
			usual = append(usual, d.P95BitsPerSecond)
		}
	}
	return came.P95BitsPerSecond < outage*median(usual)
}

// tally counts how forecasts did. The intervals of those to come are made of the ratios of what
// came to what was expected, by how many days ahead.
type tally struct {
	ratios           map[int][]pastRatio
	count, intervals int
	errors, repeated float64
	covered          int
}

type pastRatio struct {
	origin int
	ratio  float64
}

// add counts one forecast; those of the first days only teach.
func (t *tally) add(origin, ahead int, expected, came, before float64) {
	ratio := came / expected
	if origin >= backTestFrom {
		t.count++
		t.errors += math.Abs(expected/came - 1)
		t.repeated += math.Abs(before/came - 1)
		if low, high, ok := t.interval(origin, ahead); ok {
			t.intervals++
			if ratio >= low-rounding && ratio <= high+rounding {
				t.covered++
			}
		}
	}
	t.ratios[ahead] = append(t.ratios[ahead], pastRatio{origin, ratio})
}

// interval holds 80 % of what came after forecasts as far ahead, of those whose end was
// known at an origin, as a factor either way: what fell will rise again. It is not ok where
// those are too few.
func (t *tally) interval(origin, ahead int) (low, high float64, ok bool) {
	var distances []float64
	for _, past := range t.ratios[ahead] {
		if past.origin-1+ahead < origin && past.origin >= origin-memory {
			distances = append(distances, math.Abs(math.Log(past.ratio)))
		}
	}
	if len(distances) < calibrated {
		return 0, 0, false
	}
	// The next is one more: with few errors the interval must be wider to hold as many.
	share := (1 - 2*tail) * (1 + 1/float64(len(distances)))
	far := math.Exp(nearestRank(distances, min(share, 1)))
	return 1 / far, far, true
}

func (t *tally) backTest() *analysis.BackTest {
	if t.count == 0 {
		return nil
	}
	n := float64(t.count)
	return &analysis.BackTest{
		Forecasts: t.count, Error: t.errors / n, RepeatError: t.repeated / n,
		Intervals: t.intervals, Covered: float64(t.covered) / float64(max(1, t.intervals)),
	}
}
