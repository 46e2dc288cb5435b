package udp

import (
	"math"
	"time"

	"tunnelmark/probe"
)

// result makes one count of the lanes'. Nothing can be added to them any more.
//
//  1. What is a number is added up.
//  2. The lanes' windows become one list (windows.go), and tell where each lane was
//     when another lost its first packet.
//  3. Times are told since the first packet, and delays above the least.
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
	got.FirstLoss = firstLoss(lanes, linesOf(lists), first)
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

// loss is the first packet of a lane that never came.
type loss struct {
	packets uint64        // The lane's, received before it.
	seen    time.Duration // When a later packet of its flow came,
	after   time.Duration // and when the lane's packet before that one did.
}

// firstLoss is the first of all lanes: that which was seen first. It is nil where
// nothing was lost, or a lane cannot tell. What the other lanes had received until then
// is read from their lines.
func firstLoss(lanes []*counts, lines []line, first time.Duration) *probe.FirstLoss {
	var earliest *loss
	in := 0 // The lane that it is in.
	for i, c := range lanes {
		l, known := c.firstLoss(first)
		if !known {
			return nil
		}
		if l != nil && (earliest == nil || l.seen < earliest.seen) {
			earliest, in = l, i
		}
	}
	if earliest == nil {
		return nil
	}
	packets := float64(earliest.packets)
	for i, l := range lines {
		if i != in {
			others, _ := l.until(earliest.seen)
			packets += others
		}
	}
	return &probe.FirstLoss{Packets: uint64(math.Round(packets)), After: earliest.after - first}
}

// firstLoss is the lane's first loss; nil where nothing was lost. A flow shows one
// when a later packet of it comes. Flows take turns, so where one is overloaded
// others soon show theirs, and the first to do so is no more than a few packets late.
// Where no flow shows any, though not all came, the last packets of some flow were
// lost; known is false then, unless there is but one flow.
//
// first is when the first packet of the trial came.
func (c *counts) firstLoss(first time.Duration) (earliest *loss, known bool) {
	var at *gap
	for i := range c.flows {
		t := &c.flows[i].tracker
		if t.lossless() {
			continue
		}
		if !t.holeKnown {
			return nil, false
		}
		if at == nil || t.hole.packets < at.packets {
			at = &t.hole
			earliest = &loss{packets: t.beforeHole(), seen: t.hole.at, after: t.hole.before}
		}
	}
	switch {
	case at != nil || c.sent <= c.expected:
		return earliest, true
	case c.packets == 0:
		return &loss{seen: first, after: first}, true
	case len(c.flows) == 1:
		return &loss{packets: c.packets, seen: c.last, after: c.last}, true
	}
	return nil, false
}
