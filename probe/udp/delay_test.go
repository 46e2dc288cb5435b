package udp

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

const us = time.Microsecond

// delayed counts packets of one lane's flows, in turn, that took so long.
func delayed(flows int, delays ...time.Duration) *counts {
	c := newCounts(flows, time.Minute, &origin{})
	for i, d := range delays {
		sent := time.Duration(i) * ms
		c.add(i%flows, uint64(i/flows), testSize, wire.StampOf(sent), time.Hour+sent+d)
	}
	return c
}

// within says that a duration is 0.1 % exact.
func within(got, want time.Duration) bool { return (got - want).Abs() <= want/1000+1 }

func TestDelayQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name string
		of   func(i int) time.Duration
	}{
		{"the first is the least", func(i int) time.Duration { return time.Duration(i) * 100 * us }},
		{"the first is the greatest", func(i int) time.Duration { return time.Duration(5000-i) * 100 * us }},
		{"the first is one of many", func(int) time.Duration { return 40*ms + time.Duration(random.IntN(int(2*ms))) }},
		{"all the same", func(int) time.Duration { return ms }},
		{"one far above", func(i int) time.Duration { return time.Duration(i/4999) * time.Second }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []time.Duration
			for i := range 5000 {
				all = append(all, tt.of(i))
			}
			got := resultOf(delayed(3, all...), 0)
			first := all[0]
			slices.Sort(all)
			var sum float64
			for _, d := range all {
				sum += float64(d - all[0])
			}
			ranked := func(q float64) time.Duration { return all[int(math.Ceil(q*5000))-1] }
			for _, c := range []struct {
				name      string
				got, from time.Duration
			}{
				{"P50", got.Delay.P50, ranked(0.5)}, {"P90", got.Delay.P90, ranked(0.9)},
				{"P99", got.Delay.P99, ranked(0.99)}, {"P99.9", got.Delay.P999, ranked(0.999)},
			} {
				// Exact as a share of the distance to the first packet's.
				if want, most := c.from-all[0], (c.from-first).Abs()/1000+1; (c.got - want).Abs() > most {
					t.Errorf("%s is %v, want %v within %v", c.name, c.got, want, most)
				}
			}
			if mean := time.Duration(sum / 5000); !within(got.Delay.Mean, mean) {
				t.Errorf("mean is %v, want %v", got.Delay.Mean, mean)
			}
			if d := got.Delay; d.Min != 0 || d.Max != all[4999]-all[0] || d.Count != 5000 {
				t.Errorf("from %v to %v, %d packets, want from 0 to %v, 5000", d.Min, d.Max, d.Count, all[4999]-all[0])
			}
		})
	}
}

// What no clock can mean does not overflow, and is the greatest that is told apart.
func TestDelayBounded(t *testing.T) {
	c := newCounts(1, time.Second, &origin{})
	for i, sent := range []wire.Stamp{0, 1<<47 - 1, 1 << 47, 0} {
		c.add(0, uint64(i), testSize, sent, 0)
	}
	got := resultOf(c, 0)
	if d := got.Delay; d.Count != 4 || d.P50 < 0 || d.Max <= 0 || d.Mean < 0 || d.Max > 80*time.Hour {
		t.Errorf("got %+v, want four delays of 0 to 79 h", d)
	}
	if v := got.Variation; v.P99 < maxDelay || v.Max > 80*time.Hour {
		t.Errorf("got %+v, want the greatest variation", v)
	}
}

func TestVariation(t *testing.T) {
	var delays []time.Duration
	for i := range 100 {
		delays = append(delays, time.Duration(i%2)*100*us)
	}
	c := delayed(1, delays...)
	c.add(0, 1000, testSize, wire.StampOf(time.Second), 2*time.Hour) // Not consecutive.
	c.add(0, 1001, testSize, wire.StampOf(time.Second), 2*time.Hour+2*ms)
	got := resultOf(c, 0).Variation
	if !within(got.P50, 100*us) || !within(got.P99, 100*us) || got.Max != 2*ms {
		t.Errorf("got %v, want 100us, 100us and 2ms", got)
	}
}

// Delays of two flows are of two paths: their difference is no variation, even where
// they take turns packet by packet.
func TestVariationInTurn(t *testing.T) {
	var delays []time.Duration
	for i := range 100 {
		delays = append(delays, time.Duration(i%2)*10*ms)
	}
	got := resultOf(delayed(2, delays...), 0)
	if v := got.Variation; v.Max != 0 || v.Jitter != 0 {
		t.Errorf("got a variation of %+v, want none", v)
	}
	if f := got.PerFlow; f[0].MinDelay != 0 || f[0].MeanDelay != 0 || f[1].MinDelay != 10*ms || f[1].MeanDelay != 10*ms {
		t.Errorf("got delays of flows %+v, want none in the first and 10 ms in the second", f)
	}
}

// The jitter is RFC 3550's, weighted by the flows' packets.
func TestJitter(t *testing.T) {
	c := newCounts(2, time.Second, &origin{})
	var at, jitter float64
	for i := range 300 {
		c.add(1, uint64(i), testSize, wire.StampOf(time.Duration(i)*ms), time.Duration(i)*ms+time.Duration(i%3)*ms)
		if delay := float64(i % 3); i > 0 {
			jitter += (math.Abs(delay-at) - jitter) / 16 // Section 6.4.1.
			at = delay
		}
	}
	want := time.Duration(jitter * float64(ms))
	if got := resultOf(c, 0).Variation.Jitter; (got - want).Abs() > us {
		t.Errorf("got a jitter of %v, want %v", got, want)
	}
	for i := range 100 { // Of no jitter.
		c.add(0, uint64(i), testSize, wire.StampOf(300*ms), 302*ms)
	}
	if got := resultOf(c, 0).Variation.Jitter; (got - want*3/4).Abs() > us {
		t.Errorf("got a jitter of %v with a flow that has none, want %v", got, want*3/4)
	}
}

func TestDrift(t *testing.T) {
	grown := func(count int, delay func(i int) time.Duration) (list []probe.WindowCount) {
		for i := range count {
			start := time.Duration(i) * probe.Window
			list = append(list, probe.WindowCount{Start: start, End: start + probe.Window, MinDelay: delay(i)})
		}
		return list
	}
	for _, tt := range []struct {
		name    string
		windows []probe.WindowCount
		want    time.Duration
	}{
		{"nothing", nil, 0},
		{"too few", grown(fewestWindows-1, func(i int) time.Duration { return time.Duration(i) * ms }), 0},
		{"none", grown(50, func(int) time.Duration { return ms }), 0},
		{"grows", grown(50, func(i int) time.Duration { return time.Duration(i) * ms }), 50 * ms},
		{"falls", grown(100, func(i int) time.Duration { return time.Duration(100-i) * us }), -100 * us},
		{"up and down", grown(101, func(i int) time.Duration { return time.Duration(i%2) * ms }), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := drift(tt.windows); (got - tt.want).Abs() > us {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
