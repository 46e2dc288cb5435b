package latency

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/wire"
)

// isType says whether b is of the type.
func isType(b []byte, want wire.Type) bool {
	h, err := wire.ParseHeader(b)
	return err == nil && h.Type == want
}

func sequenceOf(b []byte) uint64 {
	h, _ := wire.ParseHeader(b)
	return h.Sequence
}

// mustRun runs a probe that both ends end without an error.
func mustRun(t *testing.T, s *sim) Result {
	t.Helper()
	s.run()
	if err := errors.Join(s.prober.failed, s.answerer.failed); err != nil {
		t.Fatal(err)
	}
	return s.prober.result()
}

func assertNear(t *testing.T, what string, got, want, within time.Duration) {
	t.Helper()
	if (got - want).Abs() > within {
		t.Errorf("%s is %v, want %v within %v", what, got, want, within)
	}
}

func TestQuietPath(t *testing.T) {
	var samples int
	s := newSim(t, testOptions(t, 10*time.Second), func(Sample) { samples++ })
	r := mustRun(t, s)
	if r.Sent != 1000 || r.Received != 1000 || r.Lost+r.Late+r.Duplicated+r.Refused+r.Skipped+r.Malformed != 0 {
		t.Errorf("counted %+v, want 1000 pings, all answered", r)
	}
	if samples != 2000 {
		t.Errorf("%d samples, want 2000", samples)
	}
	for what, got := range map[string]time.Duration{"min": r.RTT.Min, "mean": r.RTT.Mean, "median": r.RTT.P50, "P99.9": r.RTT.P999, "max": r.RTT.Max} {
		assertNear(t, what, got, 10*ms, 10*time.Microsecond)
	}
	// The last PONG's departure is told by none.
	if diff := cmp.Diff(Stamped{Left: 1000, Arrived: 1000, Answered: 999, Heard: 1000}, r.Stamped); diff != "" {
		t.Errorf("stamped (-want +got):\n%s", diff)
	}
	if len(r.Series) != 100 || r.Series[99].Start != 9900*ms || r.Series[50].Sent != 10 || r.Series[50].Lost != 0 {
		t.Errorf("series has %d windows, the last is %+v, want 100 of 10 pings", len(r.Series), r.Series[len(r.Series)-1])
	}
	if want := (Answered{Pings: 1000}); s.answerer.counts != want {
		t.Errorf("answered %+v, want %+v", s.answerer.counts, want)
	}
}

// What is lost on each way, repeated and late is counted exactly.
func TestCounts(t *testing.T) {
	s := newSim(t, testOptions(t, 10*time.Second), nil)
	s.fate = func(from int, b []byte) []time.Duration {
		n := sequenceOf(b)
		switch {
		case isType(b, wire.TypePing) && n%100 == 3: // 10 pings.
			return nil
		case isType(b, wire.TypePong) && n%50 == 4: // 20 pongs.
			return nil
		case isType(b, wire.TypePong) && n%200 == 5: // 5 pongs, twice.
			return []time.Duration{5 * ms, 7 * ms}
		case isType(b, wire.TypePing) && n%200 == 6: // 5 pings, twice.
			return []time.Duration{5 * ms, 6 * ms}
		case isType(b, wire.TypePong) && n == 7:
			return []time.Duration{2500 * ms}
		}
		return []time.Duration{5 * ms}
	}
	r := mustRun(t, s)
	got := []uint64{r.Sent, r.Received, r.Late, r.Duplicated, r.Lost, r.LostToPeer, r.LostFromPeer, s.answerer.counts.Repeated}
	if diff := cmp.Diff([]uint64{1000, 970, 1, 5, 30, 10, 20, 5}, got); diff != "" {
		t.Errorf("sent, received, late, duplicated, lost, to peer, from peer, repeated (-want +got):\n%s", diff)
	}
	lost := 0
	for _, w := range r.Series {
		lost += w.Lost
	}
	if lost != 30 {
		t.Errorf("the series tells of %d lost, want 30", lost)
	}
}

// Each way's delay shows where it was added, though the answerer's clock has another
// zero and gains 100 ppm, 6 ms in all.
func TestOneWayDelays(t *testing.T) {
	s := newSim(t, testOptions(t, time.Minute), nil)
	s.ends[1].gain = 100e-6
	s.fate = func(from int, b []byte) []time.Duration {
		if isType(b, wire.TypePing) && sequenceOf(b)%10 == 9 {
			return []time.Duration{8 * ms}
		}
		return []time.Duration{5 * ms}
	}
	r := mustRun(t, s)
	assertNear(t, "greatest to peer", r.ToPeer.Max, 3*ms, 20*time.Microsecond)
	assertNear(t, "median to peer", r.ToPeer.P50, 0, 20*time.Microsecond)
	assertNear(t, "mean to peer", r.ToPeer.Mean, 300*time.Microsecond, 20*time.Microsecond)
	assertNear(t, "greatest from peer", r.FromPeer.Max, 0, 20*time.Microsecond)
	assertNear(t, "greatest round trip", r.RTT.Max, 13*ms, 20*time.Microsecond)
}

