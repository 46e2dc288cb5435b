package capacity

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"tunnelmark/analysis"
)

// singular is the share of its terms below which a determinant is rounding alone: rates
// differ so much that they say nothing of two unknowns.
const singular = 1e-12

// tunnel is what was measured of one setup in one direction.
type tunnel struct {
	file     string // That holds the first ceiling, for messages.
	from, to string
	setup    Setup
	// ceilings are of one packet size or of several; the first is the one that was asked about.
	ceilings []analysis.Ceiling
	model    *analysis.SizeModel // Nil where fewer than two sizes have a ceiling.
}

// newTunnel gathers all sizes at which the tunnel of a first measurement was measured. A
// true ceiling and one beside production do not make one model.
func newTunnel(first Measured, all []Measured) tunnel {
	t := tunnel{file: first.Name, from: first.From, to: first.To, setup: first.Setup, ceilings: []analysis.Ceiling{*first.Ceiling}}
	for _, m := range all {
		if m.Ceiling != nil && m.Ceiling != first.Ceiling && m.From == t.from && m.To == t.to &&
			sameSetup(m.Setup, t.setup) && m.Ceiling.IsAvailable() == first.Ceiling.IsAvailable() {
			t.ceilings = append(t.ceilings, *m.Ceiling)
		}
	}
	t.model = fitSizes(t.ceilings)
	return t
}

// capacity is what one such tunnel carries of inner packets of that mean size, in
// bytes: by the model, else what was measured with the first size.
func (t tunnel) capacity(meanInnerSize float64) analysis.Capacity {
	if t.model != nil && meanInnerSize > 0 {
		return t.modelled(meanInnerSize)
	}
	c := t.ceilings[0]
	low, high := interval(c)
	basis := fmt.Sprintf("measured with %d B packets", c.InnerSize)
	if meanInnerSize > 0 && math.Round(meanInnerSize) != float64(c.InnerSize) {
		basis += fmt.Sprintf("; those of the demand have %.0f B on average", meanInnerSize)
	}
	return analysis.Capacity{
		LowBitsPerSecond: low, LikelyBitsPerSecond: c.InnerBitsPerSecond, HighBitsPerSecond: high,
		InnerSize: float64(c.InnerSize), Basis: basis,
	}
}

// modelled has the widest range, as a ratio, of the measured ceilings, widened by what the
// model errs.
func (t tunnel) modelled(meanInnerSize float64) analysis.Capacity {
	likely := t.model.InnerBitsPerSecond(meanInnerSize)
	down, up := 1.0, 1.0
	for _, c := range t.ceilings {
		if bounded(c) {
			low, high := interval(c)
			down, up = min(down, low/c.InnerBitsPerSecond), max(up, high/c.InnerBitsPerSecond)
		}
	}
	return analysis.Capacity{
		LowBitsPerSecond:    likely * down / (1 + t.model.Error),
		LikelyBitsPerSecond: likely,
		HighBitsPerSecond:   likely * up * (1 + t.model.Error),
		InnerSize:           meanInnerSize,
		Basis:               fmt.Sprintf("by the model of what was measured with %s B packets, for %.0f B on average", list(pointSizes(t.model.Points)), meanInnerSize),
	}
}

// outside says whether a mean size lies beyond those that the model knows.
func (t tunnel) outside(meanInnerSize float64) bool {
	return t.model != nil && meanInnerSize > 0 &&
		(meanInnerSize < float64(t.model.Points[0].InnerSize) || meanInnerSize > float64(t.model.Points[len(t.model.Points)-1].InnerSize))
}

// interval holds the best figure of a ceiling, which itself may lie outside of what it was
// searched in; where no load met the goal, there is no range below. High is zero where
// no load failed.
func interval(c analysis.Ceiling) (low, high float64) {
	low = min(c.InnerLowerBitsPerSecond, c.InnerBitsPerSecond)
	if low == 0 {
		low = c.InnerBitsPerSecond
	}
	if c.InnerUpperBitsPerSecond == 0 {
		return low, 0
	}
	return low, max(c.InnerUpperBitsPerSecond, c.InnerBitsPerSecond)
}

// bounded says whether a load failed: otherwise the tunnel carries that much or more, which
// fits no model.
func bounded(c analysis.Ceiling) bool { return c.InnerUpperBitsPerSecond > 0 && !c.GeneratorLimited }

// fitSizes finds the sum of a packet's and its bytes' time that errs least, by squares
// of the relative errors of the time per packet. Neither part is less than none.
func fitSizes(ceilings []analysis.Ceiling) *analysis.SizeModel {
	var measured []analysis.SizePoint
	for _, c := range ceilings {
		if bounded(c) {
			measured = append(measured, analysis.SizePoint{InnerSize: c.InnerSize, InnerBitsPerSecond: c.InnerBitsPerSecond})
		}
	}
	slices.SortStableFunc(measured, func(a, b analysis.SizePoint) int { return cmp.Compare(a.InnerSize, b.InnerSize) })
	if len(pointSizes(measured)) < 2 {
		return nil
	}
	m := leastSquares(measured)
	m.Points = measured
	for _, p := range measured {
		m.Error = max(m.Error, math.Abs(m.InnerBitsPerSecond(float64(p.InnerSize))/p.InnerBitsPerSecond-1))
	}
	return &m
}

// pointSizes are the inner sizes of points that are in order, each once.
func pointSizes(points []analysis.SizePoint) []int {
	var sizes []int
	for _, p := range points {
		sizes = append(sizes, p.InnerSize)
	}
	return slices.Compact(sizes)
}

// sizesOf are the inner sizes of ceilings, each once, in order.
func sizesOf(ceilings []analysis.Ceiling) []int {
	var sizes []int
	for _, c := range ceilings {
		sizes = append(sizes, c.InnerSize)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// leastSquares solves x a + z b = 1 for all measured packet rates x and byte rates z: what
// is left over is the relative error of the time per packet. Both are taken as shares of
// the greatest byte rate, lest the sums drown the small ones.
func leastSquares(measured []analysis.SizePoint) analysis.SizeModel {
	unit := 0.0
	for _, c := range measured {
		unit = max(unit, c.InnerBitsPerSecond/8)
	}
	var xx, xz, zz, x, z float64
	for _, c := range measured {
		bytes := c.InnerBitsPerSecond / 8 / unit
		packets := bytes / float64(c.InnerSize)
		xx, xz, zz = xx+packets*packets, xz+packets*bytes, zz+bytes*bytes
		x, z = x+packets, z+bytes
	}
	determinant := xx*zz - xz*xz
	perPacket, perByte := (x*zz-z*xz)/determinant, (z*xx-x*xz)/determinant
	switch {
	case determinant < singular*xx*zz, perPacket < 0:
		perPacket, perByte = 0, z/zz
	case perByte < 0:
		perPacket, perByte = x/xx, 0
	}
	return analysis.SizeModel{PerPacket: perPacket / unit, PerByte: perByte / unit}
}

func list(sizes []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(sizes), " ", ", "), "[]")
}
