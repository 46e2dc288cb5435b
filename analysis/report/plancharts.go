package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"tunnelmark/analysis"
)

// The looks of days that say less than others about the demand.
var (
	clippedLook = look{Name: "day at the capacity: demand may have been higher", Class: "clipped", shape: triangle}
	outlierLook = look{Name: "day that says little about the trend, like a holiday or an outage", Class: "outlier", shape: plus}
)

// demandView is what a page shows of the demand in one direction.
type demandView struct {
	ID, Direction, About  string
	Facts                 []fact
	Legend                []legendEntry // Of days that are marked.
	Wide, Narrow          *chart        // Nil where there is no day to draw.
	Forecast, Interval    bool          // Whether it draws a forecast, and an interval of dates.
	OneDown, OneDownDates bool          // Whether it draws the capacity with one link down, and its dates.
	Steps                 string        // Days since which the level is another.
	BackTest              string
	Dates                 *dateTable // Nil where there are none.
	Periods               []periodTable
}

// periodTable is the demand of each week, or of each month.
type periodTable struct {
	ID, Caption, Name string
	Rows              []periodRow
}

type periodRow struct{ Start, P95, BusyHour, Known string }

func newDemandView(p analysis.Plan, i int) demandView {
	o := p.Outlooks[i]
	view := demandView{
		ID: fmt.Sprintf("demand-%d", i+1), Direction: Clean(o.Direction), Facts: planFacts(p, o),
		BackTest: backTestText(o.Forecast.BackTest),
	}
	if len(o.Crossings)+len(o.OneDown) > 0 {
		view.Dates = datesOf(view.ID+"-dates", p, o)
	}
	view.addPeriods("week", "Week from", o.Forecast.Weeks, isoDate, layerName(p.Layer))
	view.addPeriods("month", "Month", o.Forecast.Months, isoMonth, layerName(p.Layer))
	var steps []string
	for _, s := range o.Forecast.Steps[:min(len(o.Forecast.Steps), maxSteps)] {
		steps = append(steps, isoDate(s))
	}
	view.Steps = listed(steps...)
	f := newFuture(p, o)
	if len(f.days) == 0 {
		return view
	}
	view.Wide, view.Narrow = f.chart(view.ID+"-wide", wide, 400), f.chart(view.ID+"-narrow", narrow, 380)
	view.Forecast, view.OneDown = len(o.Forecast.Ahead) > 0, f.links > 1
	view.Interval, view.OneDownDates = f.full.interval(), f.oneDown.interval()
	for _, l := range []look{clippedLook, outlierLook} {
		if slices.ContainsFunc(f.days, func(d analysis.Day) bool { return markOf(d) == l.Class }) {
			view.Legend = append(view.Legend, legendEntry{Name: l.Name, Class: l.Class, Path: l.shape(8, 8)})
		}
	}
	return view
}

// maxSteps bounds a list in a sentence.
const maxSteps = 12

func (v *demandView) addPeriods(unit, name string, periods []analysis.Period, write func(time.Time) string, layer string) {
	if len(periods) == 0 {
		return
	}
	t := periodTable{ID: v.ID + "-" + unit, Name: name, Caption: fmt.Sprintf("Demand %s by %s, %s. Known is the share of the time of which there is a rate.", v.Direction, unit, layer)}
	for _, p := range periods {
		row := periodRow{Start: write(p.Start), P95: none, BusyHour: none, Known: formatPercent(p.Known)}
		if p.Known > 0 {
			row.P95, row.BusyHour = formatRough(p.P95BitsPerSecond), formatRough(p.BusyHourBitsPerSecond)
		}
		t.Rows = append(t.Rows, row)
	}
	v.Periods = append(v.Periods, t)
}

// future draws demand, past and expected, against what the links carry.
type future struct {
	outlook  analysis.Outlook
	layer    analysis.Layer
	at       time.Time
	links    int
	days     []analysis.Day // That are known.
	full     dates
	oneDown  dates
	from, to time.Time
	top      float64 // In bit/s.
	unit     scale
}

// dates are those of a crossing.
type dates struct{ analysis.Crossing }

// interval says whether there is one to draw.
func (d dates) interval() bool { return !d.Earliest.IsZero() }

