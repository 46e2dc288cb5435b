package report

import (
	"cmp"
	"slices"

	"tunnelmark/analysis"
)

// latencyRow is what the latency probe saw beside one load.
type latencyRow struct {
	Beside, Inner, P50, P90, P99, Max, There, Back, Loss, Clock string
}

func latencyRows(latencies []analysis.Latency) []latencyRow {
	var rows []latencyRow
	for _, l := range latencies {
		rows = append(rows, latencyRow{
			Beside: beside(l), Inner: formatRate(l.InnerBitsPerSecond),
			P50: formatDuration(l.RTT.P50), P90: formatDuration(l.RTT.P90), P99: formatDuration(l.RTT.P99), Max: formatDuration(l.RTT.Max),
			There: formatDuration(l.There.P99), Back: formatDuration(l.Back.P99), Loss: formatShare(l.LossRatio()), Clock: clockOf(l),
		})
	}
	return rows
}

// beside names the load beside a probe: "idle", "50 % of the ceiling", or its rate.
func beside(l analysis.Latency) string {
	switch {
	case l.Share > 0:
		return formatGoal(l.Share) + " of the ceiling"
	case l.InnerBitsPerSecond > 0:
		return formatRate(l.InnerBitsPerSecond) + " inner"
	}
	return "idle"
}

func clockOf(l analysis.Latency) string {
	if l.KernelStamps {
		return "kernel"
	}
	return "programs"
}

// describe is a row as one line.
func (l latencyRow) describe() string {
	return l.Beside + ": RTT p50 " + l.P50 + ", p99 " + l.P99 + ", max " + l.Max + ", " + l.Loss + " of the probes lost"
}

// The looks of the two lines of a latency chart.
var (
	medianLook = look{Name: "median (p50)", Class: "p3", shape: circle}
	tailLook   = look{Name: "99th percentile (p99)", Class: "p4", shape: diamond}
)

// latencyView is what a page shows of the round trips under load.
type latencyView struct {
	Legend []legendEntry
	Chart  *chart // Nil where there are fewer than two loads.
	Rows   []latencyRow
}

func newLatencyView(latencies []analysis.Latency) *latencyView {
	if len(latencies) == 0 {
		return nil
	}
	view := &latencyView{Rows: latencyRows(latencies)}
	if len(latencies) > 1 {
		view.Chart = latencyChart("latency", half, 270, latencies)
		for _, l := range []look{medianLook, tailLook} {
			view.Legend = append(view.Legend, legendEntry{Name: l.Name, Class: l.Class, Path: l.shape(8, 8)})
		}
	}
	return view
}

// latencyChart draws round trips against the load beside them.
func latencyChart(id string, width, height float64, latencies []analysis.Latency) *chart {
	sorted := slices.SortedStableFunc(slices.Values(latencies), func(a, b analysis.Latency) int {
		return cmp.Compare(a.InnerBitsPerSecond, b.InnerBitsPerSecond)
	})
	most := sorted[len(sorted)-1].InnerBitsPerSecond
	slowest := 0.0
	for _, l := range sorted {
		slowest = max(slowest, l.RTT.P50.Seconds(), l.RTT.P99.Seconds())
	}
	rates, delays := scaleFor(most, bitRates), scaleFor(slowest, times)
	c := newChart(id, width, height,
		domain{label: "Load beside the probe, inner (" + rates.name + ")", max: most * 1.05, unit: rates},
		domain{label: "Round trip (" + delays.name + ")", max: slowest * 1.1, unit: delays})
	c.Title, c.About = "Round trip under load", "Median and 99th percentile of the latency probe's round trips, against the load that ran beside it."
	c.trips("median", medianLook, sorted, func(q analysis.Quantiles) float64 { return q.P50.Seconds() })
	c.trips("tail", tailLook, sorted, func(q analysis.Quantiles) float64 { return q.P99.Seconds() })
	return c
}

// trips draws one quantile of each probe.
func (c *chart) trips(class string, look look, latencies []analysis.Latency, quantile func(analysis.Quantiles) float64) {
	var points []point
	for _, l := range latencies {
		points = append(points, point{l.InnerBitsPerSecond, quantile(l.RTT)})
	}
	c.line(class, points...)
	for i, p := range points {
		c.mark(look, p, look.Name+" "+formatIn(p.y, times, 3)+", "+beside(latencies[i]))
	}
}
