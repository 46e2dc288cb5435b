package capacity

import (
	"math"
	"slices"
	"time"

	"tunnelmark/analysis"
)

const (
	// fullFrom is the share of clipped busy hours beyond which nobody knows the demand.
	fullFrom = 0.05
	month    = 30 // Days of GrowthPerMonth.
)

// model is a demand's past, and what it says about the time to come.
type model struct {
	demand  analysis.Demand
	at      time.Time
	full    float64 // In bit/s: where demand is clipped; zero: nowhere.
	clipped float64 // Share of the busy hours.
	days    []day
	past    past
}

// newModel holds a demand, as far as it is known, against what carried it; a capacity of
// zero is not known.
func newModel(d analysis.Demand, at time.Time, full analysis.Capacity) model {
	d = slice(d, 0, knownBins(d))
	m := model{demand: d, at: at.In(d.Start.Location())}
	if clips(d, full.LikelyBitsPerSecond) {
		m.full = full.LikelyBitsPerSecond
	}
	m.clipped = clippedShare(d, m.full)
	m.days = dailies(d, m.full)
	m.past = learn(m.days)
	return m
}

// trend is what the days say about growth, as far as the capacity let them.
func (m *model) trend() analysis.Trend {
	anyClipped := slices.ContainsFunc(m.days, func(d day) bool { return d.Clipped })
	switch {
	case m.clipped > fullFrom:
		return analysis.AlreadyFull
	case anyClipped && len(m.days) >= leastDays && (m.past.trend == analysis.NoTrend || m.past.trend == analysis.TooLittleData):
		return analysis.ClippedTrend
	}
	return m.past.trend
}

// knowsGrowth says whether the past tells how demand goes on.
func (m *model) knowsGrowth() bool {
	trend := m.trend()
	return trend == analysis.NoTrend || trend == analysis.Linear || trend == analysis.Exponential
}

// dayOf is a time in days since the first.
func (m *model) dayOf(t time.Time) float64 {
	return t.Sub(midnight(m.days[0].Date, 0)).Hours() / 24
}

// ahead is the expected level of the busiest weekdays at a time.
func (m *model) ahead(at time.Time) analysis.Ahead {
	t, busiest := m.dayOf(at), m.past.season.busiest()
	return analysis.Ahead{
		Date:                at,
		LowBitsPerSecond:    bitsPerSecond(m.past.quantile(t, busiest, tail)),
		LikelyBitsPerSecond: m.expected(at),
		HighBitsPerSecond:   bitsPerSecond(m.past.quantile(t, busiest, 1-tail)),
	}
}

// expected is the likely level alone, in bit/s.
func (m *model) expected(at time.Time) float64 {
	return bitsPerSecond(m.past.level(m.dayOf(at), m.past.season.busiest()))
}

// horizon is how far a forecast goes: three times the past, and between one and five years.
func (m *model) horizon() time.Time {
	past := m.demand.End().Sub(m.demand.Start)
	return m.at.Add(max(year, 3*min(past, 5*year/3)))
}

// forecast tells what demand was, and where it goes.
func (m *model) forecast() analysis.Forecast {
	f := analysis.Forecast{
		Trend: m.trend(), GrowthKnown: m.knowsGrowth(), Days: m.told(), Weeks: weeks(m.demand), Months: months(m.demand),
		ClippedShare: m.clipped, BackTest: backTest(m.days),
	}
	ratio, ok := bursts(m.demand)
	f.BurstRatio, f.BurstsUnknown = ratio, !ok
	if !m.past.known() {
		return f
	}
	f.LevelBitsPerSecond = m.expected(m.at)
	for _, at := range m.past.expected.steps {
		f.Steps = append(f.Steps, midnight(m.days[0].Date, int(at)))
	}
	if m.past.trend == analysis.TooLittleData {
		return f
	}
	f.GrowthPerMonthLow, f.GrowthPerMonth, f.GrowthPerMonthHigh = m.growth()
	end := m.horizon()
	for at := m.at; at.Before(end); at = midnight(at, 7) {
		f.Ahead = append(f.Ahead, m.ahead(at))
	}
	f.Ahead = append(f.Ahead, m.ahead(end))
	return f
}

// growth is the change in the next month that the likelier shape makes of its slope, and
// of the ends of its interval.
func (m *model) growth() (low, likely, high float64) {
	l := &m.past.possible[0]
	if m.past.straightly > 0.5 {
		l = &m.past.possible[1]
	}
	now := m.dayOf(m.at) - l.middle
	change := func(slope float64) float64 {
		before, _ := l.shape(slope, now)
		after, _ := l.shape(slope, now+month)
		return math.Expm1(after - before)
	}
	low, likely, high = l.slope()
	return change(low), change(likely), change(high)
}

// told are the days as a report has them, with those that say little about the trend.
func (m *model) told() []analysis.Day {
	var all []analysis.Day
	for _, d := range m.days {
		d.Partial = !d.whole
		if d.whole && m.past.known() && !d.Clipped {
			value, _ := m.past.expected.value(float64(d.n))
			residual := math.Log(d.P95BitsPerSecond) - m.past.season.of(d.n) - value
			d.Outlier = math.Abs(residual) > outlying*m.past.expected.sigma
		}
		all = append(all, d.Day)
	}
	return all
}

// busyHour is the highest mean over a clock hour in the last four weeks, in bit/s.
func (m *model) busyHour() float64 {
	most := 0.0
	for _, d := range m.days[max(0, len(m.days)-lateDays):] {
		most = max(most, d.BusyHourBitsPerSecond)
	}
	return most
}