func newFuture(p analysis.Plan, o analysis.Outlook) future {
	f := future{outlook: o, layer: p.Layer, at: p.At, links: max(1, p.Links)}
	for _, d := range o.Forecast.Days {
		if d.P95BitsPerSecond > 0 && !math.IsInf(d.P95BitsPerSecond, 1) {
			f.days = append(f.days, d)
		}
	}
	if len(f.days) == 0 {
		return f
	}
	full, _ := fullest(o.Crossings)
	oneDown, _ := fullest(o.OneDown)
	f.full, f.oneDown = dates{full}, dates{oneDown}
	f.from, f.to = f.days[0].Date, f.end()
	f.top = f.highest()
	f.unit = scaleFor(f.top, bitRates)
	return f
}

// end is where the chart ends: a little after the last date that matters, or with
// the forecast where one of them lies beyond it.
func (f future) end() time.Time {
	last := f.days[len(f.days)-1].Date.AddDate(0, 0, 1)
	if f.at.After(last) {
		last = f.at
	}
	end := horizon(f.outlook)
	if !end.After(last) {
		return last
	}
	latest := f.full.Latest
	if f.full.Earliest.IsZero() || latest.IsZero() {
		return end
	}
	for _, date := range []time.Time{f.full.Latest, f.oneDown.Latest, last} {
		if date.After(latest) {
			latest = date
		}
	}
	latest = latest.Add(latest.Sub(f.from) / 12)
	if latest.After(end) {
		return end
	}
	return latest
}

// highest is the top of the chart: above all days and capacities, with room for words,
// but not as high as a forecast may rise beyond them.
func (f future) highest() float64 {
	most := f.capacity() * 1.02
	for _, d := range f.days {
		most = math.Max(most, d.P95BitsPerSecond)
	}
	ahead := 0.0
	for _, a := range f.outlook.Forecast.Ahead {
		if !a.Date.After(f.to) {
			ahead = math.Max(ahead, a.HighBitsPerSecond)
		}
	}
	return math.Max(most, math.Min(ahead, most*1.1)) * 1.25
}

// capacity is what all links carry.
func (f future) capacity() float64 {
	return f.outlook.Capacity.LikelyBitsPerSecond * float64(f.links)
}

func (f future) chart(id string, width, height float64) *chart {
	c := newChart(id, width, height,
		domain{label: "Date", min: dateValue(f.from), max: dateValue(f.to), zone: f.from.Location()},
		domain{label: "Demand, " + layerName(f.layer) + " (" + f.unit.name + ")", max: f.top, unit: f.unit})
	c.Title = "Demand " + Clean(f.outlook.Direction) + ", past and expected, against the capacity"
	c.About = f.about()
	f.drawInterval(c, "when one-down", f.oneDown)
	f.drawInterval(c, "when all-links", f.full)
	f.drawAhead(c)
	f.drawDays(c)
	f.drawCapacities(c, width == narrow)
	f.drawDates(c, width == narrow)
	return c
}

// about tells those who cannot see the chart what it shows.
func (f future) about() string {
	return fmt.Sprintf("95th percentile of each of %s days from %s to %s, then the expected level of the busiest weekdays with its 80"+nbsp+"%% interval until %s. "+
		"All links together carry %s %s. The table of dates and those of weeks and months hold the same figures.",
		formatCount(len(f.days)), isoDate(f.from), isoDate(f.days[len(f.days)-1].Date), isoDate(f.to), formatRough(f.capacity()), layerName(f.layer))
}

// drawInterval shades the dates between which the capacity is reached.
func (f future) drawInterval(c *chart, class string, d dates) {
	if !d.interval() {
		return
	}
	end := c.X.max
	if !d.Latest.IsZero() {
		end = dateValue(d.Latest)
	}
	from := dateValue(d.Earliest)
	c.area(class, []point{{from, c.Y.min}, {end, c.Y.min}}, []point{{from, c.Y.max}, {end, c.Y.max}})
}

func (f future) drawAhead(c *chart) {
	var low, likely, high []point
	for _, a := range f.outlook.Forecast.Ahead {
		if x := dateValue(a.Date); c.X.covers(x) {
			low, high = append(low, point{x, a.LowBitsPerSecond}), append(high, point{x, a.HighBitsPerSecond})
			likely = append(likely, point{x, a.LikelyBitsPerSecond})
		}
	}
	c.area("forecast", low, high)
	c.line("likely", likely...)
}

