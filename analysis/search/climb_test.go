package search

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tunnelmark/analysis"
)

// beside is production that shares a device: packets of the same size at a steady
// rate, none of which is ours.
type beside struct {
	device
	rate float64 // Outer bit/s.
	rng  *rand.Rand
	next float64
	lost int
}

func newBeside(d device, rate float64) *beside {
	return &beside{device: d, rate: rate, rng: rand.New(rand.NewPCG(1, 3))}
}

func (d *beside) pass(at, bytes float64) (float64, bool) {
	gap := outerSize * 8 / d.rate
	d.next = max(d.next, at-1) // Of a longer pause nothing remains.
	for d.next < at {
		if _, ok := d.device.pass(d.next, outerSize); !ok {
			d.lost++
		}
		d.next += gap * (0.5 + d.rng.Float64())
	}
	return d.device.pass(at, bytes)
}

// packetLimit counts packets, whatever their size.
type packetLimit struct{ policer }

func (d *packetLimit) pass(at, _ float64) (float64, bool) { return d.policer.pass(at, 1) }

func newPacketLimit(perSecond float64) *packetLimit {
	return &packetLimit{*newPolicer(perSecond*8, 64)}
}

// shared are the simulated paths of a climb, with what they have available.
var shared = []struct {
	name      string
	path      func(seed uint64) *path
	outer     float64 // Available, bit/s.
	tolerance float64 // Of the figure, above it and below it.
}{
	{"policer of 40 Mbps, 64 KiB", through(func(uint64) device { return newPolicer(40e6, 64<<10) }), 40e6, 0.02},
	{"policer of 40 Mbps, 256 KiB", through(func(uint64) device { return newPolicer(40e6, 256<<10) }), 40e6, 0.03},
	{"policer of 350 Mbps, 16 KiB", through(func(uint64) device { return newPolicer(350e6, 16<<10) }), 350e6, 0.02},
	{"policer of 350 Mbps, 64 KiB", through(func(uint64) device { return newPolicer(350e6, 64<<10) }), 350e6, 0.02},
	{"policer of 350 Mbps, 625 KB", through(func(uint64) device { return newPolicer(350e6, 625e3) }), 350e6, 0.02},
	{"policer of 3 Mbps", through(func(uint64) device { return newPolicer(3e6, 16<<10) }), 3e6, 0.04},
	{"shaper with 50 KB", through(func(uint64) device { return &shaper{rate: 350e6, queue: 50e3} }), 350e6, 0.02},
	{"shaper with 5 MB", through(func(uint64) device { return &shaper{rate: 350e6, queue: 5e6} }), 350e6, 0.02},
	{"CPU that wavers", through(func(seed uint64) device { return newNoisy(350e6, seed) }), 350e6, 0.04},
	{"CPU that slows down a little", through(func(uint64) device { return newRetrograde(350e6, 0.1) }), 350e6, 0.03},
	{"CPU that slows down much", through(func(uint64) device { return newRetrograde(350e6, 2) }), 350e6, 0.05},
	{"packets per second", through(func(uint64) device { return newPacketLimit(30000) }), 30000 * outerSize * 8, 0.02},
	{"loss floor of 1e-4", lossy(1e-4), 350e6, 0.02},
	{"loss floor of 1e-3", lossy(1e-3), 350e6, 0.02},
	{"production on half of a policer", through(func(uint64) device { return newBeside(newPolicer(350e6, 64<<10), 175e6) }), 175e6, 0.02},
	{"production on most of a policer", through(func(uint64) device { return newBeside(newPolicer(350e6, 64<<10), 300e6) }), 50e6, 0.03},
	{"production on half of a shaper", through(func(uint64) device { return newBeside(&shaper{rate: 350e6, queue: 500e3}, 175e6) }), 175e6, 0.02},
	{"host that stalls", func(seed uint64) *path {
		return &path{device: newPolicer(350e6, 256<<10), seed: seed, train: 1, jitter: 50e-6, stalls: 2, naps: 2}
	}, 350e6, 0.05},
}

func through(device func(seed uint64) device) func(uint64) *path {
	return func(seed uint64) *path {
		return &path{device: device(seed), seed: seed, train: 1, jitter: 20e-6}
	}
}

func lossy(ratio float64) func(uint64) *path {
	return func(seed uint64) *path {
		return &path{device: newPolicer(350e6, 64<<10), seed: seed, train: 1, jitter: 20e-6, loss: ratio}
	}
}

