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
	// mostDays is how far back a trend looks: three years. What was before says little about
	// growth to come.
	mostDays = 3 * 365
	// seasonDays is what a weekly season needs.
	seasonDays = 14
	// mostCut is the share of clipped days beyond which lower bounds say nothing of growth: any
	// would fit.
	mostCut = 0.2
	// fullFrom is the share of clipped busy hours beyond which nobody knows the demand.
	fullFrom = 0.05
	// alikeDays is how many days the last distance from the trend is read from: the
	// median of three forgets a single odd day, and follows a change after the second.
	alikeDays = 3
	// fading is what is left of that distance after each day: half after five weeks.
	fading = 0.98
	// recentNoise is the variance of a median of three over that of one.
	recentNoise = 0.45
	// nearBusiest is the share of the busiest weekday's level above which another
	// counts as equally busy: the highest of several alike would be chance.
	nearBusiest = 0.95
	month       = 30 // Days of GrowthPerMonth.
	// mostApart is how far a level's interval can reach, as a logarithm: a factor of a million.
	mostApart = 14
	// mostLog is the logarithm of more bit/s than there will be.
	mostLog = 60
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

// past is what some days teach: a trend, the week's season, and how far the last
// days are from both.
type past struct {
	trend  analysis.Trend
	season season
	// expected is the trend, flat where there is none. Possible are both of its shapes, of
	// which the straight one has the weight straightly.
	expected   line
	possible   [2]line
	straightly float64
	// recent is the level of the last days, the last of which is day last.
	recent, last float64
	// shifted: for a week now the level is one that the trend does not know. It may stay
	// there, or return.
	shifted bool
}

// learn needs some whole days that are not all clipped; of fewer it knows nothing.
func learn(days []day) past {
	days = days[max(0, len(days)-mostDays):]
	p := past{trend: analysis.TooLittleData, season: seasonOf(days)}
	seen := p.season.without(days)
	if open := unclipped(seen); len(open) < alikeDays || len(open) < min(len(seen), seasonDays) {
		return p
	}
	p.expected = line{shape: flat, middle: middle(seen)}
	if cut := len(seen) - len(unclipped(seen)); len(seen) < leastDays || float64(cut) > mostCut*float64(len(seen)) {
		p.expected.solve(seen)
		p.possible = [2]line{p.expected, p.expected}
	} else {
		p.learnTrend(seen)
	}
	p.last = seen[len(seen)-1].t
	p.recent = p.recently(seen[len(seen)-alikeDays:])
	p.shifted = p.trend != analysis.TooLittleData && p.isShift(seen[len(seen)-week:])
	return p
}

func unclipped(seen []observation) []observation {
	return slices.DeleteFunc(slices.Clone(seen), func(d observation) bool { return d.clipped })
}

// learnTrend says that there is none where growth may as well be decline.
func (p *past) learnTrend(seen []observation) {
	curved, level, straightly := shapes(seen)
	p.possible, p.straightly = [2]line{curved, level}, straightly
	likely, trend := curved, analysis.Exponential
	if straightly > 0.5 {
		likely, trend = level, analysis.Linear
	}
	// Said so that figures that are none make no trend.
	if low, _, high := likely.slope(); !(low > 0 || high < 0) {
		p.expected.steps = likely.steps
		p.expected.solve(seen)
		p.trend = analysis.NoTrend
		return
	}
	p.expected, p.trend = likely, trend
}

// recently is where the last days are; of a clipped one, where it can be expected.
func (p *past) recently(last []observation) float64 {
	var all []float64
	for _, d := range last {
		value, _ := p.expected.value(d.t)
		residual, _ := p.expected.residual(d, value)
		all = append(all, value+residual)
	}
	return median(all)
}

// isShift says whether days in a row are all far from the trend, on one side of it.
func (p *past) isShift(last []observation) bool {
	above, below := 0, 0
	for _, d := range last {
		value, _ := p.expected.value(d.t)
		switch residual, _ := p.expected.residual(d, value); {
		case residual > outlying*p.expected.sigma:
			above++
		case residual < -outlying*p.expected.sigma:
			below++
		}
	}
	return max(above, below) == len(last)
}

// shift is how far, as a ratio, the last days lie from the trend where it does not know
// their level; zero elsewhere.
func (p *past) shift() float64 {
	if !p.shifted {
		return 0
	}
	value, _ := p.expected.value(p.last)
	return math.Expm1(p.recent - value)
}

// known says whether there is anything to forecast from.
func (p *past) known() bool { return p.expected.inverse != nil }

// level is the logarithm of what is expected on a day, of weekdays of that season: the
// trend, and what is left of the last days' distance from it.
func (p *past) level(t, season float64) float64 {
	value, _ := p.expected.value(t)
	before, _ := p.expected.value(p.last)
	return value + season + p.faded(t)*(p.recent-before)
}

// faded is what is left on a day of the last days' distance.
func (p *past) faded(t float64) float64 { return math.Pow(fading, math.Max(0, t-p.last)) }

// chance is that of a level of y or more on a day, y and season being logarithms. A
// shifted level stays or returns with the same chance.
func (p *past) chance(t, season, y float64) float64 {
	returns := p.chanceIf(p.faded(t), t, season, y)
	if !p.shifted {
		return returns
	}
	return (returns + p.chanceIf(1, t, season, y)) / 2
}

// chanceIf is the chance if so much of the last days' distance from the trend is left.
func (p *past) chanceIf(fade, t, season, y float64) float64 {
	return (1-p.straightly)*p.chanceOf(&p.possible[0], fade, t, season, y) + p.straightly*p.chanceOf(&p.possible[1], fade, t, season, y)
}

func (p *past) chanceOf(l *line, fade, t, season, y float64) float64 {
	value, deviation := l.from(t, p.last, p.recent, fade)
	deviation = math.Hypot(deviation, fade*l.sigma*math.Sqrt(recentNoise))
	return l.below((value + season - y) / math.Max(deviation, minSigma))
}

// quantile is the level on a day that a share of what is possible stays below.
func (p *past) quantile(t, season, share float64) float64 {
	low, high := p.level(t, season)-mostApart, p.level(t, season)+mostApart
	for range 50 {
		if middle := (low + high) / 2; 1-p.chance(t, season, middle) < share {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// day is what is expected on the n-th day, in bit/s.
func (p *past) day(n int) float64 { return bitsPerSecond(p.level(float64(n), p.season.of(n))) }

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

// bitsPerSecond is the rate of a logarithm, as far as figures go.
func bitsPerSecond(logarithm float64) float64 { return math.Exp(min(logarithm, mostLog)) }

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
	for _, d := range m.days[max(0, len(m.days)-4*7):] {
		most = max(most, d.BusyHourBitsPerSecond)
	}
	return most
}
