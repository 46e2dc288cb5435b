package analysis

import (
	"math"
	"time"
)

// Layer is where the bytes of a rate are counted.
type Layer string

// The layers in which networks count traffic, from the inside. InnerLayer counts IP
// packets that enter the tunnel, OuterLayer those that leave it, and EthernetLayer
// the frames that carry the latter, 14 B of header and 4 B of FCS included, as
// interfaces count them (RFC 2863, Section 3.1.4, ifHCInOctets).
const (
	InnerLayer    Layer = "inner"
	OuterLayer    Layer = "outer"
	EthernetLayer Layer = "l2"
)

// Demand is what a path carried over time, in one direction.
type Demand struct {
	Layer Layer
	// Start is when the first bin begins; the others follow without a gap. Its
	// location decides where days begin.
	Start time.Time
	// Step is the length of each bin: 5 min or, where the samples are further apart, the
	// next of 10, 15, 20, 30 and 60 min, so that no bin lies in two hours.
	Step time.Duration
	// BitsPerSecond is the mean rate in each bin, in Layer; NaN where nothing is known.
	BitsPerSecond []float64
	// PacketsPerSecond is likewise; nil where packets were not counted.
	PacketsPerSecond []float64
	// PeakBitsPerSecond is the highest sample in each bin; nil where the samples are
	// a minute or more apart, so that bursts are unknown.
	PeakBitsPerSecond []float64
	// Spacing is the usual time between two samples of the source.
	Spacing time.Duration
}

// End is when the last bin ends.
func (d Demand) End() time.Time { return d.Start.Add(time.Duration(len(d.BitsPerSecond)) * d.Step) }

// Known says whether a bin has a rate.
func (d Demand) Known(bin int) bool { return !math.IsNaN(d.BitsPerSecond[bin]) }
