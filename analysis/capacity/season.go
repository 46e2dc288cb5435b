package capacity

import (
	"math"
	"slices"
)

const (
	// seasonDays is what a weekly season needs.
	seasonDays = 14
	// nearBusiest is the share of the busiest weekday's level above which another
	// counts as equally busy: the highest of several alike would be chance.
	nearBusiest = 0.95
)

// season is what each weekday is above the mean of its week, as a logarithm; the
// first is that of the first day.
type season [7]float64

func (s *season) of(n int) float64 { return s[n%len(s)] }

// busiest is the season of the busiest weekdays: the mean of those that are
// alike.
func (s *season) busiest() float64 {
	most := slices.Max(s[:])
	var near []float64
	for _, one := range s {
		if one >= most+math.Log(nearBusiest) {
			near = append(near, one)
		}
	}
	return mean(near)
}

// seasonOf takes the median of each weekday's distance from the seven days around it.
func seasonOf(days []day) season {
	var s season
	if len(days) < seasonDays {
		return s
	}
	var distances [7][]float64
	for i, d := range days {
		if around, ok := aroundOf(days, i); ok && d.whole {
			distances[d.n%7] = append(distances[d.n%7], math.Log(d.P95BitsPerSecond)-around)
		}
	}
	for weekday, all := range distances {
		s[weekday] = median(all)
	}
	middle := mean(s[:])
	for weekday := range s {
		s[weekday] -= middle
	}
	return s
}

// aroundOf is the mean of the logarithms of the seven days around one, if all are whole
// and none is clipped, which would make the week look flat.
func aroundOf(days []day, i int) (mean float64, ok bool) {
	from := max(0, min(i-3, len(days)-7))
	for _, d := range days[from : from+7] {
		if !d.whole || d.Clipped {
			return 0, false
		}
		mean += math.Log(d.P95BitsPerSecond) / 7
	}
	return mean, true
}

// without are the whole days less the season.
func (s *season) without(days []day) []observation {
	var all []observation
	for _, d := range days {
		if d.whole {
			all = append(all, observation{t: float64(d.n), y: math.Log(d.P95BitsPerSecond) - s.of(d.n), clipped: d.Clipped})
		}
	}
	return all
}
