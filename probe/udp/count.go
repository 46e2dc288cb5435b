package udp

import (
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// counts is what has arrived of a trial's load.
type counts struct {
	tracker   *tracker
	windows   *windows
	variation *variation

	any       bool
	first     time.Duration // The first packet's arrival,
	firstSent wire.Stamp    // and its time of departure, by the sender's clock.
}

func newCounts(flows int, longest time.Duration) *counts {
	return &counts{tracker: newTracker(flows), windows: newWindows(longest), variation: newVariation()}
}

// add counts the packet that was sent on the flow with the sequence number and
// stamp, and arrived at.
func (c *counts) add(flow int, sequence uint64, sent wire.Stamp, at time.Duration) {
	if !c.any {
		c.any, c.first, c.firstSent = true, at, sent
	}
	if !c.tracker.add(flow, sequence, at) {
		return
	}
	since := at - c.first
	// The clocks of both ends are not synchronised: delays are relative to the
	// first packet's.
	delay := since - sent.Sub(c.firstSent)
	c.windows.add(since, delay)
	c.variation.add(flow, sequence, delay)
}

// highest is the highest sequence number that came.
func (c *counts) highest() uint64 { return c.tracker.next - min(c.tracker.next, 1) }

// result is the count of a trial whose sender sent so many packets; at least
// what was seen.
func (c *counts) result(sent uint64) probe.Received {
	t := c.tracker
	return probe.Received{
		Packets:    t.packets,
		Duplicated: t.duplicated,
		Reordered:  t.reordered,
		Windows:    c.windows.result(),
		FirstLoss:  c.firstLoss(max(sent, t.next)),
		Variation:  c.variation.result(),
	}
}

func (c *counts) firstLoss(sent uint64) *probe.FirstLoss {
	t := c.tracker
	if t.prefix >= sent || !t.prefixKnown {
		return nil
	}
	loss := &probe.FirstLoss{Packets: t.prefix}
	if t.prefix > 0 {
		loss.After = t.prefixAt - c.first
	}
	return loss
}
