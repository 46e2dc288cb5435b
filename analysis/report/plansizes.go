package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"tunnelmark/analysis"
)

// sizesView is the size model, held against what it was fitted to.
type sizesView struct {
	About, Caption string
	Chart          *chart
	Rows           []sizeRow
}

type sizeRow struct{ Size, Rate, Packets, Measured string }

// newSizesView is nil where sizes were not measured.
func newSizesView(p analysis.Plan) *sizesView {
	m := p.SizeModel
	if m == nil || !(m.PerPacket+m.PerByte > 0) {
		return nil
	}
	view := &sizesView{
		About: fmt.Sprintf("A packet takes %s and %s for each of its bytes; that is fitted to %s measured ceilings and errs by %s at most.",
			formatIn(m.PerPacket, times, 3), formatIn(m.PerByte, times, 3), formatCount(len(m.Points)), formatPercent(m.Error)),
		Caption: "What the tunnel carries of packets of one size",
		Chart:   sizeChart(*m), Rows: sizeRows(*m, p.MeanInnerSize),
	}
	if len(p.Outlooks) > 1 {
		view.Caption += ", " + Clean(p.Outlooks[0].Direction)
	}
	if mean := p.MeanInnerSize; mean > 0 {
		view.About += fmt.Sprintf(" In busy hours the demand’s packets have %s"+nbsp+"B on average, of which the tunnel carries %s inner.", grouped(mean), formatRough(m.InnerBitsPerSecond(mean)))
	}
	return view
}

// sizeRows are of the measured sizes and of the mean of the demand's, in bytes.
func sizeRows(m analysis.SizeModel, mean float64) []sizeRow {
	points := slices.Clone(m.Points)
	average := analysis.SizePoint{InnerSize: int(math.Round(mean))} // Not measured.
	if average.InnerSize > 0 && !slices.ContainsFunc(points, func(p analysis.SizePoint) bool { return p.InnerSize == average.InnerSize }) {
		points = append(points, average)
	}
	slices.SortStableFunc(points, func(a, b analysis.SizePoint) int { return cmp.Compare(a.InnerSize, b.InnerSize) })
	var rows []sizeRow
	for _, p := range points {
		rate := m.InnerBitsPerSecond(float64(p.InnerSize))
		row := sizeRow{Size: formatCount(p.InnerSize), Rate: formatRough(rate), Packets: grouped(packetsPerSecond(rate, p.InnerSize)), Measured: none}
		if p.InnerBitsPerSecond > 0 {
			row.Measured = formatRough(p.InnerBitsPerSecond)
		}
		rows = append(rows, row)
	}
	return rows
}

var sizeLook = look{Name: "measured", Class: "p5", shape: circle}

// sizeChart draws the model through what was measured.
func sizeChart(m analysis.SizeModel) *chart {
	largest, most := 0, 0.0
	for _, p := range m.Points {
		largest, most = max(largest, p.InnerSize), max(most, m.InnerBitsPerSecond(float64(p.InnerSize)), p.InnerBitsPerSecond)
	}
	unit := scaleFor(most, bitRates)
	c := newChart("sizes", half, 270,
		domain{label: "Inner size of each packet (B)", max: float64(largest) * 1.08, unit: scale{"B", 1}},
		domain{label: "Ceiling, inner (" + unit.name + ")", max: most * 1.12, unit: unit})
	c.Title = "Ceiling by packet size"
	c.About = "The size model as a line, through the ceilings that were measured. The table holds the same figures."
	c.curve("likely", func(x float64) float64 { return m.InnerBitsPerSecond(max(x, 1)) })
	for _, p := range m.Points {
		c.mark(sizeLook, point{float64(p.InnerSize), p.InnerBitsPerSecond}, fmt.Sprintf("%d"+nbsp+"B: %s inner", p.InnerSize, formatRate(p.InnerBitsPerSecond)))
	}
	return c
}

// scalingRow is what so many tunnels side by side carry together.
type scalingRow struct{ Tunnels, Rate, Interval, Factor string }

// scalingRows are the ceilings of today's tunnel side by side, as far as they were
// measured with the same packets; none where there is nothing to compare.
func (r PlanReport) scalingRows() []scalingRow {
	var alike []Result
	for _, other := range r.Results {
		today := r.Results[0]
		if other.Ceiling != nil && other.Ceiling.InnerBitsPerSecond > 0 && other.Path == today.Path && other.Size == today.Size &&
			other.Tunnel.Driver == today.Tunnel.Driver && other.Tunnel.Suite == today.Tunnel.Suite {
			alike = append(alike, other)
		}
	}
	slices.SortStableFunc(alike, func(a, b Result) int { return cmp.Compare(a.Tunnel.Count, b.Tunnel.Count) })
	alike = slices.CompactFunc(alike, func(a, b Result) bool { return a.Tunnel.Count == b.Tunnel.Count })
	if len(alike) < 2 {
		return nil
	}
	var rows []scalingRow
	for _, one := range alike {
		rows = append(rows, scalingRow{
			Tunnels: formatCount(one.Tunnel.Count), Rate: formatRate(one.Ceiling.InnerBitsPerSecond), Interval: interval(*one.Ceiling).Value,
			Factor: trimmed(one.Ceiling.InnerBitsPerSecond/alike[0].Ceiling.InnerBitsPerSecond, 2) + nbsp + "×",
		})
	}
	return rows
}