// A queue that grows on one way all the time is not taken for a clock's drift.
func TestGrowingQueueIsNoDrift(t *testing.T) {
	s := newSim(t, testOptions(t, 20*time.Second), nil)
	s.fate = func(from int, b []byte) []time.Duration {
		if isType(b, wire.TypePing) {
			return []time.Duration{5*ms + s.now/1000} // 20 ms at the end.
		}
		return []time.Duration{5 * ms}
	}
	r := mustRun(t, s)
	assertNear(t, "greatest to peer", r.ToPeer.Max, 20*ms, ms)
	assertNear(t, "greatest from peer", r.FromPeer.Max, 0, ms)
}

// An hour's step of CLOCK_REALTIME at either end, in either direction, does not show.
func TestClockSteps(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  int
		step time.Duration
	}{
		{"prober's, forward", 0, time.Hour},
		{"prober's, back", 0, -time.Hour},
		{"prober's, by 30 ms", 0, 30 * ms},
		{"answerer's, forward", 1, time.Hour},
		{"answerer's, back", 1, -time.Hour},
		{"answerer's, back by 30 ms", 1, -30 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSim(t, testOptions(t, 4*time.Second), nil)
			steps := 0
			s.at = func(now time.Duration) {
				if due := time.Duration(steps+1) * 500 * ms; now >= due && steps < 6 {
					steps++
					s.ends[tt.end].stepped += tt.step
				}
			}
			r := mustRun(t, s)
			assertNear(t, "least", r.RTT.Min, 10*ms, 10*time.Microsecond)
			assertNear(t, "greatest", r.RTT.Max, 10*ms, 10*time.Microsecond)
			assertNear(t, "greatest to peer", r.ToPeer.Max, 0, 10*time.Microsecond)
			if r.Received != r.Sent || r.Stamped.Heard < r.Sent-20 || r.Stamped.Arrived < r.Sent-20 {
				t.Errorf("counted %+v, want all answered and nearly all stamped", r)
			}
		})
	}
}

// The longest probe with the most pings fits into its room.
func TestMostPings(t *testing.T) {
	o := testOptions(t, probe.MaxDuration)
	o.Every = LeastEvery
	now := time.Duration(0)
	p := newProber(o, 100, func() time.Duration { return now }, func([]byte, uint64) error { return nil }, nil)
	p.begin(wire.Nonce{}, 0)
	for ; p.phase == pinging; now += o.Every / 2 {
		p.heard = now
		p.tick(now)
	}
	if n := len(p.pings); n < 599_999 || n > 600_001 {
		t.Errorf("%d pings, want 600000", n)
	}
	for i := range p.pings {
		p.receive(&p.pings[i], wire.Pong{}, moment{at: p.pings[i].left + 5*ms})
	}
	if r := p.result(); r.RTT.Count != r.Sent || len(r.Series) == 0 {
		t.Errorf("summed up %d of %d", r.RTT.Count, r.Sent)
	}
}

// Without the kernel's stamps the probe works with the clocks of user space, and says
// so.
func TestWithoutStamps(t *testing.T) {
	s := newSim(t, testOptions(t, time.Second), nil)
	s.ends[0].stamps, s.ends[1].stamps = false, false
	r := mustRun(t, s)
	assertNear(t, "mean", r.RTT.Mean, 10*ms, 10*time.Microsecond)
	if r.Received != 100 || r.Stamped != (Stamped{}) {
		t.Errorf("received %d, stamped %+v, want 100 and none", r.Received, r.Stamped)
	}
}

// While nothing is heard the prober slows down; it goes on when it hears again.
func TestSilenceThatEnds(t *testing.T) {
	s := newSim(t, testOptions(t, 10*time.Second), nil)
	s.fate = func(from int, b []byte) []time.Duration {
		if s.now > 2*time.Second && s.now < 6*time.Second {
			return nil
		}
		return []time.Duration{5 * ms}
	}
	r := mustRun(t, s)
	// 6 s and 1 s at 100 a second, 3 s at 10 a second.
	if r.Sent < 700 || r.Sent > 750 || r.Received < 580 || r.Received > 605 || r.Lost != r.Sent-r.Received {
		t.Errorf("counted %+v, want about 730 sent and 600 received", r)
	}
}

// Over a path that drops nine of ten packets the probe measures what comes through,
// and ends as it should.
func TestOverloadedPath(t *testing.T) {
	s := newSim(t, testOptions(t, 20*time.Second), nil)
	random := rand.New(rand.NewPCG(4, 2))
	s.fate = func(from int, b []byte) []time.Duration {
		if from == 0 && random.IntN(10) != 0 {
			return nil
		}
		return []time.Duration{50 * ms}
	}
	r := mustRun(t, s)
	if r.Sent != 2000 || r.Received < 150 || r.Received > 250 || r.LostToPeer != r.Sent-r.Received || r.LostFromPeer != 0 {
		t.Errorf("counted %+v, want a tenth of 2000 received, the others lost to the peer", r)
	}
	assertNear(t, "mean", r.RTT.Mean, 100*ms, 10*time.Microsecond)
}

