package demand

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"tunnelmark/analysis"
)

// Bounds of what is folded.
const (
	firstRows = 1000 // From which the usual spacing is taken.
	mostSpan  = 10 * 366 * 24 * time.Hour
)

// steps are the lengths that bins may have: an hour is a multiple of each, so that no
// bin lies in two.
var steps = []time.Duration{5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour}

// row holds what a source says of one moment.
type row struct {
	line   int // Of a file; zero elsewhere.
	at     time.Time
	values [kinds]float64 // NaN where nothing is known.
}

// nothing is known.
var nothing = [kinds]float64{math.NaN(), math.NaN(), math.NaN(), math.NaN()}

func (r row) String() string {
	at := r.at.Format(time.RFC3339Nano)
	if r.line == 0 {
		return at
	}
	return fmt.Sprintf("line %d (%s)", r.line, at)
}

// series folds the samples of one column into bins.
type series interface {
	// add folds a sample that follows the one before in the order of the source.
	add(at time.Time, value float64) error
	// notes says what was odd, or why the samples cannot be what they are taken for.
	notes() ([]string, error)
	// means returns so many bins in the order of time, NaN where nothing is known, and
	// their highest samples.
	means(bins int) (means, peaks []float64)
}

// folder folds rows into demand as they come.
type folder struct {
	options  Options
	labels   [kinds]string
	measures [kinds]*measure // Nil where the source has none.
	series   [kinds]series   // Set once the spacing is known.

	early    []row // Until then.
	origin   row
	last     row
	gap      time.Duration // Between the last two times.
	backward bool
	dropped  int // Rows that were there twice.
	samples  [kinds]int
	spacing  time.Duration
	grid     grid
}

func newFolder(o Options) *folder { return &folder{options: o} }

// use tells of a column. Its measure may be learned until its first value is added.
func (f *folder) use(kind int, label string, m *measure) {
	f.labels[kind], f.measures[kind] = label, m
}

// add folds the next row, or drops it if it is the last one again.
func (f *folder) add(r *row) error {
	fresh, err := f.inOrder(r)
	if err != nil || !fresh {
		return err
	}
	if !f.last.at.IsZero() {
		f.gap = r.at.Sub(f.last.at).Abs()
	}
	f.last = *r
	for kind, value := range r.values {
		if !math.IsNaN(value) {
			f.samples[kind]++
		}
	}
	if f.grid.step > 0 {
		return f.fold(r)
	}
	f.early = append(f.early, *r)
	if len(f.early) == firstRows {
		return f.begin()
	}
	return nil
}

// above is what the rows so far say about the time of the next one.
func (f *folder) above() above { return above{f.last.at, f.gap, f.backward} }

// inOrder holds a row against the last one. The first two that differ in time say
// which way the source goes.
func (f *folder) inOrder(r *row) (fresh bool, err error) {
	if f.last.at.IsZero() {
		f.origin = *r
		return true, nil
	}
	if r.at.Equal(f.last.at) {
		f.dropped++
		return false, f.twice(r)
	}
	backward := r.at.Before(f.last.at)
	if f.last.at.Equal(f.origin.at) {
		f.backward = backward
	}
	if backward != f.backward {
		return false, fmt.Errorf("%v is %s %v, against the order of the rows above: sort the file by time", r, beside(backward), f.last)
	}
	if r.at.Sub(f.origin.at).Abs() > mostSpan {
		return false, fmt.Errorf("%v is more than ten years from %v: leave older samples out", r, f.origin)
	}
	return true, nil
}

func beside(before bool) string {
	if before {
		return "before"
	}
	return "after"
}

// twice allows a row to repeat the last one.
func (f *folder) twice(r *row) error {
	for kind, value := range r.values {
		if last := f.last.values[kind]; value != last && !(math.IsNaN(value) && math.IsNaN(last)) {
			return fmt.Errorf("%v and %v have the same time with different values: keep one series (interface, tunnel) in a file, or one row for a time", f.last, r)
		}
	}
	return nil
}

