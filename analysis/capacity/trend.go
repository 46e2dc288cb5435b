package capacity

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A trend is a line through the logarithms of the days, without the week's season:
//
//  1. shapes draws an exponential line and a straight one, and weighs them.
//  2. fit puts a step where it explains most, as long as it is far from nothing, and
//     leaves out the days that are far from all others.
//  3. solve, in regression.go, draws the line itself.

// observation is one day: y is the logarithm of its rate less the season's.
type observation struct {
	t, y    float64 // t in days since the first.
	clipped bool    // The true value is y or more.
}

// shape is how a trend without steps goes: its value and its derivative by slope, at a time u
// from the middle.
type shape func(slope, u float64) (value, bySlope float64)

// exponential grows by the same ratio each day, straight by the same amount, which
// is slope of the level in the middle.
func exponential(slope, u float64) (value, bySlope float64) { return slope * u, u }

func straight(slope, u float64) (value, bySlope float64) {
	level := math.Max(1+slope*u, leastLevel)
	return math.Log(level), u / level
}

// flat has no slope; its derivative says that none can be learned.
func flat(float64, float64) (value, bySlope float64) { return 0, 0 }

// leastLevel keeps a falling straight line above zero.
const leastLevel = 0.01

// line is a fitted trend.
type line struct {
	shape  shape
	middle float64   // In days.
	steps  []float64 // Days at which the level changes.
	// theta are the level in the middle, the slope, and the steps' heights.
	theta []float64
	sigma float64 // Of a day, robust.
	// inverse is of what the days know about theta, if the variance of each were one;
	// variance is what it is, more where neighbours resemble one another.
	inverse  *mat.SymDense
	variance float64
	freedom  float64 // Of Student's t.
}

const (
	// tail is what an 80 % interval leaves out at each end.
	tail = 0.1
	// outlying is how many sigma from the trend a day is that is not like the others.
	outlying = 4
	maxSteps = 3
	// stepApart is how far, in days, steps keep from one another and from both ends: a
	// shorter one is a holiday, or too young to be told from one.
	stepApart = 28
	// stepSure is how many standard errors high a step must be: far above what chance gives
	// to the best of hundreds of days.
	stepSure = 5.5
)

// Without much evidence demand is held to grow exponentially, by two to one: then it is
// full earlier. Akaike's evidence counts half: over some months it overrates its own
// choice, and intervals then hold less than they say (forecast_test.go). A step is an
// excuse for a shape that does not fit, and has a price.
const (
	curvedFirst  = 0.7 // Logarithm of two.
	evidenceHalf = 0.5
	stepPrice    = 8
)

// shapes draws both. Straightly is the weight of the straight one, 0 to 1.
func shapes(days []observation) (curved, level line, straightly float64) {
	curved, level = fit(days, exponential), fit(days, straight)
	days = curved.inliers(days)
	independent := float64(len(days)) / math.Min(curved.inflation(days), level.inflation(days))
	evidence := independent/2*math.Log(curved.misfit(days)/level.misfit(days)) +
		stepPrice*float64(len(curved.steps)-len(level.steps))
	return curved, level, 1 / (1 + math.Exp(curvedFirst-evidenceHalf*evidence))
}

// fit draws a line of that shape, with as many steps as are sure. Days that are far from it then
// have no say.
func fit(days []observation, s shape) line {
	l := line{shape: s, middle: middle(days)}
	l.solve(days)
	for range maxSteps {
		at, found := l.bestStep(days)
		if !found {
			break
		}
		with := l
		with.steps = append(slices.Clone(l.steps), at)
		with.solve(days)
		if last := len(with.theta) - 1; math.Abs(with.theta[last]) < stepSure*with.deviation(last) {
			break
		}
		l = with
	}
	if near := l.inliers(days); len(near) >= seasonDays { // Else it has not settled.
		l.solve(near)
	}
	return l
}

// inliers are the days that are not outlying.
func (l *line) inliers(days []observation) []observation {
	var near []observation
	for _, d := range days {
		value, _ := l.value(d.t)
		if residual, _ := l.residual(d, value); math.Abs(residual) <= outlying*l.sigma {
			near = append(near, d)
		}
	}
	return near
}

// bestStep is the day from which a level of its own would explain most.
func (l *line) bestStep(days []observation) (at float64, found bool) {
	var pull, knows, most float64 // Of the days from one on, and their gradients.
	var gradients gradient
	open := 0 // Days that are not clipped: lower bounds alone would fit a step of any height.
	first, last := days[0].t, days[len(days)-1].t
	for i := len(days) - 1; i >= 0; i-- {
		d := days[i]
		value, gradient := l.value(d.t)
		residual, weight := l.residual(d, value)
		pull += weight.pull * residual
		knows += weight.knows
		for j := range gradients {
			gradients[j] += weight.knows * gradient[j]
		}
		if !d.clipped {
			open++
		}
		if d.t-first < stepApart || last-d.t < stepApart || open < seasonDays || l.nearStep(d.t) {
			continue
		}
		// What the new column knows beyond what the others explain of it.
		left := knows - gradients.in(l.inverse)
		if explained := pull * pull / math.Max(left, minSigma); explained > most {
			at, most, found = d.t, explained, true
		}
	}
	return at, found
}

func (l *line) nearStep(t float64) bool {
	return slices.ContainsFunc(l.steps, func(at float64) bool { return math.Abs(at-t) < stepApart })
}

func middle(days []observation) float64 {
	sum := 0.0
	for _, d := range days {
		sum += d.t
	}
	return sum / float64(len(days))
}

// from is the trend at day t, as a logarithm, and its standard error, if the level is known to be
// recent on an earlier day and a share of its distance from the trend is left: as
// far as the line goes through a point that is known, it is sure.
func (l *line) from(t, earlier, recent, share float64) (value, deviation float64) {
	value, gradient := l.value(t)
	before, known := l.value(earlier)
	for i := range gradient {
		gradient[i] -= share * known[i]
	}
	return value + share*(recent-before), math.Sqrt(math.Max(0, l.variance*gradient.in(l.inverse)))
}

// quantile is how many standard errors above the trend a share of what is possible lies below.
func (l *line) quantile(share float64) float64 {
	return distuv.StudentsT{Sigma: 1, Nu: l.freedom}.Quantile(share)
}

// below is the reverse of quantile.
func (l *line) below(errors float64) (share float64) {
	return distuv.StudentsT{Sigma: 1, Nu: l.freedom}.CDF(errors)
}

// slope is per day, with the ends of its 80 % interval.
func (l *line) slope() (low, likely, high float64) {
	margin := l.quantile(1-tail) * l.deviation(1)
	return l.theta[1] - margin, l.theta[1], l.theta[1] + margin
}

// misfit is how far the days are from a line, by what Huber's weights leave of them;
// never zero, so that two can be compared.
func (l *line) misfit(days []observation) float64 {
	sum := minSigma * minSigma
	for _, d := range days {
		value, _ := l.value(d.t)
		residual, weight := l.residual(d, value)
		sum += weight.pull * residual * residual
	}
	return sum
}