func TestPeerDies(t *testing.T) {
	s := newSim(t, testOptions(t, time.Minute), nil)
	s.fate = func(from int, b []byte) []time.Duration {
		if s.now > 2*time.Second {
			return nil
		}
		return []time.Duration{5 * ms}
	}
	s.run()
	if !errors.Is(s.prober.failed, probe.ErrPeerSilent) || !errors.Is(s.answerer.failed, probe.ErrPeerSilent) {
		t.Errorf("got errors %v and %v, want ErrPeerSilent of both", s.prober.failed, s.answerer.failed)
	}
	if s.now > 10*time.Second {
		t.Errorf("ended after %v, want 7 s", s.now)
	}
	r := s.prober.result()
	if r.Received < 195 || r.LostToPeer+r.LostFromPeer != 0 {
		t.Errorf("counted %+v, want what was answered before", r)
	}
}

// Pings that the local stack refuses are neither sent nor lost, and the error says so.
func TestRefusedPings(t *testing.T) {
	s := newSim(t, testOptions(t, time.Minute), nil)
	send := s.prober.send
	s.prober.send = func(b []byte, number uint64) error {
		if number >= 50 && number != unnumbered {
			return os.ErrPermission
		}
		return send(b, number)
	}
	s.run()
	if err := s.prober.failed; !errors.Is(err, probe.ErrPeerSilent) || !errors.Is(err, os.ErrPermission) {
		t.Errorf("got error %v, want ErrPeerSilent and the refusal", err)
	}
	if r := s.prober.result(); r.Sent != 50 || r.Received != 50 || r.Lost != 0 || r.Refused == 0 {
		t.Errorf("counted %+v, want 50 sent and answered", r)
	}
}

func TestNoHello(t *testing.T) {
	s := newSim(t, testOptions(t, time.Minute), nil)
	s.fate = func(from int, b []byte) []time.Duration {
		if !isType(b, wire.TypeHello) {
			t.Error("sent something before the hello")
		}
		return nil
	}
	s.run()
	if !errors.Is(s.prober.failed, probe.ErrNoHello) || !errors.Is(s.answerer.failed, probe.ErrNoHello) {
		t.Errorf("got errors %v and %v, want ErrNoHello of both", s.prober.failed, s.answerer.failed)
	}
}

func TestUntil(t *testing.T) {
	until := make(chan struct{})
	o := testOptions(t, time.Minute)
	o.Until = until
	s := newSim(t, o, func(p Sample) {
		if p.Sequence == 99 && !p.Answered {
			close(until)
		}
	})
	if r := mustRun(t, s); r.Sent != 100 || r.Received != 100 {
		t.Errorf("sent %d, received %d, want 100", r.Sent, r.Received)
	}
}

// A prober that is kept off the CPU makes nothing up, and does not take for lost what
// came meanwhile.
func TestProberHeldUp(t *testing.T) {
	o := testOptions(t, 2*time.Second)
	guard := mustGuard(t, o.Every, "rtt>30ms", "loss>1%")
	s := newSim(t, o, func(p Sample) {
		if err := guard.Take(p); err != nil {
			t.Errorf("stopped: %v", err)
		}
	})
	s.at = func(now time.Duration) {
		if now > time.Second && now < 1010*ms {
			s.now += 300 * ms
		}
	}
	r := mustRun(t, s)
	if r.Skipped < 29 || r.Skipped > 31 || r.Sent+r.Skipped != 200 || r.Lost != 0 {
		t.Errorf("counted %+v, want about 30 skipped and none lost", r)
	}
}

// Whatever a holder of the key says about its clock, a round trip is neither negative
// nor longer than it was.
func TestLyingAnswerer(t *testing.T) {
	for _, dwell := range []time.Duration{-time.Hour, time.Hour, 0} {
		q := ping{left: 10 * ms, heard: 15 * ms, arrived: wire.StampOf(2 * time.Hour), answered: wire.StampOf(2*time.Hour + dwell)}
		if got := q.rtt(); got < 0 || got > 5*ms {
			t.Errorf("dwell of %v: round trip is %v", dwell, got)
		}
	}
}

// Neither end is disturbed by any datagram that a stranger, or an older probe, can send.
func FuzzStrangers(f *testing.F) {
	auth := wire.NewAuthenticator(probetest.Key(f))
	b := make([]byte, 100)
	wire.Ping{}.Put(b, auth)
	f.Add(append([]byte(nil), b...))
	wire.Pong{HasEarlier: true, Earlier: 1 << 40}.Put(b, auth)
	f.Add(append([]byte(nil), b...))
	f.Add(wire.Hello{Kind: wire.HelloLast}.Append(nil, probetest.Key(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSim(t, testOptions(t, 200*ms), nil)
		s.at = func(time.Duration) {
			s.prober.handle(b, moment{at: s.own(0)})
			s.answerer.handle(b, moment{at: s.own(1)})
		}
		r := mustRun(t, s)
		if r.Sent != 20 || r.Received != 20 || s.answerer.counts.Pings != 20 {
			t.Errorf("counted %+v, want 20 pings and answers", r)
		}
	})
}
