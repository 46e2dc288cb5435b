package demand

import (
	"math"
	"slices"
	"time"
)

// grid numbers bins of equal length along time, and places them in the order in which
// a source is read. Bins begin with the hours of local time.
type grid struct {
	step     time.Duration
	offset   time.Duration // Of local time from UTC.
	origin   int64         // Number of the bin that the first row is in.
	backward bool
}

func newGrid(step time.Duration, first time.Time, backward bool) grid {
	_, seconds := first.Zone()
	g := grid{step: step, offset: time.Duration(seconds) * time.Second, backward: backward}
	g.origin = g.number(first)
	return g
}

func (g grid) number(at time.Time) int64 {
	return (at.UnixNano() + int64(g.offset)) / int64(g.step)
}

// begin is when the bin of that number does.
func (g grid) begin(number int64) time.Time {
	return time.Unix(0, number*int64(g.step)-int64(g.offset))
}

// slot is where the bin of a moment is kept.
func (g grid) slot(at time.Time) int {
	if g.backward {
		return int(g.origin - g.number(at))
	}
	return int(g.number(at) - g.origin)
}

// start is when the earliest of so many bins begins.
func (g grid) start(bins int, zone *time.Location) time.Time {
	earliest := g.origin
	if g.backward {
		earliest -= int64(bins) - 1
	}
	return g.begin(earliest).In(zone)
}

// bins hold weighted means and highest values, in memory that grows with the span of time alone.
type bins struct {
	grid  grid
	scale float64
	fine  bool // Samples are near enough for the highest of them to say something.
	// least is the weight from which a mean is known.
	least                  float64
	sums, weights, highest []float64
}

// add folds a value into a bin.
func (b *bins) add(slot int, value, weight float64) {
	if more := slot + 1 - len(b.sums); more > 0 {
		b.sums = append(b.sums, make([]float64, more)...)
		b.weights = append(b.weights, make([]float64, more)...)
		if b.fine {
			b.highest = append(b.highest, make([]float64, more)...)
		}
	}
	b.sums[slot] += value * weight
	b.weights[slot] += weight
	if b.fine {
		b.highest[slot] = max(b.highest[slot], value)
	}
}

// spread folds a rate that held from one moment to another into all bins between.
func (b *bins) spread(from, to time.Time, rate float64) {
	for number := b.grid.number(from); ; number++ {
		end := b.grid.begin(number + 1)
		if !end.Before(to) {
			b.add(b.grid.slot(from), rate, to.Sub(from).Seconds())
			return
		}
		b.add(b.grid.slot(from), rate, end.Sub(from).Seconds())
		from = end
	}
}

// means returns so many bins in the order of time, scaled; the bins themselves are
// used up.
func (b *bins) means(count int) (means, highest []float64) {
	b.pad(count)
	for slot, weight := range b.weights {
		if weight == 0 || weight < b.least {
			b.sums[slot] = math.NaN()
			if b.fine {
				b.highest[slot] = math.NaN()
			}
			continue
		}
		b.sums[slot] *= b.scale / weight
		if b.fine {
			b.highest[slot] *= b.scale
		}
	}
	if b.grid.backward {
		slices.Reverse(b.sums)
		slices.Reverse(b.highest)
	}
	return b.sums, b.highest
}

// pad adds bins, of which nothing is known, up to that number.
func (b *bins) pad(count int) {
	if len(b.sums) < count {
		b.add(count-1, 0, 0)
	}
}

// gauge folds rates. A rate is a mean since the sample before.
type gauge struct {
	bins
	spacing time.Duration
	at      time.Time
	value   float64
}

// add puts a rate into the bin of its time. A bin that was passed over only because
// the source's clock is a little slow has the rate of the later sample.
func (g *gauge) add(at time.Time, value float64) error {
	slot := g.grid.slot(at)
	if !g.at.IsZero() && at.Sub(g.at).Abs() <= g.spacing*3/2 {
		later := value
		if g.grid.backward {
			later = g.value
		}
		for between := g.grid.slot(g.at) + 1; between < slot; between++ {
			g.bins.add(between, later, 1)
		}
	}
	g.bins.add(slot, value, 1)
	g.at, g.value = at, value
	return nil
}

func (g *gauge) notes() ([]string, error) { return nil, nil }
