package udp

import (
	"math/bits"
	"sort"
	"time"
)

// What is remembered of the flows of a lane. Few flows share the first figure of
// each pair, and each of many has the second: 10,000 flows take 9 MiB.
//
// A packet can be told from a duplicate for as many sequence numbers of its flow
// as are remembered: for one flow 38 ms of the fastest load that a machine has
// shown (27 million packets/s), a second of common ones.
const (
	seenOfLane = 1 << 20
	seenOfFlow = 1 << 10
	gapsOfLane = 1 << 14
	gapsOfFlow = 1 << 4
)

// place is one in the load of a lane, with all its flows.
type place struct {
	packets uint64        // Received before it,
	at      time.Duration // and when the last of them arrived, by the trial's clock.
}

// gap is where a packet overtook others of its flow, or they were lost.
type gap struct {
	from, to uint64        // The sequence numbers missing then: from, and up to before to.
	arrived  uint64        // Of the flow, before the packet with the number to.
	seen     time.Duration // When that packet arrived, by the trial's clock.
	place    place         // Of the packet with the number from.
}

// tracker tells from the sequence numbers of one flow what was received once, again
// and late.
type tracker struct {
	seen []uint64 // One bit for each of the newest sequence numbers; a power of two of words.
	gaps []gap    // A ring of the newest ones, of a power of two; their numbers grow.
	made uint64   // How many gaps there were.

	next       uint64 // After the highest sequence number received.
	packets    uint64 // Without duplicates.
	duplicated uint64
	reordered  uint64
	maxExtent  uint64
	maxLate    time.Duration

	// prefix is the first sequence number that has not come, and hole the gap that
	// it is in. holeKnown is false where the flow has none, or it is forgotten.
	prefix    uint64
	hole      gap
	holeKnown bool
}

// newTrackers makes the trackers of a lane's flows, from one piece of memory each
// for what was seen and for the gaps.
func newTrackers(flows int) []tracker {
	words := share(seenOfLane, seenOfFlow, flows) / 64
	ring := share(gapsOfLane, gapsOfFlow, flows)
	seen, gaps := make([]uint64, flows*words), make([]gap, flows*ring)
	trackers := make([]tracker, flows)
	for i := range trackers {
		trackers[i].seen = seen[i*words : (i+1)*words : (i+1)*words]
		trackers[i].gaps = gaps[i*ring : (i+1)*ring : (i+1)*ring]
	}
	return trackers
}

// share is what each of the flows gets of all, rounded down to a power of two, but
// not less than least.
func share(all, least, flows int) int {
	return max(least, 1<<bits.Len(uint(all/flows))>>1)
}

// add counts the packet with the sequence number that arrived at. It says whether it
// came for the first time. What is too late to tell is taken for a duplicate, so that
// loss is never understated. Where the packet leaves a gap, next is what should have
// come in its place.
func (t *tracker) add(sequence uint64, at time.Duration, next place) (first bool) {
	switch {
	case sequence == t.next: // As nearly all do; its bit is set below.
		t.next++
	case sequence > t.next:
		t.leap(sequence, at, next)
	case t.next-sequence > t.window() || t.has(sequence):
		t.duplicated++
		return false
	default:
		t.late(sequence, at)
	}
	t.packets++
	*t.word(sequence) |= 1 << (sequence % 64)
	if sequence == t.prefix {
		t.extend()
	}
	return true
}

// window is how far back a late packet can still be told from a duplicate.
func (t *tracker) window() uint64 { return uint64(len(t.seen)) * 64 }

func (t *tracker) word(sequence uint64) *uint64 {
	return &t.seen[sequence/64&uint64(len(t.seen)-1)]
}

func (t *tracker) has(sequence uint64) bool { return *t.word(sequence)&(1<<(sequence%64)) != 0 }

// leap notes the gap in front of a packet, whose sequence number is beyond next.
func (t *tracker) leap(sequence uint64, at time.Duration, next place) {
	g := gap{from: t.next, to: sequence, arrived: t.packets, seen: at, place: next}
	if t.prefix == t.next {
		t.hole, t.holeKnown = g, true
	}
	t.gaps[t.made&uint64(len(t.gaps)-1)] = g
	t.made++
	t.forget(t.next, sequence)
	t.next = sequence + 1
}

// forget clears the bits of from up to before to, which are to stand for sequence
// numbers not seen yet.
func (t *tracker) forget(from, to uint64) {
	if to-from >= t.window() {
		clear(t.seen)
		return
	}
	for s := from; s < to; {
		if s%64 == 0 && to-s >= 64 {
			*t.word(s) = 0
			s += 64
			continue
		}
		*t.word(s) &^= 1 << (s % 64)
		s++
	}
}

// late counts a reordered packet (RFC 4737, Section 3.3). Its extent and its
// lateness reach back to the first arrival with a higher sequence number (Sections
// 4.2 and 4.3), which is the one after its gap. Where that is forgotten, the
// oldest one that is not stands for it: both are then at least so much.
func (t *tracker) late(sequence uint64, at time.Duration) {
	t.reordered++
	g := t.gapOf(sequence)
	t.maxExtent = max(t.maxExtent, t.packets-g.arrived)
	t.maxLate = max(t.maxLate, at-g.seen)
}

// gapOf is the oldest gap remembered that ends after the sequence number, which has
// not come and is below next; so there is one.
func (t *tracker) gapOf(sequence uint64) *gap {
	count := min(t.made, uint64(len(t.gaps)))
	nth := func(i int) *gap { return &t.gaps[(t.made-count+uint64(i))&uint64(len(t.gaps)-1)] }
	return nth(sort.Search(int(count)-1, func(i int) bool { return nth(i).to > sequence }))
}

// extend moves prefix over the packet that has just come there, and those behind it
// that came earlier.
func (t *tracker) extend() {
	t.prefix++
	if t.prefix == t.next {
		t.holeKnown = false
		return
	}
	for t.prefix < t.next && t.next-t.prefix <= t.window() && t.has(t.prefix) {
		t.prefix++
	}
	if t.holeKnown = t.prefix < t.next; t.holeKnown {
		t.hole = *t.gapOf(t.prefix)
		t.holeKnown = t.hole.from <= t.prefix
	}
}

// lossless says that no packet is missing in front of one that came.
func (t *tracker) lossless() bool { return t.prefix == t.next }

// holePlace is that of the first packet that is missing. Packets of this flow in
// front of it that came late count as received before it.
func (t *tracker) holePlace() place {
	return place{t.hole.place.packets + t.prefix - t.hole.arrived, t.hole.place.at}
}
