package udp

import (
	"testing"

	"tunnelmark/probe"
)

// Flows may be so seldom that the time until the next one is more than a Duration
// holds: none begins then.
func TestSeldomRenewal(t *testing.T) {
	for _, rate := range []float64{5e-324, 1e-11, 1e-9} {
		load := probe.Load{Flows: 4, Lanes: 2, NewFlowsPerSecond: rate}
		for lane := range load.Lanes {
			r := newRenewal(nil, load, lane)
			if r.due <= probe.MaxDuration || r.every <= probe.MaxDuration || cap(r.fresh) != 2 {
				t.Errorf("%g new flows a second, lane %d: the first after %v, others every %v with %d ahead, want none of a load, and 2 ahead",
					rate, lane, r.due, r.every, cap(r.fresh))
			}
		}
	}
}
