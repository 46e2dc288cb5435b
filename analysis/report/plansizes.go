package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"tunnelmark/analysis"
)

// sizesView is the size model, held against what was measured.
type sizesView struct {
	About string
	Chart *chart
	Rows  []sizeRow
}

type sizeRow struct{ Size, Rate, Packets, Measured string }

// newSizesView is nil where sizes were not measured.
func newSizesView(r PlanReport) *sizesView {
	m := r.Plan.SizeModel
	if m == nil || !(m.PerPacket+m.PerByte > 0) {
		return nil
	}
	measured := r.measuredSizes()
	view := &sizesView{
		About: fmt.Sprintf("A packet takes %s and %s for each of its bytes; that is fitted to %s sizes and errs by %s at most.",
			formatIn(m.PerPacket, times, 3), formatIn(m.PerByte, times, 3), formatCount(len(m.Sizes)), formatPercent(m.Error)),
		Chart: sizeChart(*m, measured),
	}
	if mean := r.Plan.MeanInnerSize; mean > 0 {
		view.About += fmt.Sprintf(" In busy hours the demand’s packets have %s"+nbsp+"B on average, of which the tunnel carries %s inner.", grouped(mean), formatRough(m.InnerBitsPerSecond(mean)))
	}
	for _, size := range sizesOf(r.Plan) {
		rate := m.InnerBitsPerSecond(float64(size))
		row := sizeRow{Size: formatCount(size), Rate: formatRough(rate), Packets: grouped(packetsPerSecond(rate, size)), Measured: none}
		if got := measured[size]; got > 0 {
			row.Measured = formatRough(got)
		}
		view.Rows = append(view.Rows, row)
	}
	return view
}

// maxSizes bounds the table of sizes.
const maxSizes = 32

// sizesOf are the measured sizes and the mean of the demand's, in bytes.
func sizesOf(p analysis.Plan) []int {
	sizes := slices.Clone(p.SizeModel.Sizes[:min(len(p.SizeModel.Sizes), maxSizes)])
	if mean := int(math.Round(p.MeanInnerSize)); mean > 0 && !slices.Contains(sizes, mean) {
		sizes = append(sizes, mean)
	}
	slices.Sort(sizes)
	return sizes
}

// measuredSizes are the ceilings of today's tunnel in today's direction, in bit/s, by
// inner size.
func (r PlanReport) measuredSizes() map[int]float64 {
	ceilings := map[int]float64{}
	for _, other := range r.Results {
		if c := other.Ceiling; c != nil && other.Path == r.Results[0].Path && other.Tunnel.sameAs(r.Results[0].Tunnel) && other.Tunnel.Count == r.Results[0].Tunnel.Count {
			ceilings[c.InnerSize] = c.InnerBitsPerSecond
		}
	}
	return ceilings
}

// sameAs says that two tunnels differ in nothing but how many there are.
func (t Tunnel) sameAs(other Tunnel) bool {
	return t.Driver == other.Driver && t.Suite == other.Suite && t.Encapsulation == other.Encapsulation &&
		t.InnerMTU == other.InnerMTU && t.OuterFamily == other.OuterFamily
}

var sizeLook = look{Name: "measured", Class: "p5", shape: circle}

// sizeChart draws the model through what was measured.
func sizeChart(m analysis.SizeModel, measured map[int]float64) *chart {
	largest, most := 0, 0.0
	for _, size := range m.Sizes {
		largest, most = max(largest, size), max(most, m.InnerBitsPerSecond(float64(size)), measured[size])
	}
	unit := scaleFor(most, bitRates)
	c := newChart("sizes", half, 270,
		domain{label: "Inner size of each packet (B)", max: float64(largest) * 1.08, unit: scale{"B", 1}},
		domain{label: "Ceiling, inner (" + unit.name + ")", max: most * 1.12, unit: unit})
	c.Title = "Ceiling by packet size"
	c.About = "The size model as a line, through the ceilings that were measured. The table holds the same figures."
	c.curve("likely", func(x float64) float64 { return m.InnerBitsPerSecond(max(x, 1)) })
	for _, size := range m.Sizes {
		if got := measured[size]; got > 0 {
			c.mark(sizeLook, point{float64(size), got}, fmt.Sprintf("%d"+nbsp+"B: %s inner", size, formatRate(got)))
		}
	}
	return c
}

// scalingRow is what so many tunnels side by side carry together.
type scalingRow struct{ Tunnels, Rate, Interval, Factor string }

// scalingRows are the ceilings of today's tunnel side by side, as far as they were
// measured; none where there is nothing to compare.
func (r PlanReport) scalingRows() []scalingRow {
	var alike []Result
	for _, other := range r.Results {
		today := r.Results[0]
		if other.Ceiling != nil && other.Ceiling.InnerBitsPerSecond > 0 && other.Path == today.Path && other.Size == today.Size && other.Tunnel.sameAs(today.Tunnel) {
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
