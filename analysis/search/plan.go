package search

import (
	"fmt"
	"math"
	"time"

	"tunnelmark/analysis"
)

// Forecast is the most that a search may ask of a path. What it really takes is
// less, unless the path carries all that may be offered.
type Forecast struct {
	Manner analysis.Manner `json:"manner"`
	// FirstInnerBitsPerSecond is the first load; each of the next ones is at most
	// so many times the highest clean one. A search that may overload the path knows
	// no such bound: zero.
	FirstInnerBitsPerSecond float64 `json:"first_inner_bits_per_second"`
	MostOverClean           float64 `json:"most_over_clean_ratio,omitempty"`
	// MostInnerBitsPerSecond is the highest load, MostInnerBytes are all of them.
	MostInnerBitsPerSecond float64 `json:"most_inner_bits_per_second"`
	MostInnerBytes         float64 `json:"most_inner_bytes"`
	// MostTraffic is for how long is sent, in MostTrials, and MostLossy for how
	// much of it more than the loss goal may be lost.
	MostTraffic time.Duration `json:"most_traffic_ns"`
	MostTrials  int           `json:"most_trials"`
	MostLossy   time.Duration `json:"most_lossy_ns"`
}

// Plan says what a search with these options may do at most, before it does it.
func Plan(o Options) (Forecast, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Forecast{}, fmt.Errorf("read the search's options: %w", err)
	}
	if o.Manner == analysis.Climb {
		return o.planClimb(), nil
	}
	return Forecast{
		Manner:                  o.Manner,
		FirstInnerBitsPerSecond: o.clamp(exploreFrom),
		MostInnerBitsPerSecond:  o.MaxInnerBitsPerSecond,
		MostInnerBytes:          o.MaxInnerBitsPerSecond / 8 * o.Traffic.Seconds(),
		MostTraffic:             o.Traffic,
		MostTrials:              mostTrials(o.Traffic) + mostBursts,
		MostLossy:               o.Traffic,
	}, nil
}

// planClimb goes up as fast as can be, with trials as short as can be and none that
// loses, and then stays at the top.
func (o Options) planClimb() Forecast {
	f := Forecast{
		Manner: o.Manner, FirstInnerBitsPerSecond: o.MinInnerBitsPerSecond, MostOverClean: o.Overload,
		MostTraffic: o.Traffic, MostTrials: mostTrials(o.Traffic), MostLossy: o.Lossy,
	}
	load := o.MinInnerBitsPerSecond
	for sent := time.Duration(0); sent < o.Traffic; sent += leastTrial {
		f.MostInnerBitsPerSecond = load
		f.MostInnerBytes += load / 8 * min(leastTrial, o.Traffic-sent).Seconds()
		load = o.clamp(load * o.Overload)
	}
	f.MostInnerBytes = math.Ceil(f.MostInnerBytes)
	return f
}

// mostTrials is how many trials fill so much traffic; only bursts are shorter.
func mostTrials(traffic time.Duration) int { return int(traffic/leastTrial) + 1 }
