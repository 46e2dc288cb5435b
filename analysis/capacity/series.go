package capacity

import (
	"math"
	"slices"
	"time"

	"tunnelmark/analysis"
)

const (
	// percentile is the one that transit is billed by and that capacity is planned on.
	percentile = 0.95
	// dayKnown is the least share of a day's bins that must have a rate for its percentile
	// to be that of a day.
	dayKnown = 0.8
	// clippedFrom is the share of the capacity from which the capacity, not the demand, sets
	// what is counted, and beyond what is too far above it to have passed through it.
	clippedFrom = 0.95
	beyond      = 1.1
	// beyondShare is how many bins may lie there by accident: a bucket, a clock.
	beyondShare = 0.001
)

// day is one day of a demand: n says which, from the first.
type day struct {
	analysis.Day
	n     int
	whole bool // Enough of it is known, and something was carried.
}

// dailies cuts a demand into days, all of them, in order. Full, in bit/s, is what clips
// it; zero: nothing does.
func dailies(d analysis.Demand, full float64) []day {
	var days []day
	for date, bins := range periods(d, func(t time.Time) time.Time { return midnight(t, 1) }) {
		one := day{Day: analysis.Day{Date: date}, n: len(days)}
		known := knownOf(d.BitsPerSecond[bins.from:bins.to])
		one.P95BitsPerSecond = nearestRank(known, percentile)
		one.BusyHourBitsPerSecond, _ = busiestHour(d, bins)
		span := midnight(date, 1).Sub(midnight(date, 0))
		one.whole = float64(len(known))*float64(d.Step) >= dayKnown*float64(span) && one.P95BitsPerSecond > 0
		one.Clipped = full > 0 && one.P95BitsPerSecond >= clippedFrom*full
		days = append(days, one)
	}
	return days
}

// midnight is the start of the day so many days after that of t: one o'clock where
// clocks are put forward at midnight.
func midnight(t time.Time, after int) time.Time {
	year, month, date := t.Date()
	start := time.Date(year, month, date+after, 0, 0, 0, 0, t.Location())
	if noon := time.Date(year, month, date+after, 12, 0, 0, 0, t.Location()); start.Day() != noon.Day() {
		return start.Add(time.Hour)
	}
	return start
}

// clockHour is the end of the hour that clocks show at t.
func clockHour(t time.Time) time.Time {
	return t.Truncate(time.Minute).Add(time.Duration(60-t.Minute()) * time.Minute)
}

// bins are those from one, up to another that is not part of them.
type bins struct{ from, to int }

// periods yields each period's start and bins; next says when the period that a time
// is in ends.
func periods(d analysis.Demand, next func(time.Time) time.Time) func(yield func(time.Time, bins) bool) {
	return func(yield func(time.Time, bins) bool) {
		for from := 0; from < len(d.BitsPerSecond); {
			start := d.Start.Add(time.Duration(from) * d.Step)
			end := next(start)
			to := min(len(d.BitsPerSecond), from+max(1, int((end.Sub(start)+d.Step-1)/d.Step)))
			if !yield(start, bins{from, to}) {
				return
			}
			from = to
		}
	}
}

// lateDays are the last four weeks: what demand is now.
const lateDays = 4 * week

// lately is the first bin of the last four weeks.
func lately(d analysis.Demand) int {
	return max(0, len(d.BitsPerSecond)-lateDays*int(24*time.Hour/d.Step))
}

// knownBins is how many bins there are up to the last that is known.
func knownBins(d analysis.Demand) int {
	bins := len(d.BitsPerSecond)
	for bins > 1 && !d.Known(bins-1) {
		bins--
	}
	return bins
}

func knownOf(rates []float64) []float64 {
	known := make([]float64, 0, len(rates))
	for _, rate := range rates {
		if !math.IsNaN(rate) {
			known = append(known, rate)
		}
	}
	return known
}

// nearestRank is a percentile without interpolation, which puts the values in order;
// zero of none.
func nearestRank(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[max(0, int(math.Ceil(share*float64(len(values))-1e-9))-1)]
}

