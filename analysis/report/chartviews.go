package report

import "tunnelmark/analysis"

// chartsView are the charts over all trials. Wide and Narrow are the same chart
// for a desk and for a phone, where a shrunken one could not be read.
type chartsView struct {
	Legend       []legendEntry
	Wide, Narrow *chart
	Loss, Close  *chart
	Ceiling      string // Empty where there is no line to draw.
	Figure       string // What the ceiling is called.
	Expected     bool   // Whether the loss that a ceiling leaves is drawn.
	Bursts       int    // Not drawn.
}

type legendEntry struct{ Name, Class, Path string }

// courseView is one trial over time.
type courseView struct {
	Purpose, Offered, Plateau string
	Wide, Narrow              *chart
	WideDelay, NarrowDelay    *chart
	Overloads                 []overloadRow
}

// overloadRow is what passed at one height of overload.
type overloadRow struct{ Offered, Inner, Outer, Spread, Windows, Loss string }

// The widths of charts, in pixels: of the page at its widest, of half of it,
// and of a phone's screen less its margins.
const (
	wide   = 960
	half   = 468
	narrow = 350
)

func newCharts(p plots) (*chartsView, *courseView) {
	if len(p.paced) == 0 {
		return nil, nil
	}
	view := &chartsView{
		Legend: legend(p.paced),
		Wide:   p.delivered("delivered-wide", wide, 380),
		Narrow: p.delivered("delivered-narrow", narrow, 330),
		Loss:   p.loss("loss", "Loss over all loads", half, 270, 0, p.most*1.05),
		Close:  p.closeLoss("loss-close", half, 270),
		Bursts: len(p.result.steps()) - len(p.paced),
	}
	if ceiling := p.ceiling(); ceiling > 0 {
		view.Ceiling, view.Figure = formatRate(ceiling), figureName(p.result.Ceiling)
		view.Expected = !p.result.Ceiling.IsAvailable()
	}
	return view, newCourse(p)
}

// newCourse is nil where no trial has enough windows.
func newCourse(p plots) *courseView {
	overload, ok := p.overload()
	if !ok {
		return nil
	}
	t := overload.Trial
	course := &courseView{
		Purpose: Clean(string(overload.Purpose)), Offered: formatRate(t.InnerSentBitsPerSecond()),
		Wide: p.course("course-wide", wide, 280, t), Narrow: p.course("course-narrow", narrow, 260, t),
		WideDelay: p.delays("delay-wide", wide, 170, t), NarrowDelay: p.delays("delay-narrow", narrow, 170, t),
	}
	if c := p.result.Ceiling; c != nil && c.Plateau != nil {
		course.Plateau = formatRate(c.Plateau.InnerBitsPerSecond)
		course.Overloads = overloadRows(c.Overloads, t)
	}
	return course
}

// overloadRows has a row for each height; one alone says no more than the
// plateau.
func overloadRows(overloads []analysis.Plateau, t analysis.Trial) []overloadRow {
	if len(overloads) < 2 {
		return nil
	}
	var rows []overloadRow
	for _, o := range overloads {
		rows = append(rows, overloadRow{
			Offered: trimmed(o.OfferedRatio, 2) + " ×", Inner: formatRate(o.InnerBitsPerSecond), Outer: outerRate(t, o.InnerBitsPerSecond),
			Spread: formatShare(o.Spread), Windows: formatCount(o.Windows), Loss: formatShare(o.LossRatio),
		})
	}
	return rows
}

// legend lists the looks that occur.
func legend(steps []analysis.Step) []legendEntry {
	seen := map[string]bool{}
	for _, s := range steps {
		seen[lookOf(s.Purpose).Name] = true
	}
	var entries []legendEntry
	for _, l := range looks {
		if seen[l.Name] {
			entries = append(entries, legendEntry{Name: l.Name, Class: l.Class, Path: l.shape(8, 8)})
		}
	}
	return entries
}
