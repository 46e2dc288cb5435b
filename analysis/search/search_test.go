package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"tunnelmark/analysis"
)

func find(t *testing.T, p *path, o Options) analysis.Ceiling {
	t.Helper()
	c, err := Find(t.Context(), p.run, o)
	if err != nil {
		t.Fatal(err)
	}
	if limit := max(o.Traffic, 25*time.Second); p.sent > limit {
		t.Errorf("sent %v of traffic, want at most %v", p.sent, limit)
	}
	if c.TrafficTime() != p.sent {
		t.Errorf("the steps hold %v of traffic, want %v", c.TrafficTime(), p.sent)
	}
	return c
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got/want-1) > tolerance {
		t.Errorf("%s is %.4g, want %.4g within %g %%", what, got, want, 100*tolerance)
	}
}

// surrounds asserts that the truth is inside the interval, or that the note says
// why not; the loss goal lets a load exceed a ceiling by as much.
func surrounds(t *testing.T, c analysis.Ceiling, outer float64) {
	t.Helper()
	lower, upper := c.OuterLowerBitsPerSecond(), c.OuterUpperBitsPerSecond()
	slack := 1.5*c.LossGoal + 0.002
	if lower > outer*(1+slack) || upper < outer*(1-slack) && c.Note == "" {
		t.Errorf("interval %.4g to %.4g does not hold the truth %.4g", lower, upper, outer)
	}
}

// TestPolicer is the yardstick: MLRsearch with CSIT's goals needs 25 s of
// traffic for a 64 KiB bucket and overstates a 625 kB one by 1.1 to 1.4 %.
func TestPolicer(t *testing.T) {
	hosts := map[string]path{
		"quiet host":  {},
		"stalls":      {jitter: 50e-6, stalls: 10, naps: 2},
		"long trains": {jitter: 20e-6, train: 8},
	}
	for _, rate := range []float64{40e6, 90e6, 350e6, 700e6} {
		for _, bucket := range []float64{16 << 10, 64 << 10, 256 << 10, 625e3} {
			for host, like := range hosts {
				name := fmt.Sprintf("%g Mbps, %g KiB, %s", rate/1e6, bucket/1024, host)
				t.Run(name, func(t *testing.T) {
					for seed := range uint64(2) {
						p := like
						p.device, p.seed = newPolicer(rate, bucket), seed
						c := find(t, &p, Options{})
						near(t, "outer rate", c.OuterBitsPerSecond(), rate, 0.003)
						surrounds(t, c, rate)
						if !c.Flat || c.Bucket == nil {
							t.Fatalf("flat %v, bucket %v: want a flat limit with a bucket", c.Flat, c.Bucket)
						}
						if bucket >= 64<<10 && rate <= 350e6 {
							near(t, "bucket", c.Bucket.OuterBytes, bucket, 0.15)
						}
						if host == "quiet host" && (!c.Qualified || c.Note != "") {
							t.Errorf("qualified %v, note %q: want a qualified ceiling without a note", c.Qualified, c.Note)
						}
					}
				})
			}
		}
	}
}

// TestTrafficBeatsMLRsearch holds the search against methodology's figures for
// one 350 Mbps policer: 25 s for NDR and PDR, 19 s for PDR alone.
func TestTrafficBeatsMLRsearch(t *testing.T) {
	var total time.Duration
	const seeds = 8
	for seed := range uint64(seeds) {
		p := path{device: newPolicer(350e6, 64<<10), seed: seed, jitter: 20e-6}
		c := find(t, &p, Options{})
		if !c.Qualified || c.InnerUpperBitsPerSecond/c.InnerLowerBitsPerSecond-1 > 0.0055 {
			t.Errorf("seed %d: qualified %v, interval %.5g to %.5g: want one of 0.5 %%", seed, c.Qualified, c.InnerLowerBitsPerSecond, c.InnerUpperBitsPerSecond)
		}
		total += p.sent
	}
	if mean := total / seeds; mean > 15*time.Second {
		t.Errorf("mean traffic %v, want at most 15 s", mean)
	}
}

func TestRandomLoss(t *testing.T) {
	for _, loss := range []float64{1e-5, 1e-4, 1e-3} {
		t.Run(fmt.Sprint(loss), func(t *testing.T) {
			for seed := range uint64(4) {
				p := path{device: newPolicer(350e6, 64<<10), seed: seed, loss: loss, jitter: 20e-6}
				c := find(t, &p, Options{})
				near(t, "outer rate", c.OuterBitsPerSecond(), 350e6, 0.004)
				surrounds(t, c, 350e6)
				if !c.Qualified {
					t.Errorf("seed %d: not qualified, loss goal %g", seed, c.LossGoal)
				}
			}
		})
	}
}

