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
	clippedLook = look{Name: "at the capacity: demand may have been higher", Class: "clipped", shape: triangle}
	outlierLook = look{Name: "unlike the others: a holiday, an outage", Class: "outlier", shape: plus}
)

// futureView is a chart of demand with its legend.
type futureView struct {
	Wide, Narrow           *chart
	Marks                  []legendEntry // Of days that say less than others.
	Forecast, Interval     bool          // Whether it draws a forecast, and an interval of dates.
	OneDown, OneDownPeriod bool          // Whether it draws the capacity with one link down, and its interval.
}

// newFutureView is nil where there is no day to draw.
func newFutureView(p analysis.Plan, o analysis.Outlook, id string, height float64) *futureView {
	f := newFuture(p, o)
	if len(f.days) == 0 {
		return nil
	}
	view := &futureView{
		Wide: f.chart(id+"-wide", wide, height), Narrow: f.chart(id+"-narrow", narrow, 380),
		Forecast: len(o.Forecast.Ahead) > 0, Interval: f.draws(f.full), OneDown: f.links > 1, OneDownPeriod: f.draws(f.oneDown),
	}
	for _, l := range []look{clippedLook, outlierLook} {
		if slices.ContainsFunc(f.days, func(d analysis.Day) bool { return markOf(d) == l.Class }) {
			view.Marks = append(view.Marks, legendEntry{Name: l.Name, Class: l.Class, Path: l.shape(8, 8)})
		}
	}
	return view
}

// future draws demand, past and expected, against what the links carry.
type future struct {
	outlook  analysis.Outlook
	layer    analysis.Layer
	at       time.Time
	links    int
	days     []analysis.Day // With any demand.
	full     analysis.Crossing
	oneDown  analysis.Crossing
	from, to time.Time
	most     float64 // In bit/s.
	unit     scale
}

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
	f.full, _ = fullest(o.Crossings)
	f.oneDown, _ = fullest(o.OneDown)
	f.from = f.days[0].Date
	f.to = f.end()
	f.most = f.highest()
	f.unit = scaleFor(f.most, bitRates)
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
	if f.full.Earliest.IsZero() || f.full.Latest.IsZero() {
		return end
	}
	for _, date := range []time.Time{f.full.Latest, f.oneDown.Latest} {
		if date.After(last) {
			last = date
		}
	}
	last = last.Add(last.Sub(f.from) / 12)
	if last.After(end) {
		return end
	}
	return last
}

// highest is the most that is drawn: all days and capacities, and a forecast as far as
// it does not rise far beyond them.
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
	return math.Max(most, math.Min(ahead, most*1.1))
}

// capacity is what all links carry.
func (f future) capacity() float64 {
	return f.outlook.Capacity.LikelyBitsPerSecond * float64(f.links)
}

func (f future) chart(id string, width, height float64) *chart {
	across := height - marginTop - marginBottom
	top := f.most * across / (across - dateRoom)
	c := newChart(id, width, height,
		domain{label: "Date", min: dateValue(f.from), max: dateValue(f.to), zone: f.from.Location()},
		domain{label: "Demand, " + layerName(f.layer) + " (" + f.unit.name + ")", max: top, unit: f.unit})
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
	ahead := ""
	if len(f.outlook.Forecast.Ahead) > 0 {
		ahead = fmt.Sprintf(", then the expected level of the busiest weekdays with its 80"+nbsp+"%% interval until %s", isoDate(f.to))
	}
	return fmt.Sprintf("95th percentile of each of %s days from %s to %s%s. All links together carry %s %s. The table of dates and those of weeks and months hold the same figures.",
		formatCount(len(f.days)), isoDate(f.from), isoDate(f.days[len(f.days)-1].Date), ahead, formatRough(f.capacity()), layerName(f.layer))
}

