package controller

import (
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/kind"
)

func TestChooseManner(t *testing.T) {
	existing := Spec{Driver: kind.Existing}
	for _, tc := range []struct {
		name    string
		spec    Spec
		options search.Options
		want    analysis.Manner // Empty: refused.
	}{
		{"a tunnel of our own", DefaultSpec(), search.Options{}, analysis.Overload},
		{"production on our own path", DefaultSpec(), search.Options{Manner: analysis.Climb}, analysis.Climb},
		{"an existing tunnel", existing, search.Options{}, analysis.Climb},
		{"an existing tunnel that is idle", existing, search.Options{Idle: true}, analysis.Climb},
		{"an idle one to be overloaded", existing, search.Options{Idle: true, Manner: analysis.Overload}, analysis.Overload},
		{"an existing one to be overloaded", existing, search.Options{Manner: analysis.Overload}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ChooseManner(tc.spec, tc.options)
			if tc.want == "" {
				if err == nil || !strings.Contains(err.Error(), "production") {
					t.Errorf("error %v, want one that names production", err)
				}
				return
			}
			if err != nil || got.Manner != tc.want {
				t.Errorf("manner %q, %v, want %q", got.Manner, err, tc.want)
			}
		})
	}
}

// An overload of an existing tunnel is refused before an agent is asked anything.
func TestFindRefusesToOverloadOthers(t *testing.T) {
	from, to, a, b := newFakeEnds(t)
	plan := FindPlan{Plan: planBetween(from, to), Size: 1400, Search: search.Options{Manner: analysis.Overload}}
	plan.Spec = Spec{Driver: kind.Existing}
	if _, err := Find(t.Context(), plan); err == nil || len(a.calls)+len(b.calls) > 0 {
		t.Errorf("error %v after the calls %v and %v, want an error before any", err, a.calls, b.calls)
	}
}

// A climb finds what is available, when, and does not measure the path beside the
// tunnel.
func TestFindByClimb(t *testing.T) {
	t.Parallel() // It waits for real time.
	from, to, a, _ := newFakeEnds(t)
	result, err := Find(t.Context(), FindPlan{
		Plan: planBetween(from, to), Size: 1400, Baseline: true,
		Search: search.Options{Manner: analysis.Climb, MinInnerBitsPerSecond: 60e6},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := result.Ceiling
	if got := c.InnerBitsPerSecond; got < 97e6 || got > 100e6 || !c.Qualified {
		t.Errorf("%v bit/s inner, qualified %v, want 100 Mbit/s or a little less", got, c.Qualified)
	}
	if !c.IsAvailable() || c.At.Before(result.Started) || c.At.After(time.Now()) || result.Verdict.Cause != analysis.Unknown {
		t.Errorf("meaning %q at %v, cause %q: want what was available, now", c.Meaning, c.At, result.Verdict.Cause)
	}
	if result.Baseline != nil {
		t.Error("the path without the tunnel was loaded, too")
	}
	for _, load := range a.path.loads {
		if load.GetInnerBitsPerSecond() > 1.1*100e6 {
			t.Errorf("asked for %v bit/s", load.GetInnerBitsPerSecond())
		}
	}
}

func TestForecast(t *testing.T) {
	from, to, a, b := newFakeEnds(t)
	plan := FindPlan{Plan: planBetween(from, to), Size: 1400, Baseline: true}
	forecast, err := plan.Forecast(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := forecast.Tunnel.MostInnerBitsPerSecond; got != 1e9 {
		t.Errorf("at most %v bit/s, want what both agents allow", got)
	}
	if forecast.Baseline == nil || forecast.Baseline.MostTraffic != baselineTraffic {
		t.Errorf("baseline %+v, want one of %v", forecast.Baseline, baselineTraffic)
	}
	for _, agent := range []*fakeAgent{a, b} {
		if len(agent.calls) != 1 || agent.calls[0] != "describe" {
			t.Errorf("%s was called for %v, want its limits alone", agent.name, agent.calls)
		}
	}
	plan.Search = search.Options{Manner: analysis.Climb, MaxInnerBitsPerSecond: 2e6}
	if forecast, err = plan.Forecast(t.Context()); err != nil || forecast.Baseline != nil || len(a.calls) != 1 {
		t.Errorf("%v, baseline %v, calls %v: want a forecast of a climb, without a question", err, forecast.Baseline, a.calls)
	}
}
