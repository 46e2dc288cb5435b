package cause

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	innerSize, outerSize = 1400, 1464
	rate                 = 335e6 // Of the policer, inner bit/s.
)

// offered is one second of a load of which a share was lost.
func offered(inner, loss float64, delay time.Duration) analysis.Trial {
	sent := inner / 8 / innerSize
	t := analysis.Trial{
		Load:      analysis.Load{InnerBitsPerSecond: inner, Duration: time.Second},
		InnerSize: innerSize, OuterSize: outerSize,
		Sent: uint64(sent), Received: uint64(sent * (1 - loss)), Elapsed: time.Second,
		Sender:   analysis.Host{Cores: []analysis.Core{{Idle: 0.5}, {Idle: 0.8}}},
		Receiver: analysis.Host{Cores: []analysis.Core{{Idle: 0.6}, {Idle: 0.8}}},
	}
	for i := range 50 {
		at := time.Duration(i) * 20 * time.Millisecond
		t.Windows = append(t.Windows, analysis.Window{
			Packets: t.Received / 50, Start: at, End: at + 20*time.Millisecond, MinDelay: delay,
		})
	}
	return t
}

func overload(height, passes float64) analysis.Plateau {
	return analysis.Plateau{
		InnerBitsPerSecond: passes, Spread: 0.004, Windows: 47,
		OfferedRatio: height, LossRatio: 1 - passes/(height*rate),
	}
}

// policed is what a search finds through a policer.
func policed() analysis.Ceiling {
	step := func(p analysis.Purpose, times, loss float64) analysis.Step {
		return analysis.Step{Purpose: p, Trial: offered(times*rate, loss, 50*time.Microsecond)}
	}
	return analysis.Ceiling{
		Manner: analysis.Overload, LossGoal: 0.001, Flat: true, Qualified: true,
		InnerLowerBitsPerSecond: 0.998 * rate, InnerUpperBitsPerSecond: 1.0025 * rate, InnerBitsPerSecond: rate,
		InnerSize: innerSize, OuterSize: outerSize,
		Plateau:   &analysis.Plateau{InnerBitsPerSecond: rate, Spread: 0.004, Windows: 94, OfferedRatio: 1.3},
		Overloads: []analysis.Plateau{overload(1.3, rate), overload(1.6, 1.001*rate), overload(1.45, 0.999*rate)},
		Bucket:    &analysis.Bucket{OuterBytes: 65536, Spread: 0.02, Bursts: 11},
		Steps: []analysis.Step{
			step(analysis.Plateaus, 1.3, 1-1/1.3), step(analysis.Plateaus, 1.6, 1-1/1.6), step(analysis.Plateaus, 1.45, 1-1/1.45),
			step(analysis.Confirm, 0.99, 0), step(analysis.Confirm, 1.01, 0.0095), step(analysis.Qualify, 0.998, 0),
		},
	}
}

// each changes the trials of one purpose.
func each(c analysis.Ceiling, p analysis.Purpose, change func(*analysis.Trial)) analysis.Ceiling {
	for i := range c.Steps {
		if c.Steps[i].Purpose == p {
			change(&c.Steps[i].Trial)
		}
	}
	return c
}

// generatorLimited is a path that carries all that can be offered.
func generatorLimited() analysis.Ceiling {
	short := offered(10e9, 0, 0)
	short.Sent, short.Received = short.Sent/4, short.Sent/4
	short.Sender.Cores[0].Idle = 0.01
	return analysis.Ceiling{
		Manner: analysis.Overload, LossGoal: 0.001, GeneratorLimited: true, Qualified: true,
		InnerLowerBitsPerSecond: 2.4e9, InnerBitsPerSecond: 2.4e9, InnerSize: innerSize, OuterSize: outerSize,
		Steps: []analysis.Step{
			{Purpose: analysis.Explore, Trial: short},
			{Purpose: analysis.Qualify, Trial: offered(2.4e9, 0, 0)},
		},
	}
}

// slowing is a CPU that does the less the more is asked of it.
func slowing() analysis.Ceiling {
	c := policed()
	c.Flat, c.Bucket = false, nil
	c.Overloads = []analysis.Plateau{overload(1.3, 0.9*rate), overload(1.6, 0.8*rate), overload(1.45, 0.85*rate)}
	c.Plateau = &c.Overloads[0]
	return each(c, analysis.Plateaus, func(t *analysis.Trial) { t.Received = t.Received * 85 / 100 })
}

// randomLoss is a path that loses the same share of any load.
func randomLoss() analysis.Ceiling {
	c := policed()
	c.Flat, c.Bucket = false, nil
	c.Overloads = []analysis.Plateau{overload(1.3, 1.3*0.9*rate), overload(1.6, 1.6*0.9*rate)}
	c.Plateau = &c.Overloads[0]
	return each(c, analysis.Plateaus, func(t *analysis.Trial) { t.Received = t.Sent * 9 / 10 })
}

// smallBucket loses already at 99 %, since bursts of the host overflow it.
func smallBucket() analysis.Ceiling {
	c := policed()
	c.InnerLowerBitsPerSecond, c.InnerUpperBitsPerSecond = 0.84*rate, 0.92*rate
	c.Bucket.OuterBytes = 9000
	c.Steps = append(c.Steps, analysis.Step{Purpose: analysis.Bisect, Trial: offered(0.84*rate, 0, 50*time.Microsecond)})
	return each(c, analysis.Confirm, func(t *analysis.Trial) { t.Received = t.Sent * 97 / 100 })
}

