package udp

import (
	"math"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
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
	maxTrain    = sockets.MaxInner - sockets.IPv6Header - sockets.UDPHeader
	// leastBound is the lateness that any host shows now and then.
	leastBound = 100 * time.Microsecond
	// labourBound is the lateness of a sender that needs half its time or more for
	// sending: 1 % of the windows in which the pace is judged. At 80 % of what it can do, memory
	// that is slow for 200 us at a time cost it 10 to 20 % of the load; and it cannot make a
	// burst of what it makes up, since it sends at twice the load's rate at most.
	labourBound = paceWindow / 100
	// firstTrains are those that tell at first what a train costs.
	firstTrains = 16
	// packetTime is less than any host takes to send a datagram by itself: those
	// measured take 1.5 us and more.
	packetTime = 500 * time.Nanosecond
)

// batching is how packets go to the stack.
type batching struct {
	train   int  // How many in one call, at most.
	burst   int  // How many of them leave back to back for the load's sake.
	segment bool // Several may go as one.
}

// batchingOf decides it for a load whose largest datagrams have so many bytes.
//
// A load of bursts of one has every datagram go through the stack by itself. Where
// those are due faster than any host sends them, a call takes many nevertheless:
// the stack works longer on each than the load leaves it, so that none leaves
// sooner than it is due, and they do not pay for a call each.
func batchingOf(l probe.Load, payload int) batching {
	most := max(1, min(maxSegments, maxTrain/payload))
	if l.Burst == 1 && packetInterval(l) < float64(packetTime) {
		return batching{train: maxSegments, burst: 1}
	}
	train := min(most, gentle(l))
	if l.Burst > 0 {
		train = min(most, l.Burst)
	}
	return batching{train: train, burst: train, segment: l.Burst != 1}
}

// gentle is the burst for a load that asks for none: as long as makes sending
// cheap, but no longer than what queues hold.
func gentle(l probe.Load) int {
	lasting := func(d time.Duration) int {
		return int(math.Ceil(min(float64(d)/packetInterval(l), maxSegments)))
	}
	return max(min(lasting(trainTime), gentleTrain), lasting(shortTrain))
}

// schedule says when each packet of a lane is due. Packets are numbered in places;
// that of a packet which the local stack refused is not used again.
//
// A departure is computed from the first one, by the bytes before it, never from
// the departure before, so it does not drift. Lateness of up to bound is made up:
// the mean rate is exact. What is later than that shifts everything after it: a
// burst that the load did not ask for would overflow small buckets.
//
// Where the load leaves the burst to the sender, a late train leaves at once, and so
// do those that are due by then. The bound is what a train lasts, or latePackets
// where those last longer, so that what meets is at most that and one train more. A
// sender that labours may be later.
//
// Where the load says how long a burst may be, no train follows another at once: it
// keeps most of its distance, so that lateness is made up over several trains. The
// bound is what a train lasts.
type schedule struct {
	order   *probe.Order
	perByte float64       // ns.
	length  time.Duration // Of the load, on the wall.
	train   int
	lasts   time.Duration // A train, at the load's rate.
	bound   time.Duration
	spaced  bool // Trains keep their distance.

	left  time.Duration // When the train before left,
	place uint64        // and which packet began it.

	shift   time.Duration // How much later than planned packets are due.
	skipped time.Duration // The part of shift in which the host kept the sender off the CPU.
	stalled time.Duration // Off the CPU since the last train that was on time.
	trains  int           // That were sent.
	busy    time.Duration // Since when the sender has been busy with a train.
	cost    time.Duration // Typical time that it is.
}

func newSchedule(l probe.Load, train int) *schedule {
	s := &schedule{
		order: l.Mix.Order(), perByte: 8e9 / laneRate(l),
		length: l.Duration, train: train, spaced: l.Burst > 0,
	}
	lasting := func(packets int) time.Duration { return time.Duration(packetInterval(l) * float64(packets)) }
	s.lasts = lasting(train)
	if s.bound = s.lasts; !s.spaced {
		s.bound = max(leastBound, lasting(max(train, latePackets)))
	}
	return s
}

// most is the lateness that is made up.
func (s *schedule) most() time.Duration {
	if labours := 2*s.cost >= s.lasts; labours && !s.spaced {
		return max(s.bound, labourBound)
	}
	return s.bound
}

func (s *schedule) planned(place uint64) time.Duration {
	return time.Duration(float64(s.order.Bytes(place)) * s.perByte)
}

// due is when the packet in the place is to leave, from the first one's departure.
func (s *schedule) due(place uint64) time.Duration { return s.planned(place) + s.shift }

// departs is when the train that begins with the place may leave: when it is due or,
// to keep a distance of 7/8 of what is planned from a late one before it, later.
func (s *schedule) departs(place uint64) time.Duration {
	if !s.spaced || place == 0 {
		return s.due(place)
	}
	distance := s.planned(place) - s.planned(s.place)
	return max(s.due(place), s.left+distance-distance/8)
}

// next is how many packets leave in the train that begins with the place; zero ends
// the load. The last packet is the last one whose interval lies in the load with
// half of it or more. The shift makes the load shorter in packets, not longer in
// time.
func (s *schedule) next(place uint64) int {
	room := s.length - s.shift
	n := s.train
	for n > 0 && s.planned(place+uint64(n)-1)/2+s.planned(place+uint64(n))/2 > room {
		n--
	}
	return n
}

// sent notes that the sender has done with the train before. What took far more
// than usual was spent off the CPU; what is usual is the machine's speed, and a
// machine that is too slow must not look like one that was kept from working.
//
// What is usual is the least of the first trains, and then about the median, which
// most trains decide, however long others took: it goes up or down by a part of itself.
// Asking the kernel instead (CLOCK_THREAD_CPUTIME_ID) costs a system call for each
// train and misses interrupts: beside it, on two cores with a load of 8, what was
// skipped of a third of the time was the same to within 2 %.
func (s *schedule) sent(now time.Duration) {
	took := now - s.busy
	if s.trains == 0 {
		s.cost = took
	}
	if took > 2*s.cost {
		s.stalled += took - s.cost
	}
	step := s.cost/16 + 1
	switch {
	case took <= s.cost && s.trains < firstTrains:
		s.cost = took
	case took <= s.cost:
		s.cost -= step
	case s.trains >= firstTrains:
		s.cost += step
	}
	s.trains++
}

// waited notes that the sender has waited for room in the socket until now:
// that is neither the machine's speed nor time off the CPU.
func (s *schedule) waited(now time.Duration) { s.busy = now - s.cost }

// woke notes that the sender slept until the train that begins with the place was to
// depart, and overslept by late. Where it was due then, lateness begins anew.
func (s *schedule) woke(place uint64, late time.Duration) {
	if s.departs(place) == s.due(place) {
		s.stalled = 0
	}
	s.stalled += late
}

// leaves judges the lateness of the train that begins with the place and leaves now.
func (s *schedule) leaves(place uint64, now time.Duration) {
	s.busy, s.left, s.place = now, now, place
	late := now - s.due(place)
	if late <= s.most() {
		return
	}
	s.shift += late
	s.skipped += min(late, s.stalled)
	s.stalled = 0
}