func TestRetrogradeOverload(t *testing.T) {
	for _, fall := range []float64{0.1, 0.5, 2} {
		t.Run(fmt.Sprint(fall), func(t *testing.T) {
			p := path{device: newRetrograde(350e6, fall), seed: 1, jitter: 20e-6}
			c := find(t, &p, Options{})
			near(t, "outer rate", c.OuterBitsPerSecond(), 350e6, 0.01)
			if c.Flat {
				t.Error("a device that slows down was taken for a flat limit")
			}
		})
	}
}

func TestNoisyCPU(t *testing.T) {
	for seed := range uint64(8) {
		p := path{device: newNoisy(350e6, seed), seed: seed, jitter: 20e-6}
		c := find(t, &p, Options{})
		near(t, "outer rate", c.OuterBitsPerSecond(), 350e6, 0.04)
	}
}

func TestShaper(t *testing.T) {
	for _, queue := range []float64{50e3, 500e3} {
		p := path{device: &shaper{rate: 350e6, queue: queue}, seed: 1, jitter: 20e-6}
		c := find(t, &p, Options{})
		near(t, "outer rate", c.OuterBitsPerSecond(), 350e6, 0.003)
		surrounds(t, c, 350e6)
	}
}

func TestGeneratorIsTheLimit(t *testing.T) {
	p := path{device: clear{}, top: 2e9}
	c := find(t, &p, Options{})
	if !c.GeneratorLimited || !c.Qualified || c.InnerUpperBitsPerSecond != 0 {
		t.Errorf("generator limited %v, qualified %v, upper %g: want a qualified lower bound alone", c.GeneratorLimited, c.Qualified, c.InnerUpperBitsPerSecond)
	}
	near(t, "inner rate", c.InnerBitsPerSecond, 2e9, 0.03)
}

func TestHighestLoadMeetsTheGoal(t *testing.T) {
	p := path{device: clear{}}
	c := find(t, &p, Options{MaxInnerBitsPerSecond: 500e6})
	if c.GeneratorLimited || c.InnerUpperBitsPerSecond != 0 {
		t.Errorf("generator limited %v, upper %g: want neither", c.GeneratorLimited, c.InnerUpperBitsPerSecond)
	}
	near(t, "inner rate", c.InnerBitsPerSecond, 500e6, 0.002)
}

// Once a bucket is known to be small, loads come in bursts that it holds.
func TestSmallBucketGetsSmallBursts(t *testing.T) {
	for bucket, want := range map[float64]int{3 * outerSize: 1, 10 * outerSize: 2, 100 * outerSize: 0} {
		p := &path{device: newPolicer(50e6, bucket), seed: 1, train: 2}
		c, err := Find(t.Context(), p.run, Options{})
		if err != nil {
			t.Fatal(err)
		}
		last := c.Steps[len(c.Steps)-1]
		if last.Purpose != analysis.Qualify || last.Trial.Load.Burst != want {
			t.Errorf("bucket of %g B: %s in bursts of %d, want the qualification in those of %d", bucket, last.Purpose, last.Trial.Load.Burst, want)
		}
	}
}

