package capacity

import (
	"math"
	"time"

	"tunnelmark/analysis"
)

// crossing finds when the busiest weekdays reach a share of a capacity: Earliest is
// where the upper end of the forecast meets the lower of the capacity, Latest the
// reverse.
func (m *model) crossing(share float64, c analysis.Capacity, lead time.Duration) analysis.Crossing {
	crossing := analysis.Crossing{Share: share}
	switch {
	case m.trend() == analysis.AlreadyFull && share*c.LikelyBitsPerSecond <= m.full:
		crossing.Earliest, crossing.Likely, crossing.Latest = m.at, m.at, m.at
	case !m.past.known():
		return crossing
	default:
		crossing.Earliest = m.reach(share*c.LowBitsPerSecond, m.chanceOver(tail))
		crossing.Likely = m.reach(share*c.LikelyBitsPerSecond, func(at time.Time, rate float64) bool { return m.expected(at) >= rate })
		crossing.Latest = m.reach(share*c.HighBitsPerSecond, m.chanceOver(1-tail))
	}
	if !crossing.Earliest.IsZero() {
		crossing.OrderBy = crossing.Earliest.Add(-lead)
	}
	return crossing
}

// chanceOver says whether the chance that a rate is reached is as high.
func (m *model) chanceOver(chance float64) func(at time.Time, rate float64) bool {
	busiest := m.past.season.busiest()
	return func(at time.Time, rate float64) bool {
		return m.past.chance(m.dayOf(at), busiest, math.Log(rate)) >= chance
	}
}

// reach is the first day on which a rate is reached; zero: not within the horizon, or
// the rate is zero, which stands for none. Without a trend to go by, all that can
// be said is whether it is reached today.
func (m *model) reach(bitsPerSecond float64, reached func(at time.Time, rate float64) bool) time.Time {
	end := m.horizon()
	if m.past.trend == analysis.TooLittleData {
		end = m.at
	}
	for at := m.at; bitsPerSecond > 0 && !at.After(end); at = midnight(at, 1) {
		if reached(at, bitsPerSecond) {
			return at
		}
	}
	return time.Time{}
}

// shortfall is what the week around one date looks like under a capacity: the last
// four weeks, grown by as much as the forecast grows until then.
func (m *model) shortfall(at time.Time, c analysis.Capacity) analysis.Shortfall {
	shortfall := analysis.Shortfall{At: at}
	last := m.demand.BitsPerSecond[lately(m.demand):]
	growth := m.growthUntil(at, m.demand.End().Add(-lateDays*24*time.Hour/2))
	var over, excess, demanded, known float64
	for _, rate := range last {
		if math.IsNaN(rate) {
			continue
		}
		known++
		if rate *= growth; rate > c.LikelyBitsPerSecond {
			over++
			demanded += rate
			excess += rate - c.LikelyBitsPerSecond
		}
	}
	if over == 0 {
		return shortfall
	}
	shortfall.Hours = over / known * week * 24
	shortfall.Excess = excess / demanded
	return shortfall
}

// growthUntil is one where nothing is known of growth.
func (m *model) growthUntil(at, since time.Time) float64 {
	if !m.past.known() {
		return 1
	}
	return m.expected(at) / m.expected(since)
}
