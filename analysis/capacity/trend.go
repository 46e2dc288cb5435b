package capacity

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A trend is a line through the logarithms of the days, without the week's season:
//
//  1. Huber's weights bound what a holiday or an outage can do to it.
//  2. A clipped day counts as what it must have been at least (a Tobit model).
//  3. A step is put where it explains most, as long as it is far from nothing.
//  4. Residuals that resemble their neighbours are fewer than they look: the interval
//     grows by their correlation.
//
// Huber, Robust Estimation of a Location Parameter, 1964; Tobin, Estimation of
// Relationships for Limited Dependent Variables, 1958.

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
	tail     = 0.1
	huber    = 1.345 // Weights are one up to so many sigma: 95 % efficient for normal noise.
	rounds   = 40
	settled  = 1e-7
	minSigma = 1e-6 // A series without noise still has weights.
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
	l.solve(l.inliers(days))
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

func middle(days []observation) float64 {
	sum := 0.0
	for _, d := range days {
		sum += d.t
	}
	return sum / float64(len(days))
}

// gradient is by theta; an array, since there is one for each day of each round.
type gradient [2 + maxSteps]float64

// add puts weight times the product of g with itself on a matrix.
func (g *gradient) add(matrix *mat.SymDense, weight float64) {
	raw := matrix.RawSymmetric()
	for i := range raw.N {
		for j := i; j < raw.N; j++ {
			raw.Data[i*raw.Stride+j] += weight * g[i] * g[j]
		}
	}
}

// in is the square of g's length in a metric.
func (g *gradient) in(metric *mat.SymDense) float64 {
	raw, sum := metric.RawSymmetric(), 0.0
	for i := range raw.N {
		sum += g[i] * g[i] * raw.Data[i*raw.Stride+i]
		for j := i + 1; j < raw.N; j++ {
			sum += 2 * g[i] * g[j] * raw.Data[i*raw.Stride+j]
		}
	}
	return sum
}

// value is the trend at one day with its gradient.
func (l *line) value(t float64) (value float64, gradient gradient) {
	value, bySlope := l.shape(l.theta[1], t-l.middle)
	gradient[0], gradient[1] = 1, bySlope
	value += l.theta[0]
	for i, at := range l.steps {
		if t >= at {
			gradient[2+i] = 1
			value += l.theta[2+i]
		}
	}
	return value, gradient
}

// solve finds theta by Newton's steps, with the weights of the round before.
func (l *line) solve(days []observation) {
	l.theta = make([]float64, 2+len(l.steps))
	l.theta[0] = levelOf(days)
	l.sigma = spread(l.residuals(days))
	for round := range rounds {
		inverse, score := l.equations(days)
		moved := 0.0
		for i := range l.theta {
			change := 0.0
			for j := range score {
				change += inverse.At(i, j) * score[j]
			}
			l.theta[i] += change
			moved = math.Max(moved, math.Abs(change))
		}
		if moved < settled {
			break
		}
		if round < rounds/2 { // Later it would only jump between two days.
			l.sigma = spread(l.residuals(days))
		}
	}
	l.judge(days)
}

// levelOf is where a line starts: the median.
func levelOf(days []observation) float64 {
	var all []float64
	for _, d := range days {
		all = append(all, d.y)
	}
	return median(all)
}

// residuals are those of the days that are not clipped.
func (l *line) residuals(days []observation) []float64 {
	var all []float64
	for _, d := range days {
		if !d.clipped {
			value, _ := l.value(d.t)
			all = append(all, d.y-value)
		}
	}
	return all
}

// spread is a standard deviation by the median of deviations.
func spread(residuals []float64) float64 {
	all := make([]float64, len(residuals))
	for i, r := range residuals {
		all[i] = math.Abs(r)
	}
	return math.Max(median(all)/0.6745, minSigma)
}

// equations are those of one of Newton's steps: the inverse of its matrix, and its
// right side.
func (l *line) equations(days []observation) (inverse *mat.SymDense, score []float64) {
	n := len(l.theta)
	matrix, score := mat.NewSymDense(n, nil), make([]float64, n)
	for _, d := range days {
		value, gradient := l.value(d.t)
		residual, weight := l.residual(d, value)
		for i := range n {
			score[i] += weight.pull * residual * gradient[i]
		}
		gradient.add(matrix, weight.pull*weight.knows)
	}
	return invert(matrix), score
}

