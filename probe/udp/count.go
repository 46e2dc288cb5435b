package udp

import (
	"sync"
	"time"

	"tunnelmark/probe/wire"
)

// origin is the first packet of a trial that was read, in whatever lane. Times and
// delays are counted from its: the clocks of both ends are not synchronised. Lanes
// share it, so that their windows have the same borders. Another lane may yet have
// received a packet a little earlier, at a time below zero.
type origin struct {
	once  sync.Once
	at    time.Duration // By the receiver's clock.
	sent  wire.Stamp    // By the sender's.
	begin func()        // Called once it is set; nil where nobody waits for it.
}

func (o *origin) set(at time.Duration, sent wire.Stamp) {
	o.once.Do(func() {
		o.at, o.sent = at, sent
		if o.begin != nil {
			o.begin()
		}
	})
}

// counts is what has arrived of one lane's load.
type counts struct {
	origin    *origin
	flows     []flowCount // In the order of their numbers, of the lane's.
	windows   *windows
	delays    *delays
	variation *variation

	packets  uint64 // Without duplicates.
	bytes    uint64 // Of inner packets.
	expected uint64 // Packets up to the highest sequence number of each flow.
	sent     uint64 // What the sender said that it was; zero until then.
	last     time.Duration
}

// flowCount is what has arrived of one flow.
type flowCount struct {
	tracker tracker
	delay   flowDelay
}

func newCounts(flows int, longest time.Duration, o *origin) *counts {
	c := &counts{
		origin: o, flows: make([]flowCount, flows),
		windows: newWindows(longest), delays: newDelays(), variation: newVariation(),
	}
	for i, t := range newTrackers(flows) {
		c.flows[i].tracker = t
	}
	return c
}

// add counts the packet of so many bytes that was sent on the lane's flow with the
// sequence number and stamp, and arrived at.
func (c *counts) add(flow int, sequence uint64, inner int, sent wire.Stamp, at time.Duration) {
	if c.packets == 0 {
		c.origin.set(at, sent)
		c.last = at - c.origin.at
	}
	since := at - c.origin.at
	f := &c.flows[flow]
	highest := f.tracker.next
	if !f.tracker.add(sequence, moment{at: since, before: c.last, packets: c.packets}) {
		return
	}
	c.expected += f.tracker.next - highest
	c.packets++
	c.bytes += uint64(inner)
	c.last = since
	delay := since - sent.Sub(c.origin.sent)
	c.windows.add(since, inner, delay)
	c.delays.add(delay)
	if differs, consecutive := f.delay.add(sequence, delay); consecutive {
		c.variation.add(differs)
	}
}

// load is how many packets the sender has sent, as far as it can be told: at least
// those up to the highest sequence numbers seen.
func (c *counts) load() uint64 { return max(c.sent, c.expected) }

// lost is how many of them have not come.
func (c *counts) lost() uint64 { return c.load() - c.packets }