// begin takes the spacing from the first rows, and folds them.
func (f *folder) begin() error {
	if len(f.early) < 2 {
		return errors.New("fewer than 2 samples: growth needs weeks of them")
	}
	f.spacing = usualSpacing(f.early)
	step, err := binLength(f.spacing)
	if err != nil {
		return err
	}
	f.grid = newGrid(step, f.origin.at.In(f.options.Location), f.backward)
	for kind, m := range f.measures {
		if m != nil {
			f.series[kind] = f.newSeries(kind, *m)
		}
	}
	for i := range f.early {
		if err := f.fold(&f.early[i]); err != nil {
			return err
		}
	}
	f.early = nil
	return nil
}

func (f *folder) newSeries(kind int, m measure) series {
	b := bins{grid: f.grid, scale: f.options.Scale, fine: kind < packets && f.spacing < time.Minute}
	if m.total {
		b.least = f.grid.step.Seconds() / 2 // Of time that is counted.
		return &counter{bins: b, factor: m.factor, spacing: f.spacing}
	}
	return &gauge{bins: b, spacing: f.spacing}
}

// usualSpacing is the median of the times between rows.
func usualSpacing(rows []row) time.Duration {
	var between []time.Duration
	for i := 1; i < len(rows); i++ {
		between = append(between, rows[i].at.Sub(rows[i-1].at).Abs())
	}
	slices.Sort(between)
	return between[len(between)/2]
}

// binLength is the least of the steps that holds a sample in each bin; clocks that
// are a little late do not make it longer.
func binLength(spacing time.Duration) (time.Duration, error) {
	for _, step := range steps {
		if spacing <= step+step/20 {
			return step, nil
		}
	}
	return 0, fmt.Errorf("samples are %v apart: a mean over more than an hour hides the busy hour, so export samples an hour apart or less", spacing)
}

func (f *folder) fold(r *row) error {
	for kind, s := range f.series {
		if s == nil || math.IsNaN(r.values[kind]) {
			continue
		}
		if err := s.add(r.at, r.values[kind]); err != nil {
			return fmt.Errorf("%v, column %s: %w", r, f.labels[kind], err)
		}
	}
	return nil
}

// finish returns what was folded.
func (f *folder) finish() (Demands, error) {
	if f.grid.step == 0 {
		if err := f.begin(); err != nil {
			return Demands{}, err
		}
	}
	d := Demands{Samples: f.samples[forward]}
	if d.Samples < 2 {
		return d, fmt.Errorf("column %s has fewer than 2 samples: all others are gaps", f.labels[forward])
	}
	d.Forward = f.demand(forward)
	if f.samples[reverse] > 0 {
		r := f.demand(reverse)
		d.Reverse = &r
	}
	if err := trim(&d); err != nil {
		return d, err
	}
	return d, f.remark(&d)
}

// demand is that of one way, in all bins between the first row and the last.
func (f *folder) demand(way int) analysis.Demand {
	count := f.grid.slot(f.last.at) + 1
	d := analysis.Demand{
		Layer: f.options.Layer, Start: f.grid.start(count, f.options.Location), Step: f.grid.step, Spacing: f.spacing,
	}
	d.BitsPerSecond, d.PeakBitsPerSecond = f.series[way].means(count)
	if f.samples[packets+way] > 0 {
		d.PacketsPerSecond, _ = f.series[packets+way].means(count)
	}
	return d
}

// trim removes bins at either end of which nothing is known.
func trim(d *Demands) error {
	known := func(bin int) bool {
		return d.Forward.Known(bin) || d.Reverse != nil && d.Reverse.Known(bin)
	}
	from, to := 0, len(d.Forward.BitsPerSecond)
	for from < to && !known(from) {
		from++
	}
	for to > from && !known(to-1) {
		to--
	}
	if from == to {
		return errors.New("no two samples of the counter are near enough to tell a rate")
	}
	clip(&d.Forward, from, to)
	if d.Reverse != nil {
		clip(d.Reverse, from, to)
	}
	return nil
}

func clip(d *analysis.Demand, from, to int) {
	d.Start = d.Start.Add(time.Duration(from) * d.Step)
	d.BitsPerSecond = d.BitsPerSecond[from:to]
	if d.PacketsPerSecond != nil {
		d.PacketsPerSecond = d.PacketsPerSecond[from:to]
	}
	if d.PeakBitsPerSecond != nil {
		d.PeakBitsPerSecond = d.PeakBitsPerSecond[from:to]
	}
}

// known says whether a row has any value.
func (r *row) known() bool {
	return slices.ContainsFunc(r.values[:], func(v float64) bool { return !math.IsNaN(v) })
}
