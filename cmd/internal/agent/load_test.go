package agent

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/probe"
)

var testLimits = control.Limits{MaxInnerBitsPerSecond: 100e6, MaxDuration: time.Minute, MaxInnerSize: 1300}

func TestCheckLoad(t *testing.T) {
	paced := probe.Load{InnerBitsPerSecond: 100e6, Duration: time.Minute, InnerSize: 1300}
	burst := probe.Load{Packets: 9000, InnerSize: 1300} // 0.936 s at the limit.
	change := func(l probe.Load, edit func(*probe.Load)) probe.Load { edit(&l); return l }
	for name, c := range map[string]struct {
		load probe.Load
		want string // "" for none.
	}{
		"paced, at every limit": {paced, ""},
		"burst":                 {burst, ""},
		"rate above":            {change(paced, func(l *probe.Load) { l.InnerBitsPerSecond++ }), "up to the agents' limit of 100000000 bit/s"},
		"rate NaN":              {change(paced, func(l *probe.Load) { l.InnerBitsPerSecond = math.NaN() }), "inner rate NaN"},
		"rate infinite":         {change(paced, func(l *probe.Load) { l.InnerBitsPerSecond = math.Inf(1) }), "inner rate +Inf"},
		"rate negative":         {change(paced, func(l *probe.Load) { l.InnerBitsPerSecond = -1 }), "inner rate -1"},
		"no rate":               {change(paced, func(l *probe.Load) { l.InnerBitsPerSecond = 0 }), "rates above zero"},
		"duration above":        {change(paced, func(l *probe.Load) { l.Duration++ }), "the agents' limit of 1m0s"},
		"duration negative":     {change(paced, func(l *probe.Load) { l.Duration = math.MinInt64 }), "times above zero"},
		"no duration":           {change(paced, func(l *probe.Load) { l.Duration = 0 }), "times above zero"},
		"size above":            {change(paced, func(l *probe.Load) { l.InnerSize++ }), "allowed are 64 to 1300 B"},
		"size negative":         {change(paced, func(l *probe.Load) { l.InnerSize = -1 }), "allowed are 64 to 1300 B"},
		"flows negative":        {change(paced, func(l *probe.Load) { l.Flows = -1 }), "-1 flows"},
		"too many flows":        {change(paced, func(l *probe.Load) { l.Flows = 257 }), "up to 256"},
		"train negative":        {change(paced, func(l *probe.Load) { l.Train = -1 }), "a train of -1"},
		"burst with a rate":     {change(burst, func(l *probe.Load) { l.InnerBitsPerSecond = 1 }), "one or the other"},
		"burst with NaN":        {change(burst, func(l *probe.Load) { l.InnerBitsPerSecond = math.NaN() }), "one or the other"},
		"burst of a negative":   {change(burst, func(l *probe.Load) { l.Packets = -1 }), "allowed are up to 65536"},
		"burst of a billion":    {change(burst, func(l *probe.Load) { l.Packets = 1e9 }), "allowed are up to 65536"},
		"burst above the rate":  {change(burst, func(l *probe.Load) { l.Packets = 10000 }), "within 1s at the agents' limit"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkLoad(c.load, testLimits, 1400)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("checkLoad(%+v): %v, want %q", c.load, err, c.want)
			}
		})
	}
	if err := checkLoad(burst, control.Limits{MaxInnerSize: 1300}, 1400); err == nil {
		t.Error("a peer that allows no rate gets a burst")
	}
	if err := checkLoad(paced, testLimits, 1200); err == nil {
		t.Error("a load is accepted that does not fit the tunnel")
	}
}

// Bursts, one after another, carry no more than the limit.
func TestBurstsArePaidFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, begun := &Agent{}, time.Now()
		burst := probe.Load{Packets: 5000, InnerSize: 1250} // 0.5 s at the limit.
		for i := range 5 {
			if err := a.settle(t.Context(), burst, testLimits); err != nil {
				t.Fatal(err)
			}
			if got, want := time.Since(begun), time.Duration(i)*500*time.Millisecond; got != want {
				t.Errorf("burst %d may leave after %v, want %v", i, got, want)
			}
		}
		if err := a.settle(t.Context(), probe.Load{Duration: time.Hour}, testLimits); err != nil || time.Since(begun) != 2*time.Second {
			t.Errorf("a paced load waited: %v, %v", time.Since(begun), err)
		}
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errClosed)
		if err := a.settle(ended, burst, testLimits); !errors.Is(err, errClosed) {
			t.Errorf("a load of a session that has ended waits: %v", err)
		}
	})
}

// Sessions side by side together send no more than the owner allows.
func TestLoadsTogether(t *testing.T) {
	a := newEnd(t, testPolicy("a"))
	a.policy.MaxInnerBitsPerSecond = 100e6
	load := func(rate float64) probe.Load { return probe.Load{InnerBitsPerSecond: rate} }
	freeFirst, err := a.take(load(60e6))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.take(load(60e6)); err == nil || !strings.Contains(err.Error(), "limit for all is 100000000 bit/s") {
		t.Errorf("a second load beside the first: %v", err)
	}
	freeSecond, err := a.take(load(40e6))
	if err != nil {
		t.Errorf("a load that fits beside the first: %v", err)
	}
	freeFirst()
	freeSecond()
	for range 100 { // Parts of a load are seldom round: nothing of them may remain.
		first, errFirst := a.take(load(100e6 / 3))
		second, errSecond := a.take(load(100e6 / 7))
		if err := errors.Join(errFirst, errSecond); err != nil {
			t.Fatal(err)
		}
		first()
		second()
	}
	if _, err := a.take(load(100e6)); err != nil {
		t.Errorf("after all: %v", err)
	}
}
