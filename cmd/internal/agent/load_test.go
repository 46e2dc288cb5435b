package agent

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/latency"
	"tunnelmark/probe/tcp"
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
		"too few new flows":  {change(func(l *probe.Load) { l.NewFlowsPerSecond = 1e-12 }), "0.001 and more"},
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

func TestCheckTCP(t *testing.T) {
	most := tcp.Load{Duration: time.Minute, Flows: 128, Window: 8 << 20, Congestion: "cubic"}
	change := func(edit func(*tcp.Load)) tcp.Load { l := most; edit(&l); return l }
	for name, c := range map[string]struct {
		load tcp.Load
		want string // "" for none.
	}{
		"at every limit":          {most, ""},
		"duration above":          {change(func(l *tcp.Load) { l.Duration++ }), "the agents' limit of 1m0s"},
		"no duration":             {change(func(l *tcp.Load) { l.Duration = 0 }), "times above zero"},
		"too many flows":          {change(func(l *tcp.Load) { l.Flows++ }), "1 to 128"},
		"no flow":                 {change(func(l *tcp.Load) { l.Flows = 0 }), "1 to 128"},
		"rate negative":           {change(func(l *tcp.Load) { l.GoodputBitsPerSecond = -1 }), "-1 bit/s"},
		"rate NaN":                {change(func(l *tcp.Load) { l.GoodputBitsPerSecond = math.NaN() }), "NaN bit/s"},
		"windows of a whole host": {change(func(l *tcp.Load) { l.Window++ }), "1073741824 bytes in all"},
		"module of the kernel":    {change(func(l *tcp.Load) { l.Congestion = "diag" }), "modprobe tcp_diag"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkTCP(c.load, testLimits, []string{"reno", "cubic"})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("checkTCP(%+v): %v, want %q", c.load, err, c.want)
			}
		})
	}
}

// TCP never sends more than the limit, in inner packets; where nothing is left, none.
func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		asked, most            float64
		wantGoodput, wantInner float64
		want                   string // Error.
	}{
		"as fast as it goes":   {asked: 0, most: 100e6, wantGoodput: 24e6, wantInner: 100e6},
		"a rate":               {asked: 12e6, most: 100e6, wantGoodput: 12e6, wantInner: 50e6},
		"the highest":          {asked: 24e6, most: 100e6, wantGoodput: 24e6, wantInner: 100e6},
		"beyond":               {asked: 24.1e6, most: 100e6, want: "allowed are up to 24000000 bit/s"},
		"nothing is left":      {asked: 0, most: 0, want: "leaves no rate"},
		"faster than any host": {asked: 0, most: 100e9, wantGoodput: 0, wantInner: 100e9},
	} {
		t.Run(name, func(t *testing.T) {
			l, taken, err := pace(tcp.Load{Flows: 4, GoodputBitsPerSecond: c.asked}, c.most, 0.96)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				return
			}
			if err != nil || l.GoodputBitsPerSecond != c.wantGoodput || taken != c.wantInner {
				t.Errorf("paced to %v of each, %v taken, %v", l.GoodputBitsPerSecond, taken, err)
			}
		})
	}
}

func TestPayloadShare(t *testing.T) {
	for name, c := range map[string]struct {
		mtu, mss, ipHeader, payload, packet int
	}{
		"IPv4":              {1500, 0, 20, 1448, 1500},
		"IPv6":              {1400, 0, 40, 1328, 1400},
		"MSS":               {1500, 88, 20, 76, 128},
		"MSS above the MTU": {1500, 9000, 20, 1448, 1500},
	} {
		if got, want := payloadShare(c.mtu, c.mss, c.ipHeader), float64(c.payload)/float64(c.packet); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestCheckProbe(t *testing.T) {
	most := latency.Options{Every: time.Millisecond, Duration: time.Minute, InnerSize: 1300}
	change := func(edit func(*latency.Options)) latency.Options { o := most; edit(&o); return o }
	limits := testLimits
	limits.MaxInnerBitsPerSecond = 1300 * 8 * 1000
	for name, c := range map[string]struct {
		probe  latency.Options
		beside bool
		want   string // "" for none.
	}{
		"at every limit":        {most, false, ""},
		"beside a load":         {change(func(o *latency.Options) { o.Duration += probeMargin }), true, ""},
		"defaults":              {latency.Options{Duration: time.Second}, false, ""},
		"duration above":        {change(func(o *latency.Options) { o.Duration++ }), false, "the agents' limit of 1m0s"},
		"duration far above":    {change(func(o *latency.Options) { o.Duration = time.Hour }), true, "limit of 1m10s"},
		"no duration":           {change(func(o *latency.Options) { o.Duration = 0 }), false, "times above zero"},
		"size above":            {change(func(o *latency.Options) { o.InnerSize++ }), false, "up to 1300 B"},
		"size negative":         {change(func(o *latency.Options) { o.InnerSize = -1 }), false, "up to 1300 B"},
		"rate above":            {change(func(o *latency.Options) { o.Every /= 2 }), false, "20800000 bit/s inner"},
		"time between negative": {change(func(o *latency.Options) { o.Every = -1 }), false, "rates above zero"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkProbe(c.probe, limits, c.beside)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("checkProbe(%+v): %v, want %q", c.probe, err, c.want)
			}
		})
	}
	limits.MaxInnerBitsPerSecond = 0
	if err := checkProbe(latency.Options{Duration: time.Second}, limits, false); err == nil {
		t.Error("a probe is sent where nothing may be")
	}
}

// A latency probe counts as a load, unless it is a small one.
func TestProbeCounts(t *testing.T) {
	a := newEnd(t, testPolicy("a"))
	a.policy.MaxInnerBitsPerSecond = 100e6
	for name, c := range map[string]struct {
		probe *controlv1.LatencyProbe
		want  uint64
	}{
		"none":  {nil, 0},
		"small": {&controlv1.LatencyProbe{EveryNs: int64(10 * time.Millisecond)}, 0},
		"large": {&controlv1.LatencyProbe{EveryNs: int64(time.Millisecond), InnerSize: 1250}, 10e6},
	} {
		free, err := a.takeProbe(&trial{work: &controlv1.Work{Latency: c.probe}})
		if err != nil || a.sending != c.want {
			t.Errorf("%s: %d bit/s are taken, %v", name, a.sending, err)
		}
		free()
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
