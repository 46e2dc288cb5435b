package latency

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func mustGuard(t testing.TB, every time.Duration, conditions ...string) *Guard {
	t.Helper()
	var list []Condition
	for _, text := range conditions {
		c, err := ParseCondition(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	g, err := NewGuard(every, list...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// path says what becomes of the ping that is sent at a time.
type path func(n int, at time.Duration) (rtt time.Duration, answered bool)

const signalAt = 5 * time.Second

// guarded plays pings over a path for 10 s, each 10 ms, and returns when the guard
// stopped, since signalAt; negative: it did not.
func guarded(t *testing.T, every time.Duration, p path, conditions ...string) (*Stopped, time.Duration) {
	t.Helper()
	type event struct {
		Sample
		due time.Duration
	}
	g := mustGuard(t, every, conditions...)
	var pending []event
	for n := 0; time.Duration(n)*every < 10*time.Second; n++ {
		at := time.Duration(n) * every
		rest := pending[:0]
		for _, e := range pending {
			if e.due <= at {
				if err := g.Take(e.Sample); err != nil {
					return stopped(t, err), e.due - signalAt
				}
				continue
			}
			rest = append(rest, e)
		}
		pending = rest
		if err := g.Take(Sample{Sequence: uint64(n), At: at, Sent: at}); err != nil {
			return stopped(t, err), at - signalAt
		}
		if rtt, answered := p(n, at); answered {
			pending = append(pending, event{Sample{uint64(n), at + rtt, at, true, rtt}, at + rtt})
		}
	}
	return nil, -1
}

func stopped(t *testing.T, err error) *Stopped {
	t.Helper()
	var s *Stopped
	if !errors.As(err, &s) {
		t.Fatalf("got error %v, want a *Stopped", err)
	}
	return s
}

// from is a quiet path until the signal.
func from(after path) path {
	return func(n int, at time.Duration) (time.Duration, bool) {
		if at < signalAt {
			return 5 * ms, true
		}
		return after(n, at)
	}
}

func always(rtt time.Duration) path {
	return func(int, time.Duration) (time.Duration, bool) { return rtt, true }
}

func lost(int, time.Duration) (time.Duration, bool) { return 0, false }

// The guard says stop within 100 ms of the first sample of the signal: when the first
// answer that exceeds the limit came or, of pings that are not answered, when the first
// was sent.
func TestGuardStopsInTime(t *testing.T) {
	for _, tt := range []struct {
		name      string
		condition string
		every     time.Duration
		path      path
		within    time.Duration // Of signalAt, when the first ping is sent that meets it.
	}{
		{"slow", "rtt>30ms", 10 * ms, always(31 * ms), 31*ms + 20*ms},
		{"very slow", "rtt>30ms", 10 * ms, always(500 * ms), 100 * ms},
		{"dead", "rtt>30ms", 10 * ms, lost, 100 * ms},
		{"slow, pinged each ms", "rtt>30ms", ms, always(31 * ms), 100 * ms},
		{"slow, pinged each 20 ms", "rtt>30ms", 20 * ms, always(31 * ms), 100 * ms},
		{"slow by half", "rtt>30ms", 10 * ms, func(n int, _ time.Duration) (time.Duration, bool) {
			return 10*ms + time.Duration(n%5/2)*25*ms, true // Three of five.
		}, 100 * ms},
		{"dead", "loss>1%", 10 * ms, lost, 100 * ms},
		{"dead, pinged each ms", "loss>1%", ms, lost, 100 * ms},
		{"dead, high limit", "loss>50%", 10 * ms, lost, 130 * ms},
		{"every second lost", "loss>1%", 10 * ms, func(n int, _ time.Duration) (time.Duration, bool) { return 5 * ms, n%2 == 0 }, 100 * ms},
		{"every tenth lost", "loss>1%", 10 * ms, func(n int, _ time.Duration) (time.Duration, bool) { return 5 * ms, n%10 != 0 }, 150 * ms},
	} {
		t.Run(tt.name+", "+tt.condition, func(t *testing.T) {
			why, after := guarded(t, tt.every, from(tt.path), tt.condition)
			if why == nil || after < 0 || after > tt.within {
				t.Fatalf("stopped after %v (%v), want within %v", after, why, tt.within)
			}
			t.Logf("after %v: %v", after, why)
		})
	}
}

func TestGuardLetsPass(t *testing.T) {
	hiccup := func(pings int, rtt time.Duration) path {
		return func(n int, at time.Duration) (time.Duration, bool) {
			if at >= signalAt && at < signalAt+time.Duration(pings)*10*ms {
				return rtt - (at - signalAt), true // All are let go at once.
			}
			return 5 * ms, true
		}
	}
	for _, tt := range []struct {
		name       string
		path       path
		conditions []string
	}{
		{"quiet", always(29 * ms), []string{"rtt>30ms", "loss>0%"}},
		{"equal", always(30 * ms), []string{"rtt>30ms"}},
		{"one slow ping", hiccup(1, 500*ms), []string{"rtt>30ms"}},
		{"two slow pings", hiccup(2, 50*ms), []string{"rtt>30ms"}},
		{"a stall of 80 ms is no loss", hiccup(8, 80*ms), []string{"loss>0%"}},
		{"one lost ping", from(func(_ int, at time.Duration) (time.Duration, bool) { return 5 * ms, at != signalAt }), []string{"rtt>30ms", "loss>0%"}},
		{"loss below the limit", func(n int, _ time.Duration) (time.Duration, bool) { return 5 * ms, n%10 != 0 }, []string{"loss>11%", "rtt>30ms"}},
		{"a longer path", from(always(80 * ms)), []string{"loss>0%"}},
		{"reordered", func(n int, _ time.Duration) (time.Duration, bool) { return 5*ms + time.Duration(n%2)*28*ms, true }, []string{"loss>0%"}},
		{"no conditions", lost, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if why, after := guarded(t, 10*ms, tt.path, tt.conditions...); why != nil {
				t.Errorf("stopped after %v: %v", after, why)
			}
		})
	}
}

func TestStoppedMessage(t *testing.T) {
	for _, tt := range []struct {
		condition string
		path      path
		want      string
	}{
		{"rtt>30ms", always(42 * ms), "the load was stopped after 5.052s because rtt>30ms held: the median round trip of the last pings was at least 32ms"},
		{"loss>=1%", func(n int, _ time.Duration) (time.Duration, bool) { return 5 * ms, n%2 == 0 }, "because loss>=1% held: 2% of the last pings were lost"},
	} {
		why, _ := guarded(t, 10*ms, from(tt.path), tt.condition)
		if why == nil || !strings.Contains(why.Error(), tt.want) {
			t.Errorf("got %q, want it to contain %q", why, tt.want)
		}
	}
}

// Once stopped, a load stays stopped.
func TestGuardStaysStopped(t *testing.T) {
	g := mustGuard(t, 10*ms, "rtt>30ms")
	var first error
	for n := range uint64(100) {
		at := time.Duration(n) * 10 * ms
		rtt := 5 * ms
		if n < 5 {
			rtt = 40 * ms
		}
		err := g.Take(Sample{Sequence: n, At: at, Sent: at})
		if err == nil {
			err = g.Take(Sample{Sequence: n, At: at, Sent: at, Answered: true, RTT: rtt})
		}
		switch {
		case first == nil:
			first = err
		case !errors.Is(err, first):
			t.Fatalf("got %v after %v", err, first)
		}
	}
	if first == nil {
		t.Error("not stopped")
	}
}

// Samples of pings that a guard has not seen sent, or has forgotten, change nothing.
func TestGuardStraySamples(t *testing.T) {
	g := mustGuard(t, 10*ms, "rtt>30ms", "loss>0%")
	for _, n := range []uint64{0, 1 << 20, ^uint64(0)} {
		for range 10 {
			if err := g.Take(Sample{Sequence: n, Answered: true, RTT: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range uint64(1000) {
		at := time.Duration(n) * 10 * ms
		for _, s := range []Sample{{Sequence: n, At: at, Sent: at}, {Sequence: n, At: at, Sent: at, Answered: true, RTT: ms}, {Sequence: n - 400, Answered: true, RTT: time.Hour}} {
			if err := g.Take(s); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestNewGuardRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		every time.Duration
		c     Condition
	}{
		{"too rare", 21 * ms, Condition{Metric: RTT, RTT: ms}},
		{"too often", ms / 2, Condition{Metric: RTT, RTT: ms}},
		{"no condition", 10 * ms, Condition{}},
	} {
		if _, err := NewGuard(tt.every, tt.c); err == nil {
			t.Errorf("%s: taken", tt.name)
		}
	}
}

func TestGuardDoesNotAllocate(t *testing.T) {
	g := mustGuard(t, 10*ms, "rtt>30ms", "loss>50%")
	n, at := uint64(0), time.Duration(0)
	allocated := testing.AllocsPerRun(1000, func() {
		_ = g.Take(Sample{Sequence: n, At: at, Sent: at})
		_ = g.Take(Sample{Sequence: n, At: at, Sent: at, Answered: true, RTT: 5*ms + time.Duration(n%5/3)*30*ms})
		n, at = n+1, at+10*ms
	})
	if allocated != 0 {
		t.Errorf("%g allocations, want none", allocated)
	}
}
