//go:build !race

// Thousands of fits have nothing to race with, and take minutes under its detector.

package capacity

import (
	"fmt"
	"math"
	"testing"
	"time"

	"tunnelmark/analysis"
)

// seeds is how many histories each promise about intervals is held against.
const seeds = 200

// The stated 80 % interval holds the true date as often as it says, and where there is no
// growth the trend says so: after an outage of a week and a step of a quarter.
func TestIntervalsHoldWhatTheySay(t *testing.T) {
	for _, growth := range []float64{0, 0.03, 0.10} {
		for _, shaken := range []bool{false, true} {
			t.Run(fmt.Sprintf("%g%% a month, shaken %v", 100*growth, shaken), func(t *testing.T) {
				t.Parallel()
				s := synthetic{base: 100e6, growth: growth, days: 182, binNoise: 0.05, dayNoise: 0.06}
				if shaken {
					s.outage, s.step, s.stepBy = 60, 91, 0.25
				}
				ceiling := 1.4 * s.level(float64(s.days))
				truth, held := s.reached(t, ceiling), 0
				for seed := range uint64(seeds) {
					if holds(s.demand(seed), ceiling, truth) {
						held++
					}
				}
				t.Logf("%d of %d hold the truth", held, seeds)
				if held < seeds*75/100 || held > seeds*90/100 {
					t.Errorf("%d of %d intervals hold the truth, want 75 to 90 %%", held, seeds)
				}
			})
		}
	}
}

// holds says whether a forecast holds a true day, from the first; if it is never, whether
// the forecast knows of no trend.
func holds(d analysis.Demand, ceiling, truth float64) bool {
	m := modelOf(d, ceiling)
	if math.IsInf(truth, 1) {
		return m.trend() == analysis.NoTrend
	}
	crossing := m.crossing(1, analysis.Capacity{LowBitsPerSecond: ceiling, LikelyBitsPerSecond: ceiling, HighBitsPerSecond: ceiling}, 0)
	day := d.Start.Add(time.Duration(truth) * 24 * time.Hour)
	return !crossing.Earliest.IsZero() && !crossing.Earliest.After(day) && (crossing.Latest.IsZero() || !crossing.Latest.Before(day))
}

// Growth that a ceiling cuts off is never taken for none.
func TestClippedGrowthIsGrowth(t *testing.T) {
	for _, base := range []float64{150e6, 250e6, 290e6, 345e6} {
		t.Run(fmt.Sprintf("from %g Mbps", base/1e6), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(seeds) {
				s := synthetic{base: base, growth: 0.05, days: 182, binNoise: 0.05, dayNoise: 0.06, cap: 350e6}
				m := modelOf(s.demand(seed), 350e6)
				if got := m.trend(); got == analysis.NoTrend || got == analysis.TooLittleData {
					t.Fatalf("seed %d: trend %q, %.1f %% of busy hours clipped", seed, got, 100*m.clipped)
				}
			}
		})
	}
}
