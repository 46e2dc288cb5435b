// Package demand reads what a path carried over time, from a CSV file or from
// Prometheus, as analysis.Demand.
//
// The way of a sample, in the order of the files:
//
//  1. lines.go: a file becomes lines and these cells, both bounded.
//  2. columns.go, measure.go: the head of the file says which column holds what, and
//     in which unit; whatever it does not say must be named.
//  3. moment.go, cell.go: a line's cells become a time and numbers, or an error with
//     the line, the column, the value and what is allowed.
//  4. csv.go tells this story for a file, prometheus.go and server.go for a server.
//  5. fold.go: samples in order of time, either way, are folded as they come; the
//     first thousand say how far apart they are.
//  6. counter.go: totals become rates, across resets and wraps.
//  7. bins.go: rates become means, so that memory grows with time and not with rows.
//
// Nothing is filled in: what the source does not know is NaN, and a note says how much
// that is.
package demand

import (
	"fmt"
	"time"

	"tunnelmark/analysis"
)

// Options say how samples are to be understood.
type Options struct {
	Layer analysis.Layer // In which the source counted.
	// Unit of the rates: "bit/s", "Mbps", "kB/s" and the like, or of a counter that
	// only grows: "bytes", "bits". Empty: as the column's name or its cells say.
	Unit string
	// Scale multiplies every rate; zero: 1.
	Scale float64
	// Location is where days begin, and that of times without a zone; nil: UTC.
	Location *time.Location
	// Columns of a CSV file. Optional.
	Columns Columns
}

// Columns are those of a CSV file, by name or by number from 1. One that is empty is
// found by its name.
type Columns struct {
	Time, Rate, ReverseRate, Packets, ReversePackets string
}

// Demands is what one source held.
type Demands struct {
	Forward analysis.Demand
	// Reverse is the other way, in the same bins; nil where the source has one way alone.
	Reverse *analysis.Demand
	// Notes are sentences that a user must see: what was taken as what, and what was
	// left out.
	Notes   []string
	Samples int // Numbers that Forward is made from.
	// SHA256 in hexadecimal, of the bytes of a CSV file or of the samples that
	// Prometheus gave.
	SHA256 string
}

// mostScale keeps every product of rates within a float64.
const mostScale = 1e9

// Check says what cannot be.
func (o Options) Check() error {
	_, err := o.checked()
	return err
}

// checked returns the options with their defaults, or says what cannot be.
func (o Options) checked() (Options, error) {
	switch o.Layer {
	case analysis.InnerLayer, analysis.OuterLayer, analysis.EthernetLayer:
	default:
		return o, fmt.Errorf("demand layer %s is not inner, outer or l2: say where the source counts", shown(string(o.Layer)))
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	if !(o.Scale > 0 && o.Scale <= mostScale) {
		return o, fmt.Errorf("scale %v is not a number above 0 and at most %.0e", o.Scale, mostScale)
	}
	if o.Location == nil {
		o.Location = time.UTC
	}
	if m, known := bitMeasure(o.Unit); o.Unit != "" && (!known || m.total && !m.isCounter()) {
		return o, fmt.Errorf("demand unit %s is not one of %s", shown(o.Unit), unitsAllowed)
	}
	return o, nil
}