// draws says whether there is an interval of dates to draw: one that is over by now
// says nothing.
func (f future) draws(c analysis.Crossing) bool {
	return !c.Earliest.IsZero() && !reached(c.Latest, f.at)
}

// drawInterval shades the dates between which the capacity is reached.
func (f future) drawInterval(c *chart, class string, full analysis.Crossing) {
	if !f.draws(full) {
		return
	}
	from, to := dateValue(full.Earliest), c.X.max
	if !full.Latest.IsZero() {
		to = dateValue(full.Latest)
	}
	c.area(class, []point{{from, c.Y.min}, {to, c.Y.min}}, []point{{from, c.Y.max}, {to, c.Y.max}})
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
	share              float64
	bitsPerSecond      float64
}

// levels has the highest shares first: their words matter most.
func (f future) levels() []level {
	var all []level
	add := func(class, which string, links int, crossings []analysis.Crossing) {
		for _, c := range crossings {
			rate := f.outlook.Capacity.LikelyBitsPerSecond * float64(links) * c.Share
			share := formatGoal(c.Share) + which
			one := level{class: class, short: share, long: share + ", " + formatRough(rate), share: c.Share, bitsPerSecond: rate}
			if c.Share == 1 {
				one.class += " whole"
			}
			all = append(all, one)
		}
	}
	add("all-links", linksName(f.links), f.links, f.outlook.Crossings)
	add("one-down", ", one link down", f.links-1, f.outlook.OneDown)
	slices.SortStableFunc(all, func(a, b level) int { return cmp.Compare(b.share, a.share) })
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
		c.Texts = append(c.Texts, chartText{X: c.X.End - 4, Y: y, Anchor: "end", Text: text})
	}
}

// The room that words inside a chart take, in pixels: a line, a character, and what
// stands above all else to name the dates.
const (
	lineHeight = 15
	charWidth  = 7
	dateRoom   = 3*lineHeight + 10
)

// drawDates draws a vertical line for each date that matters.
func (f future) drawDates(c *chart, short bool) {
	var taken []words
	draw := func(class, name string, date time.Time) {
		x := dateValue(date)
		if date.IsZero() || !c.X.covers(x) {
			return
		}
		c.line(class, point{x, c.Y.min}, point{x, c.Y.max})
		switch {
		case !date.After(f.at) && len(taken) > 0:
			name += " already"
		case !short:
			name += " " + isoDate(date)
		}
		taken = append(taken, c.nameDate(c.X.at(x), name, taken))
	}
	draw("date today", "made for", f.at)
	if f.full.OrderBy.After(f.at) {
		draw("date order", "order by", f.full.OrderBy)
	}
	draw("date one-down", "one link down: "+f.fullName(f.oneDown), f.oneDown.Likely)
	draw("date all-links", f.fullName(f.full), f.full.Likely)
}

// words is where words stand at the top of a chart: from one pixel to another, on one
// of the lines below each other.
type words struct {
	from, to float64
	line     int
}

// nameDate writes a name beside a vertical line, at the first height where it meets no other.
func (c *chart) nameDate(x float64, name string, taken []words) words {
	width := charWidth * float64(len(name))
	w, text := words{from: x, to: x + 5 + width}, chartText{X: x + 5, Anchor: "start", Text: name}
	if w.to > c.X.End {
		w, text.X, text.Anchor = words{from: x - 5 - width, to: x}, x-5, "end"
	}
	for slices.ContainsFunc(taken, func(t words) bool { return t.line == w.line && t.from < w.to && w.from < t.to }) {
		w.line++
	}
	text.Y = c.Y.End + 11 + lineHeight*float64(w.line)
	c.Texts = append(c.Texts, text)
	return w
}

// fullName is "likely full", or "full" where it is by now.
func (f future) fullName(c analysis.Crossing) string {
	name := "full"
	if c.Share != 1 {
		name = formatGoal(c.Share)
	}
	if reached(c.Likely, f.at) {
		return name
	}
	return "likely " + name
}
