package capacity

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A regression draws the line that the days pull least:
//
//  1. Huber's weights bound what a holiday or an outage can do to it.
//  2. A clipped day counts as what it must have been at least (a Tobit model).
//  3. Residuals that resemble their neighbours are fewer than they look: judge makes the
//     interval wider by their correlation.
//
// Huber, Robust Estimation of a Location Parameter, 1964; Tobin, Estimation of
// Relationships for Limited Dependent Variables, 1958.

const (
	huber    = 1.345 // Weights are one up to so many sigma: 95 % efficient for normal noise.
	rounds   = 40
	settled  = 1e-7
	minSigma = 1e-6 // A series without noise still has weights.
)

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

// spread is a standard deviation by the median of deviations, from the median: days that are not
// clipped may all lie below a line, and the further it went the wider it would seem.
func spread(residuals []float64) float64 {
	all, middle := make([]float64, len(residuals)), median(slices.Clone(residuals))
	for i, r := range residuals {
		all[i] = math.Abs(r - middle)
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
	// distuv's Survival is one less another, and nothing is left of that from 8 on.
	return distuv.UnitNormal.Prob(z) / (0.5 * math.Erfc(z/math.Sqrt2))
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
	if !factors.Factorize(matrix) {
		return inverse // It does not move then.
	}
	_ = factors.InverseTo(inverse) // An error says that it is not exact, which steps need not be.
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

// deviation is the standard error of one of theta.
func (l *line) deviation(i int) float64 { return math.Sqrt(l.variance * l.inverse.At(i, i)) }

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
