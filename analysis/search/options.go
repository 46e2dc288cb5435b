package search

import (
	"fmt"
	"math"
	"time"

	"tunnelmark/analysis"
)

// Options shape a search. The zero value of each field is its default.
type Options struct {
	// Manner is how the path may be loaded. Default: overload.
	Manner analysis.Manner
	// LossGoal is the loss ratio, 0 to 1, that a load must not exceed. A path
	// that loses more by itself raises it. Default: 0.001.
	LossGoal float64
	// Width is how far apart, relatively, the bounds may be in the end; a loss
	// goal that is high for it widens it. Default: 0.005; for a climb, which pays
	// for it with loss, 0.02.
	Width float64
	// MinInnerBitsPerSecond and MaxInnerBitsPerSecond are the least and the
	// most to offer; a climb begins with the least. Defaults: 1 Mbps and 100 Gbps.
	MinInnerBitsPerSecond float64
	MaxInnerBitsPerSecond float64
	// Traffic is for how long the search may send in all. Default: 25 s; for a
	// climb 40 s.
	Traffic time.Duration
	// Idle asserts that nothing else uses the path: what a climb finds then is a
	// ceiling, not only what was available.
	Idle bool
	// Progress is told of each trial, before and after it. Optional.
	Progress func(Progress)

	// The rest is for the manner of climb alone.

	// Overload is how high a load may be over the highest that was clean.
	// Default: 1.1.
	Overload float64
	// Lossy is for how long loads may lose more than the goal in all; each that
	// does counts as a whole. Default: 2 s.
	Lossy time.Duration
}

// Progress is where a search stands.
type Progress struct {
	Purpose analysis.Purpose
	Load    analysis.Load
	Trial   *analysis.Trial // Nil before the trial.
	// The bounds as they were before the trial, inner bit/s; zero where there
	// is none yet.
	InnerLowerBitsPerSecond float64
	InnerUpperBitsPerSecond float64
	Sent                    time.Duration // Traffic so far.
}

// leastTraffic is what a search needs to come to any result.
const leastTraffic = 5 * time.Second

// Check says which option is out of its range, and what is allowed.
func (o Options) Check() error {
	_, err := o.withDefaults()
	return err
}

func (o Options) withDefaults() (Options, error) {
	if o.Manner == "" {
		o.Manner = analysis.Overload
	}
	setDefault(&o.LossGoal, 0.001)
	setDefault(&o.MinInnerBitsPerSecond, 1e6)
	setDefault(&o.MaxInnerBitsPerSecond, 100e9)
	if o.Manner == analysis.Climb {
		setDefault(&o.Width, 0.02)
		setDefault(&o.Traffic, 40*time.Second)
	}
	setDefault(&o.Width, 0.005)
	setDefault(&o.Traffic, 25*time.Second)
	setDefault(&o.Overload, 1.1)
	setDefault(&o.Lossy, 2*time.Second)
	return o, o.check()
}

func setDefault[T float64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// check refuses what cannot be searched; each range is the one allowed.
func (o Options) check() error {
	if o.Manner != analysis.Overload && o.Manner != analysis.Climb {
		return fmt.Errorf("manner %q: must be %q or %q", o.Manner, analysis.Overload, analysis.Climb)
	}
	for _, r := range []struct {
		name             string
		value, low, high float64
	}{
		{"loss goal (ratio)", o.LossGoal, 1e-9, 0.5},
		{"width (ratio)", o.Width, 1e-4, 0.5},
		{"lowest load (inner bit/s)", o.MinInnerBitsPerSecond, 1e3, 1e13},
		{"highest load (inner bit/s)", o.MaxInnerBitsPerSecond, o.MinInnerBitsPerSecond, 1e13},
		{"traffic (s)", o.Traffic.Seconds(), leastTraffic.Seconds(), 3600},
		{"bound of overload (ratio)", o.Overload, 1.001, 2},
		{"lossy time (s)", o.Lossy.Seconds(), leastLossy.Seconds(), 3600},
	} {
		if math.IsNaN(r.value) || r.value < r.low || r.value > r.high {
			return fmt.Errorf("%s is %g: must be from %g to %g", r.name, r.value, r.low, r.high)
		}
	}
	return nil
}

// meaning is what the result may be called.
func (o Options) meaning() analysis.Meaning {
	if o.Manner == analysis.Climb && !o.Idle {
		return analysis.Available
	}
	return analysis.TrueCeiling
}

// clamp keeps a load within what may be offered, inner bit/s.
func (o Options) clamp(load float64) float64 {
	return min(max(load, o.MinInnerBitsPerSecond), o.MaxInnerBitsPerSecond)
}
