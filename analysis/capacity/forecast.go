package capacity

import (
	"math"
	"slices"
	"time"

	"tunnelmark/analysis"
)

const (
	// leastDays is what a trend needs: eight weeks.
	leastDays = 56
	// seasonDays is what a weekly season needs.
	seasonDays = 14
	// fullFrom is the share of clipped busy hours beyond which nobody knows the demand.
	fullFrom = 0.05
	// alikeDays is how many days the last deviation from the trend is read from: the
	// median of three forgets a single odd day, and follows a change after the second.
	alikeDays = 3
	// fading is what is left of that deviation after each day: half after five weeks.
	fading = 0.98
	// deviationNoise is the variance of a median of three over that of one.
	deviationNoise = 0.45
	// outlying is how many sigma from the trend a day is that is not like the others.
	outlying = 4
	// nearBusiest is the share of the busiest weekday's level above which another
	// counts as equally busy: the highest of several alike would be chance.
	nearBusiest = 0.95
	month       = 30 // Days of GrowthPerMonth.
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

// newModel holds a demand against what carried it; a capacity of zero is not known.
func newModel(d analysis.Demand, at time.Time, full analysis.Capacity) model {
	m := model{demand: d, at: at.In(d.Start.Location())}
	if clips(d, full.LikelyBitsPerSecond) {
		m.full = full.LikelyBitsPerSecond
	}
	m.clipped = clippedShare(d, m.full)
	m.days = dailies(d, m.full)
	m.past = learn(m.days)
	return m
}

// past is what some days teach: a trend, the week's season, and how far the last
// days are from both.
type past struct {
	line      line
	trend     analysis.Trend
	season    season
	deviation float64 // Logarithm, on day last.
	last      float64
}

// learn needs two whole days or more; of fewer it knows nothing.
func learn(days []day) past {
	p := past{trend: analysis.TooLittleData, season: seasonOf(days)}
	seen := p.season.without(days)
	if len(seen) < alikeDays {
		return p
	}
	p.line = fitFlat(seen)
	if len(seen) >= leastDays {
		p.line, p.trend = choose(seen)
		if low, _, high := p.line.slope(); low <= 0 && high >= 0 {
			p.trend = analysis.NoTrend
		}
	}
	p.last = seen[len(seen)-1].t
	p.deviation = lastDeviation(&p.line, seen[len(seen)-alikeDays:])
	return p
}

func fitFlat(seen []observation) line {
	l := line{shape: flat, middle: middle(seen)}
	l.solve(seen)
	return l
}

func lastDeviation(l *line, last []observation) float64 {
	var all []float64
	for _, d := range last {
		value, _ := l.value(d.t)
		residual, _ := l.residual(d, value)
		all = append(all, residual)
	}
	return median(all)
}

// known says whether there is anything to forecast from.
func (p *past) known() bool { return p.line.inverse != nil }

// level is the logarithm of what is expected at a time, in days, of the weekdays
// whose season is given, with its standard error.
func (p *past) level(t, season float64) (value, deviation float64) {
	value, deviation = p.line.at(t)
	fade := math.Pow(fading, math.Max(0, t-p.last))
	return value + season + fade*p.deviation, math.Hypot(deviation, fade*p.line.sigma*math.Sqrt(deviationNoise))
}

// day is what is expected on the n-th day.
func (p *past) day(n int) float64 {
	value, _ := p.level(float64(n), p.season.of(n))
	return math.Exp(value)
}

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

// aroundOf is the mean of the logarithms of the seven whole days around one.
func aroundOf(days []day, i int) (mean float64, ok bool) {
	from := max(0, min(i-3, len(days)-7))
	for _, d := range days[from : from+7] {
		if !d.whole {
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

// trend is what the days say about growth, as far as the capacity let them.
func (m *model) trend() analysis.Trend {
	anyClipped := slices.ContainsFunc(m.days, func(d day) bool { return d.Clipped })
	switch {
	case m.clipped > fullFrom:
		return analysis.AlreadyFull
	case m.past.trend == analysis.NoTrend && anyClipped:
		return analysis.ClippedTrend
	}
	return m.past.trend
}

// dayOf is a time in days since the first.
func (m *model) dayOf(t time.Time) float64 {
	return t.Sub(m.days[0].Date).Hours() / 24
}

// logs are the expected level of the busiest weekdays at a time and the ends of its 80 %
// interval, as logarithms. Where there is no trend what is likely does not grow.
func (m *model) logs(at time.Time) (low, likely, high float64) {
	t := m.dayOf(at)
	value, deviation := m.past.level(t, m.past.season.busiest())
	margin := m.past.line.quantile() * deviation
	low, likely, high = value-margin, value, value+margin
	if m.past.trend == analysis.NoTrend {
		now := m.dayOf(m.at)
		_, slope, _ := m.past.line.slope()
		likely -= slope * (t - now)
	}
	return low, likely, high
}

// ahead is likewise in bit/s.
func (m *model) ahead(at time.Time) analysis.Ahead {
	low, likely, high := m.logs(at)
	return analysis.Ahead{Date: at, LowBitsPerSecond: math.Exp(low), LikelyBitsPerSecond: math.Exp(likely), HighBitsPerSecond: math.Exp(high)}
}

// horizon is how far a forecast goes: three times the past, and between one and five years.
func (m *model) horizon() time.Time {
	past := m.demand.End().Sub(m.demand.Start)
	const year = 365 * 24 * time.Hour
	return m.at.Add(max(year, min(5*year, 3*past)))
}

// forecast tells what demand was, and where it goes.
func (m *model) forecast() analysis.Forecast {
	f := analysis.Forecast{
		Trend: m.trend(), Days: m.told(), Weeks: weeks(m.demand), Months: months(m.demand),
		ClippedShare: m.clipped, BackTest: backTest(m.days),
	}
	ratio, ok := bursts(m.demand)
	f.BurstRatio, f.BurstsUnknown = ratio, !ok
	if !m.past.known() {
		return f
	}
	f.LevelBitsPerSecond = m.ahead(m.at).LikelyBitsPerSecond
	for _, at := range m.past.line.steps {
		f.Steps = append(f.Steps, midnight(m.days[0].Date, int(at)))
	}
	if f.Trend == analysis.TooLittleData {
		return f
	}
	low, likely, high := m.past.line.slope()
	f.GrowthPerMonthLow, f.GrowthPerMonth, f.GrowthPerMonthHigh = m.growth(low), m.growth(likely), m.growth(high)
	for at := m.at; !at.After(m.horizon()); at = midnight(at, 7) {
		f.Ahead = append(f.Ahead, m.ahead(at))
	}
	return f
}

// growth is the change that a slope makes in the next month.
func (m *model) growth(slope float64) float64 {
	now := m.dayOf(m.at) - m.past.line.middle
	before, _ := m.past.line.shape(slope, now)
	after, _ := m.past.line.shape(slope, now+month)
	return math.Expm1(after - before)
}

// told are the days as a report has them, with those that say little about the trend.
func (m *model) told() []analysis.Day {
	var all []analysis.Day
	for _, d := range m.days {
		if d.whole && m.past.known() && !d.Clipped {
			value, _ := m.past.line.value(float64(d.n))
			residual := math.Log(d.P95BitsPerSecond) - m.past.season.of(d.n) - value
			d.Outlier = math.Abs(residual) > outlying*m.past.line.sigma
		}
		d.Outlier = d.Outlier || !d.whole
		all = append(all, d.Day)
	}
	return all
}

// busyHour is the highest mean over a clock hour in the last four weeks, in bit/s.
func (m *model) busyHour() float64 {
	most := 0.0
	for _, d := range m.days[max(0, len(m.days)-4*7):] {
		most = max(most, d.BusyHourBitsPerSecond)
	}
	return most
}