func TestClimb(t *testing.T) {
	for _, tc := range shared {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(4) {
				c := climb(t, tc.path(seed), Options{MaxInnerBitsPerSecond: 1e9})
				near(t, fmt.Sprintf("outer rate with seed %d", seed), c.OuterBitsPerSecond(), tc.outer, tc.tolerance)
				if c.OuterUpperBitsPerSecond() < tc.outer*(1-tc.tolerance) {
					t.Errorf("seed %d: upper bound %.4g, want it above what is available", seed, c.OuterUpperBitsPerSecond())
				}
				if !c.Qualified || c.Note != "" {
					t.Errorf("seed %d: qualified %v, note %q: want a qualified rate without a note", seed, c.Qualified, c.Note)
				}
			}
		})
	}
}

// A budget of loss that is soon spent ends the search at once, with a lower bound
// that held, and a word about it.
func TestClimbSpendsItsBudgetOnce(t *testing.T) {
	for _, budget := range []time.Duration{leastLossy, 400 * time.Millisecond, 600 * time.Millisecond} {
		for seed := range uint64(4) {
			p := through(func(uint64) device { return newPolicer(350e6, 64<<10) })(seed)
			c := climb(t, p, Options{Lossy: budget})
			if spent := c.LossyTime(); spent > budget || spent == 0 {
				t.Errorf("%v of loss, want some, and at most %v", spent, budget)
			}
			if c.Qualified || !strings.Contains(c.Note, "ended early") {
				t.Errorf("with %v: qualified %v, note %q: want neither silence nor a qualified rate", budget, c.Qualified, c.Note)
			}
			if got := c.OuterBitsPerSecond(); got < 0.9*350e6 || got > 350e6 {
				t.Errorf("with %v: %.4g bit/s, want a lower bound of 350 Mbps that is near it", budget, got)
			}
		}
	}
}

func TestClimbEndsWithoutLoss(t *testing.T) {
	for _, tc := range []struct {
		name      string
		path      path
		options   Options
		inner     float64
		generator bool
	}{
		{"at the highest load", path{device: clear{}, train: 1}, Options{MaxInnerBitsPerSecond: 200e6}, 200e6, false},
		{"at its only load", path{device: clear{}, train: 1}, Options{MinInnerBitsPerSecond: 20e6, MaxInnerBitsPerSecond: 20e6}, 20e6, false},
		{"at the generator's limit", path{device: clear{}, top: 150e6, train: 1}, Options{}, 150e6, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := climb(t, &tc.path, tc.options)
			near(t, "inner rate", c.InnerBitsPerSecond, tc.inner, 0.02)
			if c.InnerUpperBitsPerSecond != 0 || !c.Qualified || c.LossyTime() != 0 || c.GeneratorLimited != tc.generator {
				t.Errorf("upper %g, qualified %v, lossy %v, generator limited %v", c.InnerUpperBitsPerSecond, c.Qualified, c.LossyTime(), c.GeneratorLimited)
			}
		})
	}
}

func TestClimbOnDeadPath(t *testing.T) {
	c := climb(t, &path{device: newPolicer(1, 0), train: 1}, Options{})
	if c.InnerBitsPerSecond != 0 || c.Qualified || len(c.Steps) > mostAttempts {
		t.Errorf("%g bit/s, qualified %v after %d trials: want nothing, soon", c.InnerBitsPerSecond, c.Qualified, len(c.Steps))
	}
}

// What a climb finds is a ceiling only where somebody says that the path is idle.
func TestMeaning(t *testing.T) {
	for _, tc := range []struct {
		options Options
		want    analysis.Meaning
	}{
		{Options{}, analysis.TrueCeiling},
		{Options{Manner: analysis.Climb}, analysis.Available},
		{Options{Manner: analysis.Climb, Idle: true}, analysis.TrueCeiling},
	} {
		tc.options.MaxInnerBitsPerSecond = 2e6
		c, err := Find(t.Context(), (&path{device: clear{}, train: 1}).run, tc.options)
		if err != nil || c.Meaning != tc.want {
			t.Errorf("%+v: meaning %q, %v, want %q", tc.options, c.Meaning, err, tc.want)
		}
	}
}

// A search in the manner of overload keeps within its forecast, too.
func TestPlanOfOverload(t *testing.T) {
	for _, d := range []func() device{
		func() device { return newPolicer(350e6, 64<<10) },
		func() device { return newRetrograde(350e6, 0.5) },
		func() device { return &shaper{rate: 40e6, queue: 500e3} },
		func() device { return newNoisy(350e6, 7) },
		func() device { return clear{} },
	} {
		o := Options{MaxInnerBitsPerSecond: 1e9}
		forecast, err := Plan(o)
		if err != nil {
			t.Fatal(err)
		}
		checkForecast(t, find(t, &path{device: d(), jitter: 20e-6}, o), forecast)
	}
}

