package latency

import (
	"math"
	"testing"
	"time"

	"tunnelmark/probe/probetest"
	"tunnelmark/probe/sockets"
)

const ms = time.Millisecond

// epoch is CLOCK_REALTIME when a simulation begins, in ns since 1970.
const epoch = int64(1_800_000_000_000_000_000)

func testOptions(t testing.TB, duration time.Duration) Options {
	t.Helper()
	o, err := Options{Key: probetest.Key(t), Trial: probetest.Trial, Duration: duration}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// sim is a path between a prober and an answerer, with a time of its own.
type sim struct {
	t        testing.TB
	now      time.Duration
	prober   *prober
	answerer *answerer
	ends     [2]*simEnd // Prober, answerer.
	flying   []flight
	// fate says when a datagram arrives: once for each delay it returns. The default
	// is after 5 ms.
	fate func(from int, b []byte) []time.Duration
	// at is called before each event. Optional.
	at func(now time.Duration)
}

// simEnd has the clocks of a host: its own, and CLOCK_REALTIME.
type simEnd struct {
	party   party
	zero    time.Duration // The own clock when the simulation begins,
	gain    float64       // and what it gains.
	stepped time.Duration // By how much CLOCK_REALTIME was set.
	stamps  bool          // The kernel stamps.
	clock   sockets.StampClock
}

type flight struct {
	to int
	at time.Duration
	b  []byte
}

func newSim(t testing.TB, o Options, watch func(Sample)) *sim {
	s := &sim{t: t}
	s.fate = func(int, []byte) []time.Duration { return []time.Duration{5 * ms} }
	s.ends = [2]*simEnd{{zero: time.Hour, stamps: true}, {zero: 5 * time.Minute, stamps: true}}
	size := o.InnerSize - sockets.IPv4Header - sockets.UDPHeader
	s.prober = newProber(o, size, s.clockOf(0), s.senderOf(0), watch)
	s.answerer = newAnswerer(o, size, s.clockOf(1), s.senderOf(1))
	s.ends[0].party, s.ends[1].party = s.prober, s.answerer
	for i := range s.ends {
		s.look(i)
	}
	return s
}

func (s *sim) own(end int) time.Duration {
	e := s.ends[end]
	return e.zero + s.now + time.Duration(e.gain*float64(s.now))
}

func (s *sim) clockOf(end int) func() time.Duration {
	return func() time.Duration { return s.own(end) }
}

func (s *sim) look(end int) {
	s.ends[end].clock.Look(epoch+int64(s.own(end)+s.ends[end].stepped), s.own(end))
}

// stamp is what the kernel of an end would stamp now.
func (s *sim) stamp(end int) int64 {
	if !s.ends[end].stamps {
		return 0
	}
	return epoch + int64(s.own(end)+s.ends[end].stepped)
}

func (s *sim) senderOf(end int) func([]byte, uint64) error {
	return func(b []byte, number uint64) error {
		for _, delay := range s.fate(end, b) {
			s.flying = append(s.flying, flight{to: 1 - end, at: s.now + delay, b: append([]byte(nil), b...)})
		}
		at, known := s.ends[end].clock.At(s.stamp(end), s.own(end))
		if known && number != unnumbered {
			s.ends[end].party.departed(number, at)
		}
		return nil
	}
}

// run goes from event to event until both ends are over.
func (s *sim) run() {
	s.t.Helper()
	for range 10_000_000 {
		end, at := s.nextEvent()
		if end < 0 {
			return
		}
		s.now = max(s.now, at)
		if s.at != nil {
			s.at(s.now)
		}
		s.pass(end)
	}
	s.t.Fatal("the probe does not end")
}

func (s *sim) nextEvent() (end int, at time.Duration) {
	end, at = -1, time.Duration(math.MaxInt64)
	for i, e := range s.ends {
		if e.party.over() {
			continue
		}
		due := time.Duration(float64(e.party.next()-e.zero)/(1+e.gain)) + 1
		if due < at {
			end, at = i, due
		}
		for _, f := range s.flying {
			if f.to == i && f.at < at {
				end, at = i, f.at
			}
		}
	}
	return end, at
}

// pass is what a link's pass does.
func (s *sim) pass(end int) {
	e := s.ends[end]
	stamp := s.stamp(end)
	s.look(end)
	var left []flight
	for _, f := range s.flying {
		if f.to != end || f.at > s.now {
			left = append(left, f)
		}
	}
	arrived := s.flying
	s.flying = left
	for _, f := range arrived {
		if f.to == end && f.at <= s.now {
			at, known := e.clock.At(stamp, s.own(end))
			if !known {
				at = s.own(end)
			}
			e.party.handle(f.b, moment{at: at, kernel: known})
		}
	}
	if !e.party.over() {
		e.party.tick(s.own(end))
	}
}
