package lab

import (
	"math"
	"time"
)

const (
	// A packet to be reordered is held back for so long, and on until one that came
	// later has left; but a lone packet not for ever.
	heldBack   = 5 * time.Millisecond
	heldAtMost = 200 * time.Millisecond
)

// flight is the packets that are on their way in one direction. It decides about
// each, and reads no clock: all times are given, in ns since any begin.
//
// Jitter keeps the order, and what is held back is so for the same time, so that
// two queues in the order of arrival are also in the order of departure.
type flight struct {
	delay  int64
	jitter wander
	fates  fates

	inOrder, late queue
	arrived       uint64 // Packets so far: the number of the last.
	newest        uint64 // The number of the latest that has left.

	dropped, duplicated, reordered uint64
}

// passage is one packet on its way.
type passage struct {
	slot         int    // Where the packet is.
	number       uint64 // The first is 1.
	arrival, due int64
	late, twice  bool
}

// newFlight begins one direction, with room for so many packets.
func newFlight(w WAN, direction uint64, slots int) *flight {
	return &flight{
		delay:   w.Delay.Nanoseconds(),
		jitter:  newWander(w.Jitter.Nanoseconds(), w.Seed, direction),
		fates:   newFates(w, direction),
		inOrder: newQueue(slots), late: newQueue(slots),
	}
}

// enter takes a packet that arrived at a time not before the last one's, and says
// whether it is on its way now, or lost.
func (f *flight) enter(slot int, arrival int64) bool {
	f.arrived++
	fate := f.fates.next()
	if fate.lost {
		f.dropped++
		return false
	}
	p := passage{slot: slot, number: f.arrived, arrival: arrival, late: fate.late, twice: fate.twice}
	p.due = arrival + f.delay + f.jitter.at(arrival)
	if fate.late {
		p.due += heldBack.Nanoseconds()
		f.late.push(p)
	} else {
		f.inOrder.push(p)
	}
	return true
}

// leave returns the packet that leaves next, if one does until now.
func (f *flight) leave(now int64) (p passage, found bool) {
	atLate, atInOrder := f.nextLate(), f.inOrder.nextDue()
	switch {
	case min(atLate, atInOrder) > now:
		return passage{}, false
	case atInOrder <= atLate:
		p = f.inOrder.pop()
		f.newest = p.number
	default:
		p = f.late.pop()
		if p.number < f.newest {
			f.reordered++
		}
	}
	if p.twice {
		f.duplicated++
	}
	return p, true
}

// next is when leave returns something, if nothing enters before; math.MaxInt64
// where nothing is on its way.
func (f *flight) next() int64 { return min(f.nextLate(), f.inOrder.nextDue()) }

// nextLate is when the first of those that are held back leaves.
func (f *flight) nextLate() int64 {
	due := f.late.nextDue()
	if due == math.MaxInt64 || f.late.first().number < f.newest {
		return due
	}
	return due + (heldAtMost - heldBack).Nanoseconds()
}

// queue is passages in order, in a ring that does not grow: whoever pushes knows
// that there is room.
type queue struct {
	ring        []passage
	head, count int
}

func newQueue(size int) queue { return queue{ring: make([]passage, size)} }

func (q *queue) first() *passage { return &q.ring[q.head] }

func (q *queue) push(p passage) {
	at := q.head + q.count
	if at >= len(q.ring) {
		at -= len(q.ring)
	}
	q.ring[at] = p
	q.count++
}

func (q *queue) pop() passage {
	p := q.ring[q.head]
	q.count--
	if q.head++; q.head == len(q.ring) {
		q.head = 0
	}
	return p
}

// nextDue is when the first leaves, math.MaxInt64 where there is none.
func (q *queue) nextDue() int64 {
	if q.count == 0 {
		return math.MaxInt64
	}
	return q.ring[q.head].due
}