func TestPlan(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
		want Forecast
	}{
		{"climb", Options{Manner: analysis.Climb, MinInnerBitsPerSecond: 1e6, MaxInnerBitsPerSecond: 1.21e6, Traffic: 5 * time.Second}, Forecast{
			Manner: analysis.Climb, FirstInnerBitsPerSecond: 1e6, MostOverClean: 1.1, MostInnerBitsPerSecond: 1.21e6,
			MostInnerBytes: math.Ceil((0.2*1e6 + 0.2*1.1e6 + 4.6*1.21e6) / 8),
			MostTraffic:    5 * time.Second, MostTrials: 26, MostLossy: 2 * time.Second,
		}},
		{"overload", Options{MaxInnerBitsPerSecond: 1e9}, Forecast{
			Manner: analysis.Overload, FirstInnerBitsPerSecond: 10e6, MostInnerBitsPerSecond: 1e9, MostInnerBytes: 25e9 / 8,
			MostTraffic: 25 * time.Second, MostTrials: 126 + 37, MostLossy: 25 * time.Second,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Plan(tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
				t.Errorf("forecast (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := Plan(Options{Manner: "sideways"}); err == nil {
		t.Error("no error about an unknown manner")
	}
}

// climb searches a shared path, and holds the search against its promises: no load
// above 1.1 times the highest clean one, no more loss than allowed, and nothing that
// was not forecast.
func climb(t *testing.T, p *path, o Options) analysis.Ceiling {
	t.Helper()
	o.Manner = analysis.Climb
	forecast, err := Plan(o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Find(t.Context(), p.run, o)
	if err != nil {
		t.Fatal(err)
	}
	if !c.IsAvailable() || c.Plateau != nil || c.Bucket != nil {
		t.Errorf("meaning %q, plateau %v, bucket %v: want what was available, and no overload read", c.Meaning, c.Plateau, c.Bucket)
	}
	checkSteps(t, c)
	checkForecast(t, c, forecast)
	return c
}

func checkSteps(t *testing.T, c analysis.Ceiling) {
	t.Helper()
	clean := 0.0
	for i, s := range c.Steps {
		asked := s.Trial.Load.InnerBitsPerSecond
		if i > 0 && asked > 1.1*clean*(1+1e-9) && asked > c.Steps[0].Trial.Load.InnerBitsPerSecond {
			t.Errorf("trial %d asks for %.5g where %.5g was clean, want at most 1.1 times that", i, asked, clean)
		}
		if !s.Trial.Lossy(c.LossGoal) {
			clean = max(clean, s.Trial.InnerSentBitsPerSecond())
		}
	}
}

func checkForecast(t *testing.T, c analysis.Ceiling, f Forecast) {
	t.Helper()
	var most, bytes float64
	var lossy, traffic time.Duration
	for _, s := range c.Steps {
		most = max(most, s.Trial.Load.InnerBitsPerSecond)
		bytes += float64(s.Trial.Sent) * float64(s.Trial.InnerSize)
		traffic += s.Trial.Elapsed
		if s.Trial.Lossy(c.LossGoal) {
			lossy += s.Trial.Elapsed
		}
	}
	if most > f.MostInnerBitsPerSecond || bytes > f.MostInnerBytes || traffic > f.MostTraffic || len(c.Steps) > f.MostTrials || lossy > f.MostLossy {
		t.Errorf("%.4g bit/s, %.4g bytes, %v in %d trials, %v lossy: forecast was at most %+v", most, bytes, traffic, len(c.Steps), lossy, f)
	}
}

// FuzzClimb holds the promises on any policer that production shares.
func FuzzClimb(f *testing.F) {
	f.Add(uint64(1), 350e6, 65536.0, 0.5, 1e-4, uint64(2e9))
	f.Add(uint64(2), 3e6, 20000.0, 0.0, 0.0, uint64(3e8))
	f.Fuzz(func(t *testing.T, seed uint64, rate, bucket, busy, loss float64, budget uint64) {
		if !(rate >= 2e6 && rate <= 500e6) || !(bucket >= 2*outerSize && bucket <= 1e6) || !(busy >= 0 && busy <= 0.95) || !(loss >= 0 && loss <= 0.01) {
			return
		}
		var d device = newPolicer(rate, bucket)
		if busy > 0.01 {
			d = newBeside(d, busy*rate)
		}
		p := &path{device: d, seed: seed, train: 1, jitter: 20e-6, loss: loss}
		climb(t, p, Options{MaxInnerBitsPerSecond: 1e9, Lossy: leastLossy + time.Duration(budget%5e9)})
	})
}
