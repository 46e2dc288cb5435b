package capacity

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"tunnelmark/analysis"
)

// apartFrom is by how much loads in both directions at once must exceed the ceiling of one
// to prove that the directions do not share a limit: far more than ceilings err.
const apartFrom = 1.2

// lane is demand and the tunnel that has to carry it.
type lane struct {
	direction string // For people: "a to b".
	demand    analysis.Demand
	tunnel    tunnel
	shared    bool // The demand is that of both directions.
	// borrowed: the tunnel was measured in the other direction only.
	borrowed bool
}

// lanes are what is planned by itself:
//
//   - demand of one direction, where nothing is known of the other's;
//   - that of each direction against its own ceiling, where the directions are apart;
//   - else the sum of both against one ceiling, since one engine may work for both.
func (q Question) lanes() ([]lane, error) {
	from, to := q.today().From, q.today().To
	forward := lane{direction: from + " to " + to, demand: q.Demand, tunnel: newTunnel(q.today(), q.Measured)}
	if q.Reverse == nil {
		return []lane{forward}, nil
	}
	back, measured := q.reverseTunnel(forward.tunnel)
	if q.apart(forward.tunnel, back) {
		if !carries(*q.Reverse) {
			return []lane{forward}, nil
		}
		reverse := lane{direction: to + " to " + from, demand: *q.Reverse, tunnel: back, borrowed: !measured}
		return []lane{forward, reverse}, nil
	}
	both, err := sum(q.Demand, *q.Reverse)
	if err != nil {
		return nil, fmt.Errorf("add the demand of both directions: %w", err)
	}
	return []lane{{direction: "both directions together", demand: both, tunnel: q.weaker(forward.tunnel, back, both), shared: true}}, nil
}

// reverseTunnel is today's tunnel as it was measured from To to From, or else as it was
// measured the other way.
func (q Question) reverseTunnel(forward tunnel) (back tunnel, measured bool) {
	for _, m := range q.Measured {
		if m.Ceiling != nil && m.From == forward.to && m.To == forward.from && sameSetup(m.Setup, forward.setup) {
			return newTunnel(m, q.Measured), true
		}
	}
	return forward, false
}

// apart says whether each direction has a limit of its own.
func (q Question) apart(forward, back tunnel) bool {
	if q.Directions != AsMeasured {
		return q.Directions == Apart
	}
	return slices.ContainsFunc(q.bothWays(), func(m Measured) bool {
		one := max(forward.most(m.BothWaysInnerSize), back.most(m.BothWaysInnerSize))
		return m.BothWaysInnerBitsPerSecond > apartFrom*one
	})
}

// bothWays are the measurements that loaded today's tunnel in both directions at once.
func (q Question) bothWays() []Measured {
	var found []Measured
	from, to, setup := q.today().From, q.today().To, q.today().Setup
	for _, m := range q.Measured {
		between := m.From == from && m.To == to || m.From == to && m.To == from
		if between && sameSetup(m.Setup, setup) && m.BothWaysInnerBitsPerSecond > 0 {
			found = append(found, m)
		}
	}
	return found
}

// most is what the tunnel carries at most in its one direction, in inner bit/s, of packets
// of a size in bytes; zero: of those that were measured. It is infinite where that is not known.
func (t tunnel) most(innerSize int) float64 {
	if t.model != nil && innerSize > 0 && !t.ceilings[0].IsAvailable() {
		return t.capacity(float64(innerSize)).LikelyBitsPerSecond
	}
	most := 0.0
	for _, c := range t.ceilings {
		if !bounded(c) || c.IsAvailable() || innerSize > c.InnerSize {
			return math.Inf(1)
		}
		most = max(most, c.InnerBitsPerSecond)
	}
	return most
}

// weaker is the direction in which the tunnel carries less of the packets of a demand.
func (q Question) weaker(forward, back tunnel, d analysis.Demand) tunnel {
	size, _ := q.layers().meanInnerSize(d)
	if back.capacity(size).LikelyBitsPerSecond < forward.capacity(size).LikelyBitsPerSecond {
		return back
	}
	return forward
}

// sum adds two demands, bin by bin, for the time in which both are known; a bin of which
// one is not known is not known. Their peaks count as if they came at the same moment,
// which is the worst case.
func sum(a, b analysis.Demand) (analysis.Demand, error) {
	if a.Step != b.Step {
		return a, fmt.Errorf("one has a sample every %v, the other every %v: give both with the same step", a.Step, b.Step)
	}
	offset := int(b.Start.Sub(a.Start).Round(a.Step) / a.Step)
	a, b = from(a, max(0, offset)), from(b, max(0, -offset))
	bins := min(len(a.BitsPerSecond), len(b.BitsPerSecond))
	if bins == 0 {
		return a, errors.New("they have no time in common")
	}
	a.BitsPerSecond = add(a.BitsPerSecond, b.BitsPerSecond, bins)
	a.PacketsPerSecond = add(a.PacketsPerSecond, b.PacketsPerSecond, bins)
	a.PeakBitsPerSecond = add(a.PeakBitsPerSecond, b.PeakBitsPerSecond, bins)
	a.Spacing = max(a.Spacing, b.Spacing)
	return a, nil
}

// add is nil where either is.
func add(a, b []float64, bins int) []float64 {
	if a == nil || b == nil {
		return nil
	}
	sums := make([]float64, bins)
	for i := range sums {
		sums[i] = a[i] + b[i]
	}
	return sums
}

// from leaves out a demand's first bins.
func from(d analysis.Demand, bins int) analysis.Demand {
	bins = min(bins, len(d.BitsPerSecond))
	d.Start = d.Start.Add(time.Duration(bins) * d.Step)
	return slice(d, bins, len(d.BitsPerSecond))
}

// until leaves out what came after a time.
func until(d analysis.Demand, at time.Time) analysis.Demand {
	bins := max(0, int(at.Sub(d.Start)/d.Step))
	return slice(d, 0, min(bins, len(d.BitsPerSecond)))
}

func slice(d analysis.Demand, from, to int) analysis.Demand {
	d.BitsPerSecond = d.BitsPerSecond[from:to]
	if d.PacketsPerSecond != nil {
		d.PacketsPerSecond = d.PacketsPerSecond[from:to]
	}
	if d.PeakBitsPerSecond != nil {
		d.PeakBitsPerSecond = d.PeakBitsPerSecond[from:to]
	}
	return d
}
