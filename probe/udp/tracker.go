package udp

import "time"

// trackerWindow is how far back a late packet can still be told from a
// duplicate: 38 ms of the fastest load that a machine has shown (27 million
// packets/s), a second of common ones.
const trackerWindow = 1 << 20

// tracker tells from sequence numbers what was received once, again and late.
type tracker struct {
	seen [trackerWindow / 64]uint64 // One bit for each of the newest sequence numbers.
	next uint64                     // After the highest sequence number received.
	// nextOf is the same for each flow: flows may overtake one another.
	nextOf []uint64

	packets    uint64 // Without duplicates.
	duplicated uint64
	reordered  uint64

	// prefix is how many packets have come without a gap from the first on,
	// and prefixAt when the last of them came. prefixKnown is false where a
	// late packet filled a gap in front of another one: when the packet before
	// that one came is then not known.
	prefix      uint64
	prefixAt    time.Duration
	prefixKnown bool
}

func newTracker(flows int) *tracker {
	return &tracker{nextOf: make([]uint64, flows), prefixKnown: true}
}

// add counts the packet of the flow with the sequence number that arrived at the
// time. It says whether it came for the first time. What is too late to tell is taken
// for a duplicate, so that loss is never understated.
func (t *tracker) add(flow int, sequence uint64, at time.Duration) (first bool) {
	if sequence < t.next && (t.next-sequence > trackerWindow || t.has(sequence)) {
		t.duplicated++
		return false
	}
	t.packets++
	if sequence >= t.next {
		t.forget(t.next, sequence)
		t.next = sequence + 1
	}
	if sequence < t.nextOf[flow] {
		t.reordered++
	} else {
		t.nextOf[flow] = sequence + 1
	}
	t.seen[sequence/64%uint64(len(t.seen))] |= 1 << (sequence % 64)
	if sequence == t.prefix {
		t.extend(at)
	}
	return true
}

func (t *tracker) has(sequence uint64) bool {
	return t.seen[sequence/64%uint64(len(t.seen))]&(1<<(sequence%64)) != 0
}

// forget clears the bits of from up to and including to, which are to stand for
// sequence numbers not seen yet.
func (t *tracker) forget(from, to uint64) {
	if to-from >= trackerWindow {
		t.seen = [len(t.seen)]uint64{}
		return
	}
	for s := from; s <= to; {
		word := &t.seen[s/64%uint64(len(t.seen))]
		if s%64 == 0 && to-s >= 63 {
			*word = 0
			s += 64
			continue
		}
		*word &^= 1 << (s % 64)
		s++
	}
}

// extend moves prefix over the packet that has just come at its end, and those
// behind it that came earlier.
func (t *tracker) extend(at time.Duration) {
	t.prefix++
	for t.prefix < t.next && t.next-t.prefix <= trackerWindow && t.has(t.prefix) {
		t.prefix++
	}
	t.prefixAt, t.prefixKnown = at, t.prefix == t.next
}

// lost is how many of the first sent packets have not come.
func (t *tracker) lost(sent uint64) uint64 { return sent - min(sent, t.packets) }
