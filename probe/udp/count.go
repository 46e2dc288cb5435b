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
	longest  uint64 // Packets of a burst, as far as seen.
}

// flowCount is what has arrived of one flow.
type flowCount struct {
	tracker tracker
	delay   flowDelay
	burst   burst
}

// burst is the newest of a flow. Its packets have the same send time.
type burst struct {
	sent   wire.Stamp
	first  uint64        // Its first sequence number.
	begins place         // Of its first packet.
	newest time.Duration // When its newest packet arrived.
	// turn is from the beginning of the flow's burst before to that of this one:
	// once around all flows. Zero where there is none before.
	turn place
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
	next := f.tracker.next
	var missing place
	if sequence > next {
		missing = c.missing(f, sent)
	}
	if !f.tracker.add(sequence, since, missing) {
		return
	}
	if sequence >= next {
		c.expected += f.tracker.next - next
		c.follow(f, sequence, sent, since)
	}
	c.packets++
	c.bytes += uint64(inner)
	c.last = since
	delay := since - sent.Sub(c.origin.sent)
	c.windows.add(since, delay)
	c.delays.add(delay)
	if differs, consecutive := f.delay.add(sequence, delay); consecutive {
		c.variation.add(differs)
	}
}

// follow notes how bursts follow one another, with the newest packet of a flow.
func (c *counts) follow(f *flowCount, sequence uint64, sent wire.Stamp, at time.Duration) {
	b := &f.burst
	if f.tracker.packets == 1 || sent != b.sent {
		begins := place{c.packets, at}
		if f.tracker.packets > 1 {
			b.turn = place{begins.packets - b.begins.packets, begins.at - b.begins.at}
		}
		b.sent, b.first, b.begins = sent, sequence, begins
	}
	c.longest = max(c.longest, sequence+1-b.first)
	b.newest = at
}

// missing is where in the load the next packet of a flow belongs, of which one has
// come instead that comes later and was sent at. If it is the first that was lost,
// then:
//
//   - in a flow's burst that has begun, all before it in the burst had come;
//   - at the head of the burst that follows, all others had had their turn.
//
// If it is not, it seems to be later than the first, so that of all flows' first gaps
// the earliest is right. In any case it is no later than what came instead.
func (c *counts) missing(f *flowCount, sent wire.Stamp) place {
	now := place{c.packets, c.last}
	b, next := &f.burst, f.tracker.next
	switch {
	case len(c.flows) == 1 || f.tracker.packets == 0:
		return now
	case sent == b.sent || next-b.first < c.longest:
		return place{min(b.begins.packets+next-b.first, now.packets), min(b.newest, now.at)}
	case b.turn.packets > 0:
		return place{min(b.begins.packets+b.turn.packets, now.packets), min(b.begins.at+b.turn.at, now.at)}
	}
	return now
}

// load is how many packets the sender has sent, as far as it can be told: at least
// those up to the highest sequence numbers seen.
func (c *counts) load() uint64 { return max(c.sent, c.expected) }

// lost is how many of them have not come.
func (c *counts) lost() uint64 { return c.load() - c.packets }
