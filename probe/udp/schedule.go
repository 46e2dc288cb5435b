package udp

import (
	"math"
	"time"

	"tunnelmark/probe"
)

const (
	// trainTime is how long a train lasts: what it costs to wake, to send and
	// to spin is then a small part of it.
	trainTime = 100 * time.Microsecond
	// gentleTrain is what the queue of any bottleneck holds at the rates that make
	// such trains. It is exceeded only where so many packets last less than
	// shortTrain.
	gentleTrain = 8
	shortTrain  = 40 * time.Microsecond
	// latePackets may be made up where trains are shorter.
	latePackets = 4
	// maxSegments is the kernel's UDP_MAX_SEGMENTS before 6.9, and maxTrain
	// what fits into one IP packet.
	maxSegments = 64
	maxTrain    = 1<<16 - 1 - ipv6Header - udpHeader
	// leastBound is the lateness that any host shows now and then.
	leastBound = 100 * time.Microsecond
)

// trainLength is how many packets leave back to back.
func trainLength(l probe.Load, payload int) int {
	most := max(1, min(maxSegments, maxTrain/payload))
	if l.Burst > 0 {
		return min(most, l.Burst)
	}
	lasting := func(d time.Duration) int {
		return int(math.Ceil(min(float64(d)/packetInterval(l), maxSegments)))
	}
	return min(most, max(min(lasting(trainTime), gentleTrain), lasting(shortTrain)))
}

// schedule says when each packet of a paced load is due. Packets are numbered
// in slots; a slot whose packet the local stack refused is not used again.
//
// A departure is computed from the first one, never from the one before, so it
// does not drift. A train that is late by no more than bound leaves at once, and
// so do those that are due by then: the mean rate is exact. The bound is what a
// train lasts, or latePackets where those last longer, so that what
// meets is at most that and one train more. A train that is later than that
// shifts everything after it: a burst that the load did not ask for would
// overflow small buckets.
type schedule struct {
	interval float64       // ns per packet.
	length   time.Duration // Of the load, on the wall.
	train    int
	bound    time.Duration

	shift   time.Duration // How much later than planned packets are due.
	skipped time.Duration // The part of shift in which the host kept the sender off the CPU.
	stalled time.Duration // Off the CPU since the last train that was on time.
	busy    time.Duration // Since when the sender has been busy with a train.
	cost    time.Duration // Typical time that it is.
}

func newSchedule(l probe.Load, train int) *schedule {
	s := &schedule{interval: packetInterval(l), length: l.Duration, train: train}
	s.bound = max(leastBound, s.planned(uint64(max(train, latePackets))))
	return s
}

func (s *schedule) planned(slot uint64) time.Duration {
	return time.Duration(float64(slot) * s.interval)
}

// due is when the packet in the slot leaves, from the first one's departure.
func (s *schedule) due(slot uint64) time.Duration { return s.planned(slot) + s.shift }

// next is how many packets leave in the train that begins with slot; zero ends
// the load. The shift makes the load shorter in packets, not longer in time.
func (s *schedule) next(slot uint64) int {
	room := float64(s.length-s.shift) / s.interval
	total := uint64(max(0, math.Round(room)))
	return int(min(uint64(s.train), total-min(total, slot)))
}

// sent notes that the sender has done with the train before. What took far more
// than usual was spent off the CPU; what is usual is the machine's speed, and a
// machine that is too slow must not look like one that was kept from working.
func (s *schedule) sent(now time.Duration) {
	took := now - s.busy
	if s.cost == 0 {
		s.cost = took
	}
	if took > 2*s.cost {
		s.stalled += took - s.cost
		took = 2 * s.cost
	}
	s.cost += (took - s.cost) / 16
}

// waited notes that the sender has waited for room in the socket until now:
// that is neither the machine's speed nor time off the CPU.
func (s *schedule) waited(now time.Duration) { s.busy = now - s.cost }

// woke notes that the sender slept, so was on time, and overslept by late.
func (s *schedule) woke(late time.Duration) { s.stalled = late }

// leaves judges the lateness of the train at slot, which leaves now.
func (s *schedule) leaves(slot uint64, now time.Duration) {
	s.busy = now
	late := now - s.due(slot)
	if late <= s.bound {
		return
	}
	s.shift += late
	s.skipped += min(late, s.stalled)
	s.stalled = 0
}