// busiestHour is the highest mean over a clock hour of which at least half is known,
// and its bins.
func busiestHour(d analysis.Demand, within bins) (most float64, at bins) {
	part := d
	part.Start = d.Start.Add(time.Duration(within.from) * d.Step)
	part.BitsPerSecond = d.BitsPerSecond[within.from:within.to]
	for _, hour := range periods(part, clockHour) {
		known := knownOf(part.BitsPerSecond[hour.from:hour.to])
		if mean := mean(known); mean > most && 2*time.Duration(len(known))*d.Step >= time.Hour {
			most, at = mean, bins{within.from + hour.from, within.from + hour.to}
		}
	}
	return most, at
}

func mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// clips says whether a capacity can have clipped a demand: one that was well above
// it now and then did not pass through it.
func clips(d analysis.Demand, full float64) bool {
	return full > 0 && shareBeyond(d, full) <= beyondShare
}

// shareBeyond is the share of the known bins that lie well above a rate.
func shareBeyond(d analysis.Demand, rate float64) float64 {
	known := knownOf(d.BitsPerSecond)
	above := 0
	for _, one := range known {
		if one > beyond*rate {
			above++
		}
	}
	return float64(above) / float64(max(1, len(known)))
}

// clippedShare is the share of the bins in the days' busiest hours at which the
// capacity was reached.
func clippedShare(d analysis.Demand, full float64) float64 {
	if full <= 0 {
		return 0
	}
	clipped, all := 0, 0
	for _, within := range periods(d, func(t time.Time) time.Time { return midnight(t, 1) }) {
		_, hour := busiestHour(d, within)
		for _, rate := range knownOf(d.BitsPerSecond[hour.from:hour.to]) {
			all++
			if rate >= clippedFrom*full {
				clipped++
			}
		}
	}
	return float64(clipped) / float64(max(1, all))
}

// weeks and months are periods as bills and reports have them.
func weeks(d analysis.Demand) []analysis.Period {
	return reported(d, func(t time.Time) time.Time { return midnight(t, -(int(t.Weekday())+6)%week) }, func(start time.Time) time.Time { return midnight(start, week) })
}

func months(d analysis.Demand) []analysis.Period {
	return reported(d, func(t time.Time) time.Time { return midnight(t, 1-t.Day()) }, func(start time.Time) time.Time { return midnight(start.AddDate(0, 1, 0), 0) })
}

// reported are periods by the start of that of a time, and by when one that starts then
// ends; the demand may begin in the middle of one.
func reported(d analysis.Demand, startOf, endOf func(time.Time) time.Time) []analysis.Period {
	var all []analysis.Period
	for first, within := range periods(d, func(t time.Time) time.Time { return endOf(startOf(t)) }) {
		known := knownOf(d.BitsPerSecond[within.from:within.to])
		start := startOf(first)
		one := analysis.Period{Start: start, Known: float64(len(known)) * float64(d.Step) / float64(endOf(start).Sub(start))}
		one.P95BitsPerSecond = nearestRank(known, percentile)
		one.BusyHourBitsPerSecond, _ = busiestHour(d, within)
		all = append(all, one)
	}
	return all
}

// bursts is the highest fine sample over the mean of its bin, as the median of the
// days' busiest bins; ok is false where the samples are not fine enough.
func bursts(d analysis.Demand) (ratio float64, ok bool) {
	if d.PeakBitsPerSecond == nil {
		return 0, false
	}
	var ratios []float64
	for _, within := range periods(d, func(t time.Time) time.Time { return midnight(t, 1) }) {
		busiest := within.from
		for i := within.from; i < within.to; i++ {
			if d.BitsPerSecond[i] > d.BitsPerSecond[busiest] || math.IsNaN(d.BitsPerSecond[busiest]) {
				busiest = i
			}
		}
		if rate := d.BitsPerSecond[busiest]; rate > 0 {
			ratios = append(ratios, d.PeakBitsPerSecond[busiest]/rate)
		}
	}
	return median(ratios), len(ratios) > 0
}

// median puts the values in order; zero of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}
