package agent

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/probe"
)

var testLimits = control.Limits{MaxInnerBitsPerSecond: 100e6, MaxDuration: time.Minute, MaxInnerSize: 1300}

func TestCheckLoad(t *testing.T) {
	most := probe.Load{InnerBitsPerSecond: 100e6, Duration: time.Minute, Mix: probe.Mix{Sizes: []int{44, 1300}}}
	change := func(edit func(*probe.Load)) probe.Load { l := most; edit(&l); return l }
	sized := func(sizes ...int) probe.Load { return change(func(l *probe.Load) { l.Mix.Sizes = sizes }) }
	for name, c := range map[string]struct {
		load probe.Load
		want string // "" for none.
	}{
		"at every limit":     {most, ""},
		"rate above":         {change(func(l *probe.Load) { l.InnerBitsPerSecond++ }), "up to the agents' limit of 100000000 bit/s"},
		"rate NaN":           {change(func(l *probe.Load) { l.InnerBitsPerSecond = math.NaN() }), "inner rate NaN"},
		"rate infinite":      {change(func(l *probe.Load) { l.InnerBitsPerSecond = math.Inf(1) }), "inner rate +Inf"},
		"rate negative":      {change(func(l *probe.Load) { l.InnerBitsPerSecond = -1 }), "inner rate -1"},
		"no rate":            {change(func(l *probe.Load) { l.InnerBitsPerSecond = 0 }), "rates above zero"},
		"duration above":     {change(func(l *probe.Load) { l.Duration++ }), "the agents' limit of 1m0s"},
		"duration negative":  {change(func(l *probe.Load) { l.Duration = math.MinInt64 }), "times above zero"},
		"no duration":        {change(func(l *probe.Load) { l.Duration = 0 }), "times above zero"},
		"size above":         {sized(1301), "allowed are 44 to 1300 B"},
		"one size above":     {sized(1300, 1301), "allowed are 44 to 1300 B"},
		"size below":         {sized(43), "allowed are 44 to 1300 B"},
		"size negative":      {sized(-1), "allowed are 44 to 1300 B"},
		"no size":            {sized(), "0 sizes"},
		"too many sizes":     {sized(make([]int, 65)...), "65 sizes"},
		"flows negative":     {change(func(l *probe.Load) { l.Flows = -1 }), "-1 flows"},
		"too many flows":     {change(func(l *probe.Load) { l.Flows = 10_001 }), "up to 10000"},
		"too many lanes":     {change(func(l *probe.Load) { l.Lanes = 17 }), "up to 16"},
		"too many new flows": {change(func(l *probe.Load) { l.NewFlowsPerSecond = 10_001 }), "up to 10000"},
		"new flows NaN":      {change(func(l *probe.Load) { l.NewFlowsPerSecond = math.NaN() }), "NaN new flows"},
		"burst negative":     {change(func(l *probe.Load) { l.Burst = -1 }), "bursts of -1 packets"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkLoad(c.load, testLimits, 1400)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("checkLoad(%+v): %v, want %q", c.load, err, c.want)
			}
		})
	}
	if err := checkLoad(most, testLimits, 1200); err == nil {
		t.Error("a load is accepted that does not fit the tunnel")
	}
}

// Sessions side by side together send no more than the owner allows.
func TestLoadsTogether(t *testing.T) {
	a := newEnd(t, testPolicy("a"))
	a.policy.MaxInnerBitsPerSecond = 100e6
	freeFirst, err := a.take(60e6)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.take(60e6); err == nil || !strings.Contains(err.Error(), "limit for all is 100000000 bit/s") {
		t.Errorf("a second load beside the first: %v", err)
	}
	freeSecond, err := a.take(40e6)
	if err != nil {
		t.Errorf("a load that fits beside the first: %v", err)
	}
	freeFirst()
	freeSecond()
	for range 100 { // Parts of a load are seldom round: nothing of them may remain.
		first, errFirst := a.take(100e6 / 3)
		second, errSecond := a.take(100e6 / 7)
		if err := errors.Join(errFirst, errSecond); err != nil {
			t.Fatal(err)
		}
		first()
		second()
	}
	if _, err := a.take(100e6); err != nil {
		t.Errorf("after all: %v", err)
	}
}