// drawDays puts a dot on each day; those that say less are marks of their own.
func (f future) drawDays(c *chart) {
	var dots strings.Builder
	for _, d := range f.days {
		at := point{dateValue(d.Date), d.P95BitsPerSecond}
		switch title := dayTitle(d); {
		case d.Clipped:
			c.mark(clippedLook, at, title+", at the capacity")
		case d.Outlier:
			c.mark(outlierLook, at, title+", outlier")
		case c.X.covers(at.x) && c.Y.covers(at.y):
			// Round caps make a dot of a line without length.
			dots.WriteString("M" + pixels(c.X.at(at.x)) + " " + pixels(c.Y.at(at.y)) + "h0")
		}
	}
	if dots.Len() > 0 {
		c.Lines = append(c.Lines, line{Class: "days", Path: dots.String()})
	}
}

func markOf(d analysis.Day) string {
	switch {
	case d.Clipped:
		return clippedLook.Class
	case d.Outlier:
		return outlierLook.Class
	}
	return ""
}

func dayTitle(d analysis.Day) string { return isoDate(d.Date) + ": " + formatRough(d.P95BitsPerSecond) }

// level is a share of what so many links carry.
type level struct {
	class, short, long string
	bitsPerSecond      float64
}

// levels has the full capacities first: their words matter most.
func (f future) levels() []level {
	var all []level
	add := func(class, which string, links int, crossings []analysis.Crossing) {
		for _, c := range crossings {
			rate := f.outlook.Capacity.LikelyBitsPerSecond * float64(links) * c.Share
			share := formatGoal(c.Share) + which
			one := level{class: class, short: share, long: share + ", " + formatRough(rate), bitsPerSecond: rate}
			if c.Share == 1 {
				one.class += " whole"
			}
			all = append(all, one)
		}
	}
	one := ""
	if f.links > 1 {
		one = " of all links"
	}
	add("all-links", one, f.links, f.outlook.Crossings)
	add("one-down", ", one link down", f.links-1, f.outlook.OneDown)
	slices.SortStableFunc(all, func(a, b level) int { return cmp.Compare(len(b.class), len(a.class)) })
	return all
}

// drawCapacities draws a line for each, and words where they do not meet others.
func (f future) drawCapacities(c *chart, short bool) {
	var taken []float64
	for _, l := range f.levels() {
		c.level(l.class, l.bitsPerSecond)
		y := c.Y.at(l.bitsPerSecond) - 4
		near := slices.ContainsFunc(taken, func(t float64) bool { return math.Abs(t-y) < lineHeight })
		if near || !c.Y.covers(l.bitsPerSecond) {
			continue
		}
		text := l.long
		if short {
			text = l.short
		}
		taken = append(taken, y)
		c.Texts = append(c.Texts, chartText{X: c.X.Start + 6, Y: y, Anchor: "start", Text: text})
	}
}

// The room that words inside a chart take, in pixels: a line, and a character.
const (
	lineHeight = 15
	charWidth  = 7
)

// drawDates draws a vertical line for each date that matters, with words below one
// another.
func (f future) drawDates(c *chart, short bool) {
	row := 0
	draw := func(class, name string, date time.Time) {
		x := dateValue(date)
		if date.IsZero() || !c.X.covers(x) {
			return
		}
		c.line(class, point{x, c.Y.min}, point{x, c.Y.max})
		if !short {
			name += " " + isoDate(date)
		}
		text := chartText{X: c.X.at(x) + 5, Y: c.Y.End + 11 + lineHeight*float64(row), Anchor: "start", Text: name}
		if text.X+charWidth*float64(len(name)) > c.X.End {
			text.X, text.Anchor = text.X-10, "end"
		}
		c.Texts = append(c.Texts, text)
		row++
	}
	draw("date today", "made for", f.at)
	if f.full.OrderBy.After(f.at) {
		draw("date order", "order by", f.full.OrderBy)
	}
	draw("date one-down", "one down: likely "+fullName(f.oneDown.Share), f.oneDown.Likely)
	draw("date all-links", "likely "+fullName(f.full.Share), f.full.Likely)
}

func fullName(share float64) string {
	if share == 1 {
		return "full"
	}
	return formatGoal(share)
}