// A host that keeps the sender off the CPU for a tenth of the time spoils every
// trial of a short search, and still what passes under overload is told.
func TestBusyHostStillTells(t *testing.T) {
	const rate = 50e6
	for seed := range uint64(20) {
		p := &path{device: newPolicer(rate, 64<<10), seed: seed, naps: 30, jitter: 1e-4}
		c, err := Find(t.Context(), p.run, Options{Traffic: 8 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if want := rate * innerSize / outerSize; c.Plateau == nil || math.Abs(c.Plateau.InnerBitsPerSecond/want-1) > 0.03 {
			t.Errorf("seed %d: plateau %+v, want one within 3 %% of %g bit/s inner; %s", seed, c.Plateau, want, c.Note)
		}
	}
}

func TestDeadPath(t *testing.T) {
	p := path{device: newPolicer(1, 0)}
	c := find(t, &p, Options{})
	if c.InnerLowerBitsPerSecond != 0 || c.Qualified {
		t.Errorf("lower bound %g, qualified %v: want none on a path that passes nothing", c.InnerLowerBitsPerSecond, c.Qualified)
	}
}

func TestTrafficBudgetIsHard(t *testing.T) {
	for _, traffic := range []time.Duration{5 * time.Second, 8 * time.Second, 12 * time.Second} {
		p := path{device: newPolicer(350e6, 64<<10), jitter: 50e-6, stalls: 10}
		if _, err := Find(t.Context(), p.run, Options{Traffic: traffic}); err != nil {
			t.Fatal(err)
		}
		if p.sent > traffic {
			t.Errorf("sent %v, want at most %v", p.sent, traffic)
		}
	}
}

func TestErrorKeepsWhatWasFound(t *testing.T) {
	broken := errors.New("peer went away")
	for _, tc := range []struct {
		name string
		end  func(cancel context.CancelFunc) error
		want error
	}{
		{"canceled", func(cancel context.CancelFunc) error { cancel(); return nil }, context.Canceled},
		{"trial fails", func(context.CancelFunc) error { return broken }, broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, trials := path{device: newPolicer(350e6, 64<<10)}, 0
			c, err := Find(ctx, func(ctx context.Context, l analysis.Load) (analysis.Trial, error) {
				if trials++; trials == 6 {
					if err := tc.end(cancel); err != nil {
						return analysis.Trial{}, err
					}
				}
				return p.run(ctx, l)
			}, Options{})
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if len(c.Steps) < 5 || trials > 6 {
				t.Errorf("%d steps after %d trials, want those before the error", len(c.Steps), trials)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"unknown manner":    {Manner: "sideways"},
		"loss goal over 1":  {LossGoal: 1.5},
		"loss goal NaN":     {LossGoal: math.NaN()},
		"negative width":    {Width: -0.1},
		"least above most":  {MinInnerBitsPerSecond: 2e9, MaxInnerBitsPerSecond: 1e9},
		"no time to search": {Traffic: time.Millisecond},
		"steep climb":       {Manner: analysis.Climb, Overload: 5},
	} {
		t.Run(name, func(t *testing.T) {
			p := path{device: clear{}}
			if _, err := Find(t.Context(), p.run, o); err == nil || p.sent > 0 {
				t.Errorf("error %v after %v of traffic, want an error before any", err, p.sent)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	before, after := 0, 0
	p := path{device: newPolicer(350e6, 64<<10)}
	c := find(t, &p, Options{Progress: func(at Progress) {
		if at.Trial == nil {
			before++
		} else {
			after++
		}
	}})
	if before != len(c.Steps) || after != len(c.Steps) {
		t.Errorf("told of %d begins and %d ends, want %d of each", before, after, len(c.Steps))
	}
}

func FuzzInterval(f *testing.F) {
	f.Add(uint64(1), 350e6, 65536.0, 0.0, 4)
	f.Add(uint64(2), 12e6, 9000.0, 1e-4, 1)
	f.Fuzz(func(t *testing.T, seed uint64, rate, bucket, loss float64, train int) {
		if !(rate >= 5e6 && rate <= 1e9) || !(bucket >= 12*outerSize && bucket <= min(1e6, rate/8/2)) || !(loss >= 0 && loss <= 1e-3) || train < 1 || train > 4 {
			return
		}
		p := path{device: newPolicer(rate, bucket), seed: seed, loss: loss, train: train, jitter: 20e-6}
		c := find(t, &p, Options{})
		surrounds(t, c, rate)
		near(t, "outer rate", c.OuterBitsPerSecond(), rate, 0.01)
	})
}

// A reading whose windows differ much is of a stalled host: it must not hide that
// the others agree.
func TestUnsteadyReadingsStandBack(t *testing.T) {
	f := finder{found: analysis.Ceiling{Overloads: []analysis.Plateau{
		{InnerBitsPerSecond: 334.75e6, Spread: 0.0095, Windows: 35},
		{InnerBitsPerSecond: 334.29e6, Spread: 0.012, Windows: 35},
		{InnerBitsPerSecond: 283.16e6, Spread: 0.333, Windows: 44},
	}}}
	f.sumUp()
	if !f.flat() {
		t.Error("the limit is not flat, want it flat: the two steady readings agree")
	}
	near(t, "plateau", f.estimate, 334.52e6, 0.001)
}

// An overload of which the host took a part of the sender's time is still one, at
// the rate that was sent while the sender ran: without it a flat limit has no upper
// bound on a busy host.
func TestInterruptedOverloadIsABound(t *testing.T) {
	const size, plateau = 1400, 100e6
	trial := analysis.Trial{
		Load:      analysis.Load{InnerBitsPerSecond: 1.3 * plateau, Duration: time.Second},
		InnerSize: size, Sent: uint64(1.3 * plateau * 0.7 / 8 / size),
		Elapsed: time.Second, Skipped: 300 * time.Millisecond,
	}
	trial.Received = uint64(plateau * 0.7 / 8 / size)
	for name, c := range map[string]struct {
		reading reading
		want    float64 // Upper bound; zero for none.
	}{
		"overloaded":      {reading{inner: plateau, used: 30, seen: 35}, 1.3 * plateau},
		"all passed":      {reading{inner: 1.29 * plateau, used: 30, seen: 35}, 0},
		"too few windows": {reading{inner: plateau, used: 2, seen: 35}, 0},
	} {
		f := finder{}
		f.keepPlateau(trial, c.reading)
		if got := f.bounds.upper(); c.want == 0 && got != 0 || c.want != 0 && (got < 0.99*c.want || got > 1.01*c.want) {
			t.Errorf("%s: upper bound %.1f Mbit/s, want %.1f", name, got/1e6, c.want/1e6)
		}
	}
}
