package capacity

import (
	"math"

	"tunnelmark/analysis"
)

const (
	// leastDays is what a trend needs: eight weeks.
	leastDays = 56
	// mostDays is how far back a trend looks: three years. What was before says little about
	// growth to come.
	mostDays = 3 * 365
	// mostCut is the share of clipped days beyond which lower bounds say nothing of growth: any
	// would fit.
	mostCut = 0.2
	// alikeDays is how many days the last distance from the trend is read from: the
	// median of three forgets a single odd day, and follows a change after the second.
	alikeDays = 3
	// fading is what is left of that distance after each day: half after five weeks.
	fading = 0.98
	// recentNoise is the variance of a median of three over that of one.
	recentNoise = 0.45
	// mostApart is how far a level's interval can reach, as a logarithm: a factor of a million.
	mostApart = 14
	// mostLog is the logarithm of more bit/s than there will be.
	mostLog = 60
)

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
	cut := clippedDays(seen)
	if open := len(seen) - cut; open < alikeDays || open < min(len(seen), seasonDays) {
		return p
	}
	p.expected = line{shape: flat, middle: middle(seen)}
	if len(seen) < leastDays || float64(cut) > mostCut*float64(len(seen)) {
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

func clippedDays(seen []observation) int {
	count := 0
	for _, d := range seen {
		if d.clipped {
			count++
		}
	}
	return count
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

// bitsPerSecond is the rate of a logarithm, as far as figures go.
func bitsPerSecond(logarithm float64) float64 { return math.Exp(min(logarithm, mostLog)) }