// weight is by how much less than its distance a day pulls, and how much it knows:
// one, but nothing where it is clipped far below the line.
type weight struct{ pull, knows float64 }

// residual of a clipped day is what it can be expected to be.
func (l *line) residual(d observation, value float64) (float64, weight) {
	residual, knows := d.y-value, 1.0
	if d.clipped {
		z := residual / l.sigma
		hazard := hazard(z)
		residual, knows = l.sigma*hazard, hazard*(hazard-z)
	}
	pull := 1.0
	if far := math.Abs(residual) / (huber * l.sigma); far > 1 {
		pull = 1 / far
	}
	return residual, weight{pull: pull, knows: knows}
}

// hazard is the normal density over what is left above z: how far above z, in
// sigma, the mean of all that is above it lies from zero.
func hazard(z float64) float64 {
	if z > 30 { // Where both are too small to be divided.
		return z + 1/z
	}
	normal := distuv.UnitNormal
	return normal.Prob(z) / normal.Survival(z)
}

// invert adds a trace of knowledge about everything, for a slope that nothing is
// known about.
func invert(matrix *mat.SymDense) *mat.SymDense {
	n := matrix.SymmetricDim()
	for i := range n {
		matrix.SetSym(i, i, matrix.At(i, i)+1e-9)
	}
	var factors mat.Cholesky
	inverse := mat.NewSymDense(n, nil)
	if !factors.Factorize(matrix) || factors.InverseTo(inverse) != nil {
		return mat.NewSymDense(n, nil) // It does not move then.
	}
	return inverse
}

// judge says how sure the line is (Huber, Robust Statistics, Section 7.6).
func (l *line) judge(days []observation) {
	n := len(l.theta)
	matrix := mat.NewSymDense(n, nil)
	squares, known, inside := 0.0, 0.0, 0.0
	for _, d := range days {
		value, gradient := l.value(d.t)
		residual, weight := l.residual(d, value)
		gradient.add(matrix, weight.knows)
		squares += weight.pull * weight.pull * residual * residual
		known += weight.knows
		if weight.pull == 1 {
			inside++
		}
	}
	l.inverse = invert(matrix)
	all, inflation := float64(len(days)), l.inflation(days)
	l.freedom = math.Max(1, known/inflation-float64(n))
	inside /= all
	l.variance = squares / math.Max(1, all-float64(n)) / (inside * inside) * inflation
}

// mostAlike bounds the correlation between neighbours: beyond it the interval would
// have no bound either.
const mostAlike = 0.9

// inflation is by how much the variance of a mean grows because each day resembles
// the one before.
func (l *line) inflation(days []observation) float64 {
	var before, products, squares float64
	for i, d := range days {
		value, _ := l.value(d.t)
		residual, _ := l.residual(d, value)
		residual = math.Max(-2*l.sigma, math.Min(2*l.sigma, residual))
		if i > 0 && d.t-days[i-1].t == 1 {
			products += residual * before
		}
		squares += residual * residual
		before = residual
	}
	alike := math.Max(0, math.Min(mostAlike, products/math.Max(squares, minSigma*minSigma)))
	return (1 + alike) / (1 - alike)
}

// bestStep is the day from which a level of its own would explain most.
func (l *line) bestStep(days []observation) (at float64, found bool) {
	var pull, knows, most float64 // Of the days from one on, and their gradients.
	var gradients gradient
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
		if d.t-first < stepApart || last-d.t < stepApart || l.nearStep(d.t) {
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

// at is the trend at one day, as a logarithm, with its standard error.
func (l *line) at(t float64) (value, deviation float64) {
	value, gradient := l.value(t)
	return value, math.Sqrt(math.Max(0, l.variance*gradient.in(l.inverse)))
}

// quantile is how many standard errors above the trend a share of what is possible lies below.
func (l *line) quantile(share float64) float64 {
	return distuv.StudentsT{Sigma: 1, Nu: l.freedom}.Quantile(share)
}

// below is the reverse of quantile.
func (l *line) below(errors float64) (share float64) {
	return distuv.StudentsT{Sigma: 1, Nu: l.freedom}.CDF(errors)
}

// deviation is the standard error of one of theta.
func (l *line) deviation(i int) float64 { return math.Sqrt(l.variance * l.inverse.At(i, i)) }

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