var cases = []struct {
	name    string
	ceiling analysis.Ceiling
	want    analysis.Cause
	lacks   string // The signal that must not hold; empty: all must.
}{
	{"policer", policed(), analysis.Policer, ""},
	{"small bucket", smallBucket(), analysis.Policer, "loss just below the plateau, at 99 %"},
	{"generator", generatorLimited(), analysis.Generator, ""},
	{"slows down under overload", slowing(), analysis.Unknown, ""},
	{"random loss", randomLoss(), analysis.Unknown, ""},
	{"shaper", each(policed(), analysis.Plateaus, func(t *analysis.Trial) {
		for i := range t.Windows {
			t.Windows[i].MinDelay = 11 * time.Millisecond
		}
	}), analysis.Unknown, "growth of the typical window's least delay from below the ceiling to overload"},
	{"receiver's socket drops", each(policed(), analysis.Plateaus, func(t *analysis.Trial) {
		t.SocketDrops = t.Lost() / 10
	}), analysis.Unknown, "share of the loss that the receiver's socket dropped"},
	{"tunnel's driver drops", each(policed(), analysis.Plateaus, func(t *analysis.Trial) {
		t.TunnelDrops = t.Lost()
	}), analysis.Unknown, "share of the loss that the tunnel's drivers dropped"},
	{"core is saturated", each(each(policed(), analysis.Plateaus, saturate), analysis.Confirm, saturate), analysis.Unknown,
		"use of the busiest core at either end in a load just above the ceiling"},
	{"core is saturated under heavy overload only", each(policed(), analysis.Plateaus, saturate), analysis.Policer, ""},
	{"one height of overload", oneHeight(), analysis.Unknown, "heights of overload at which the loss could be compared"},
	{"nothing was lost", analysis.Ceiling{InnerLowerBitsPerSecond: 5e8, InnerBitsPerSecond: 5e8}, analysis.Unknown, ""},
	{"nothing was found", analysis.Ceiling{}, analysis.Unknown, ""},
	{"available beside production", climbed(), analysis.Unknown, ""},
	{"climbed on an idle path", onIdlePath(climbed()), analysis.Unknown, ""},
	{"climbed until the receiver dropped", each(climbed(), analysis.Bisect, func(t *analysis.Trial) {
		t.SocketDrops = t.Lost()
	}), analysis.Unknown, "share of the loss that the receiver's socket dropped"},
	{"climbed without a loss", withoutLoss(climbed()), analysis.Unknown, ""},
	{"climbed to the limit of the generator", asClimb(generatorLimited()), analysis.Generator, ""},
	{"overload that says to be a climb", asClimb(policed()), analysis.Unknown, ""},
}

// climbed is what a climb finds through the same policer.
func climbed() analysis.Ceiling {
	step := func(p analysis.Purpose, times, loss float64) analysis.Step {
		return analysis.Step{Purpose: p, Trial: offered(times*rate, loss, 50*time.Microsecond)}
	}
	return analysis.Ceiling{
		Manner: analysis.Climb, Meaning: analysis.Available, LossGoal: 0.001, Qualified: true,
		InnerLowerBitsPerSecond: 0.99 * rate, InnerUpperBitsPerSecond: 1.01 * rate, InnerBitsPerSecond: 0.99 * rate,
		InnerSize: innerSize, OuterSize: outerSize,
		Steps: []analysis.Step{
			step(analysis.Explore, 0.89, 0), step(analysis.Explore, 0.98, 0), step(analysis.Explore, 1.07, 0.06),
			step(analysis.Bisect, 1.01, 0.009), step(analysis.Qualify, 0.99, 0),
		},
	}
}

func asClimb(c analysis.Ceiling) analysis.Ceiling {
	c.Manner, c.Meaning = analysis.Climb, analysis.Available
	return c
}

func onIdlePath(c analysis.Ceiling) analysis.Ceiling {
	c.Meaning = analysis.TrueCeiling
	return c
}

func withoutLoss(c analysis.Ceiling) analysis.Ceiling {
	c.InnerUpperBitsPerSecond, c.Steps = 0, c.Steps[:2]
	return c
}

func saturate(t *analysis.Trial) { t.Receiver.Cores[0].Idle = 0.001 }

func oneHeight() analysis.Ceiling {
	c := policed()
	c.Overloads, c.Steps = c.Overloads[:1], append(c.Steps[:1:1], c.Steps[3:]...)
	return c
}

func TestJudge(t *testing.T) {
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			v := Judge(tc.ceiling)
			if v.Cause != tc.want {
				t.Errorf("cause %q, want %q: %s", v.Cause, tc.want, v.Summary)
			}
			for _, e := range v.Evidence {
				if e.Signal == tc.lacks && e.Holds {
					t.Errorf("%q holds with %g, want it not to", e.Signal, e.Value)
				}
			}
			golden(t, tc.name, v)
		})
	}
}

func golden(t *testing.T, name string, v analysis.Verdict) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}
