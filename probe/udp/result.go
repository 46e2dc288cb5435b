package udp

import (
	"math"
	"time"

	"tunnelmark/probe"
)

// result makes one count of the lanes'. Nothing can be added to them any more.
//
//  1. What is a number is added up.
//  2. The lanes' windows become one list (windows.go).
//  3. Of the lanes' first losses the earliest is told.
//  4. Times are told since the first packet, and delays above the least.
func result(lanes []*counts) probe.Received {
	var got probe.Received
	lists := make([][]probe.WindowCount, len(lanes))
	for i, c := range lanes {
		addLane(&got, c)
		lists[i] = c.windows.result()
	}
	got.Windows = joinWindows(lists)
	least := leastDelay(lanes)
	var first time.Duration
	if len(got.Windows) > 0 {
		first = got.Windows[0].Start
	}
	got.FirstLoss = firstLoss(lanes, first)
	for i := range got.Windows {
		w := &got.Windows[i]
		w.Start, w.End, w.MinDelay = w.Start-first, w.End-first, w.MinDelay-least
	}
	got.PerFlow = perFlow(lanes, least)
	got.Delay, got.Variation = summarise(lanes, least)
	got.DelayDrift = drift(got.Windows)
	return got
}

// addLane adds up what is a number.
func addLane(got *probe.Received, c *counts) {
	got.Packets += c.packets
	got.InnerBytes += c.bytes
	r := &got.Reordered
	for i := range c.flows {
		t := &c.flows[i].tracker
		got.Duplicated += t.duplicated
		r.Packets += t.reordered
		r.MaxExtent, r.MaxLate = max(r.MaxExtent, t.maxExtent), max(r.MaxLate, t.maxLate)
	}
}

// leastDelay is the least of the trial; zero where nothing came.
func leastDelay(lanes []*counts) time.Duration {
	least, any := time.Duration(math.MaxInt64), false
	for _, c := range lanes {
		for i := range c.flows {
			if d := &c.flows[i].delay; d.count > 0 {
				least, any = min(least, d.least), true
			}
		}
	}
	if !any {
		return 0
	}
	return least
}

// perFlow tells of each flow, in the order of their numbers: a lane has every flow
// whose number is its own modulo how many lanes there are.
func perFlow(lanes []*counts, least time.Duration) []probe.FlowReceived {
	flows := 0
	for _, c := range lanes {
		flows += len(c.flows)
	}
	list := make([]probe.FlowReceived, flows)
	for number := range list {
		f := &lanes[number%len(lanes)].flows[number/len(lanes)]
		list[number] = probe.FlowReceived{Packets: f.tracker.packets, Reordered: f.tracker.reordered}
		if f.delay.count > 0 {
			list[number].MinDelay, list[number].MeanDelay = f.delay.least-least, f.delay.mean()-least
		}
	}
	return list
}

// summarise tells the distributions of all lanes together, the means weighted by
// the flows' packets.
func summarise(lanes []*counts, least time.Duration) (probe.Quantiles, probe.Variation) {
	delays, variation := lanes[0].delays, lanes[0].variation
	for _, c := range lanes[1:] {
		delays.merge(c.delays)
		variation.merge(c.variation)
	}
	var count, sum, jitter float64
	for _, c := range lanes {
		for i := range c.flows {
			d := &c.flows[i].delay
			count, sum, jitter = count+float64(d.count), sum+d.sum, jitter+d.jitter*float64(d.count)
		}
	}
	if count == 0 {
		return probe.Quantiles{}, probe.Variation{}
	}
	return delays.result(least, time.Duration(sum/count)-least), variation.result(time.Duration(jitter / count))
}

// firstLoss is the first of all lanes; nil where nothing was lost, or a lane cannot
// tell. Until then all lanes have received what was sent, at the rates that they had
// until their own first losses.
func firstLoss(lanes []*counts, first time.Duration) *probe.FirstLoss {
	earliest, lossy := place{at: math.MaxInt64}, false
	whole := make([]place, len(lanes))
	for i, c := range lanes {
		at, lost, known := c.whole(first)
		if !known {
			return nil
		}
		if whole[i] = at; lost && at.at < earliest.at {
			earliest, lossy = at, true
		}
	}
	if !lossy {
		return nil
	}
	var packets float64
	for i, w := range whole {
		packets += w.until(earliest.at, lanes[i].windows.begun(first))
	}
	return &probe.FirstLoss{Packets: uint64(math.Round(packets)), After: earliest.at - first}
}

// until is how many of the packets in front of a place had been received at a time,
// if they came evenly since the lane began.
func (p place) until(at, begun time.Duration) float64 {
	if at >= p.at || p.at == begun {
		return float64(p.packets)
	}
	return float64(p.packets) * max(0, float64(at-begun)/float64(p.at-begun))
}

// whole is up to where all of a lane has come: its first loss, or its end where
// nothing was lost. A flow shows a loss when a later packet of it comes. Where no flow
// does, though not all came, the last packets of some flow were lost; known is false
// then, unless there is but one flow.
//
// first is when the first packet of the trial came.
func (c *counts) whole(first time.Duration) (at place, lost, known bool) {
	for i := range c.flows {
		t := &c.flows[i].tracker
		if t.lossless() {
			continue
		}
		if !t.holeKnown {
			return place{}, false, false
		}
		if hole := t.holePlace(); !lost || hole.packets < at.packets {
			at, lost = hole, true
		}
	}
	switch {
	case lost:
		return at, true, true
	case c.packets == 0:
		return place{at: first}, c.sent > 0, true
	}
	lost = c.sent > c.expected
	return place{c.packets, c.last}, lost, !lost || len(c.flows) == 1
}
