package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A chart is a drawing in pixels, ready for page/chart.html. Its marks are
// shapes with a title each, so that a pointer can read what a point is.
type chart struct {
	ID, Class     string
	Title, About  string // For those who cannot see it.
	Width, Height float64
	X, Y          axis
	Bands         []band
	Areas         []line // Closed.
	Lines         []line
	Marks         []mark
	Texts         []chartText
}

// axis is one side of a chart. Start and End are its ends in pixels; the end
// of the vertical one is the upper.
type axis struct {
	Label      string
	Ticks      []tick
	Start, End float64
	min, max   float64
}

type tick struct {
	At   float64
	Text string
}

// band is a shaded stripe over a range of the horizontal axis.
type band struct{ X, Width float64 }

// chartText is a word inside the chart; Anchor is the end of it that stands at X.
type chartText struct {
	X, Y         float64
	Anchor, Text string
}

// line is a polyline; its class in the style sheet gives it a colour.
type line struct{ Class, Path string }

// mark is one point.
type mark struct{ Class, Path, Title string }

// The room around a chart, in pixels: tick labels at the left, the vertical
// axis' label above, ticks and the label of the horizontal axis below.
const (
	marginLeft   = 52
	marginRight  = 14
	marginTop    = 30
	marginBottom = 46
)

// newChart lays out an empty chart over two ranges.
func newChart(id string, width, height float64, x, y domain) *chart {
	c := &chart{ID: id, Width: width, Height: height}
	c.X = newAxis(x, marginLeft, width-marginRight, max(60, width/10))
	c.Y = newAxis(y, height-marginBottom, marginTop, 48)
	return c
}

// domain is a range of values of a quantity, written in a scale.
type domain struct {
	label    string
	min, max float64
	unit     scale
	// zone is where midnight is, of an axis of dates, in Unix seconds; nil: of figures.
	zone *time.Location
}

// newAxis puts ticks about so many pixels apart.
func newAxis(s domain, start, end, apart float64) axis {
	if !(s.max > s.min) || math.IsInf(s.max-s.min, 0) {
		s.min, s.max = 0, s.unit.size
	}
	a := axis{Label: s.label, Start: start, End: end, min: s.min, max: s.max}
	if s.zone != nil {
		a.Ticks = a.dateTicks(s.zone, apart)
		return a
	}
	step := niceStep((s.max - s.min) / s.unit.size / math.Max(2, math.Abs(end-start)/apart))
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	first := math.Ceil(s.min/s.unit.size/step - 1e-9)
	for i := range maxTicks {
		value := (first + float64(i)) * step
		if value*s.unit.size > s.max*(1+1e-9) {
			break
		}
		a.Ticks = append(a.Ticks, tick{At: a.at(value * s.unit.size), Text: group(strconv.FormatFloat(value, 'f', decimals, 64))})
	}
	return a
}

// maxTicks bounds an axis, whatever its range.
const maxTicks = 24

// niceStep is the least of 1, 2, 5, 10, 20, ... that is no smaller.
func niceStep(least float64) float64 {
	magnitude := math.Pow(10, math.Floor(math.Log10(least)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*magnitude >= least*(1-1e-9) {
			return factor * magnitude
		}
	}
	return 10 * magnitude
}

// at is where a value lies, in pixels, to a tenth.
func (a axis) at(value float64) float64 {
	return tenth(a.Start + (value-a.min)/(a.max-a.min)*(a.End-a.Start))
}

// covers says whether a value lies on the axis.
func (a axis) covers(value float64) bool { return value >= a.min && value <= a.max }

// Across are the pixels from left to right, or from top to bottom.
func (a axis) Across() float64 { return math.Abs(a.End - a.Start) }

func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// point is a pair of values on both axes.
type point struct{ x, y float64 }

// line draws through points, cut at the chart's edges by leaving out those
// beyond.
func (c *chart) line(class string, points ...point) {
	var path strings.Builder
	for _, p := range points {
		if !c.X.covers(p.x) || !c.Y.covers(p.y) {
			continue
		}
		command := "L"
		if path.Len() == 0 {
			command = "M"
		}
		path.WriteString(command + pixels(c.X.at(p.x)) + " " + pixels(c.Y.at(p.y)))
	}
	if path.Len() > 0 {
		c.Lines = append(c.Lines, line{Class: class, Path: path.String()})
	}
}

// area fills what lies between two lines, as far as the chart reaches; what is no
// number is left out.
func (c *chart) area(class string, lower, upper []point) {
	var path strings.Builder
	command := "M"
	add := func(p point) {
		if math.IsNaN(p.x) || math.IsNaN(p.y) {
			return
		}
		x, y := min(max(p.x, c.X.min), c.X.max), min(max(p.y, c.Y.min), c.Y.max)
		path.WriteString(command + pixels(c.X.at(x)) + " " + pixels(c.Y.at(y)))
		command = "L"
	}
	for _, p := range lower {
		add(p)
	}
	for _, p := range slices.Backward(upper) {
		add(p)
	}
	if path.Len() > 0 {
		c.Areas = append(c.Areas, line{Class: class, Path: path.String() + "z"})
	}
}

// curve draws a function over the whole width.
func (c *chart) curve(class string, f func(x float64) float64) {
	const pieces = 120
	points := make([]point, 0, pieces+1)
	for i := range pieces + 1 {
		x := c.X.min + (c.X.max-c.X.min)*float64(i)/pieces
		points = append(points, point{x, f(x)})
	}
	c.line(class, points...)
}

// level draws a horizontal line.
func (c *chart) level(class string, y float64) {
	c.line(class, point{c.X.min, y}, point{c.X.max, y})
}

// band shades a range of the horizontal axis, as far as it is visible.
func (c *chart) band(from, to float64) {
	from, to = max(from, c.X.min), min(to, c.X.max)
	if from < to {
		c.Bands = append(c.Bands, band{X: c.X.at(from), Width: tenth(c.X.at(to) - c.X.at(from))})
	}
}

// mark draws a point where the chart covers it.
func (c *chart) mark(look look, p point, title string) {
	if c.X.covers(p.x) && c.Y.covers(p.y) {
		c.Marks = append(c.Marks, mark{Class: look.Class, Path: look.shape(c.X.at(p.x), c.Y.at(p.y)), Title: title})
	}
}

// Shapes are paths around a point, about nine pixels wide.

func circle(x, y float64) string {
	return "M" + pixels(x-4.5) + " " + pixels(y) + "a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z"
}

func square(x, y float64) string {
	return "M" + pixels(x-4) + " " + pixels(y-4) + "h8v8h-8z"
}

func diamond(x, y float64) string {
	return "M" + pixels(x) + " " + pixels(y-5.5) + "l5.5 5.5l-5.5 5.5l-5.5 -5.5z"
}

func triangle(x, y float64) string {
	return "M" + pixels(x) + " " + pixels(y-5) + "l5.2 9h-10.4z"
}

// pointer is a triangle on its tip.
func pointer(x, y float64) string {
	return "M" + pixels(x) + " " + pixels(y+5) + "l5.2 -9h-10.4z"
}

func bar(x, y float64) string {
	return "M" + pixels(x-5.5) + " " + pixels(y-2) + "h11v4h-11z"
}

func plus(x, y float64) string {
	return "M" + pixels(x-1.5) + " " + pixels(y-5) + "h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z"
}

func pixels(v float64) string { return strconv.FormatFloat(tenth(v), 'f', -1, 64) }
