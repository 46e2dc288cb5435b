package capacity

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

var update = flag.Bool("update", false, "write golden files")

// story is that of the mission: a tunnel that an appliance cuts off at 350 Mbps of
// outer packets, and demand that gets there in December 2015, seen from June.
func story(t *testing.T) (q Question, truth time.Time) {
	t.Helper()
	s := synthetic{base: 204e6, growth: 0.03, days: 378, binNoise: 0.04, dayNoise: 0.04, start: time.Date(2014, 6, 2, 0, 0, 0, 0, time.UTC)}
	day := s.reached(t, 350e6)
	setup := Setup{Driver: "existing", Tunnels: 1, InnerMTU: 1400}
	measured := func(name string, outer float64, change func(*Setup)) Measured {
		changed := setup
		change(&changed)
		inner := outer * 1400 / 1466
		return Measured{Name: name, From: "dc-a", To: "dc-b", Setup: changed, Latency: true, Ceiling: &analysis.Ceiling{
			InnerBitsPerSecond: inner, InnerLowerBitsPerSecond: 0.998 * inner, InnerUpperBitsPerSecond: 1.002 * inner,
			InnerSize: 1400, OuterSize: 1466, Qualified: true, Flat: true,
		}}
	}
	second := measured("second.json", 640e6, func(s *Setup) { s.Tunnels = 2 })
	cipher := measured("gcm.json", 430e6, func(s *Setup) { s.Suite = "aes-256-gcm" })
	d := s.demand(2015)
	d.Layer = analysis.OuterLayer
	return Question{
		Demand:    d,
		Measured:  []Measured{measured("today.json", 350e6, func(*Setup) {})},
		LeadTime:  60 * 24 * time.Hour,
		Datasheet: &Claim{BitsPerSecond: 400e6, Layer: analysis.OuterLayer, InnerSize: 1400, Source: "data sheet"},
		Candidates: []Candidate{
			{Name: "other cipher", Measured: []Measured{cipher}, Price: &analysis.Price{Currency: "USD"}},
			{Name: "second tunnel", Measured: []Measured{second}, Price: &analysis.Price{Currency: "USD", Once: 1500, Monthly: 40}},
			{Name: "2 Gbps appliance", Claim: &Claim{BitsPerSecond: 2e9, Layer: analysis.OuterLayer, InnerSize: 1400, Source: "data sheet"}, Price: &analysis.Price{Currency: "USD", Once: 14000}},
		},
	}, s.start.AddDate(0, 0, int(day))
}

func TestStory(t *testing.T) {
	q, truth := story(t)
	if truth.Year() != 2015 || truth.Month() != time.December {
		t.Fatalf("the demand gets there on %s, and the story has it in December 2015", truth)
	}
	plan := mustMake(t, q)
	if year, month := plan.At.Year(), plan.At.Month(); year != 2015 || month != time.June {
		t.Errorf("asked on %s, want June 2015", plan.At)
	}
	crossings := plan.Outlooks[0].Crossings
	full := crossings[len(crossings)-1]
	if full.Earliest.After(truth) || full.Latest.Before(truth) {
		t.Errorf("full from %s to %s, in truth on %s", full.Earliest, full.Latest, truth)
	}
	var names []string
	for _, o := range plan.Options {
		names = append(names, o.Name)
	}
	if diff := cmp.Diff([]string{"2 Gbps appliance", "second tunnel", "other cipher"}, names); diff != "" {
		t.Errorf("options in their order (-want +got):\n%s", diff)
	}
	var text bytes.Buffer
	if err := report.WritePlanText(&text, report.PlanReport{Plan: plan}, report.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "Q4 2015") {
		t.Errorf("the quarter is not named")
	}
	golden(t, "testdata/story.txt", text.Bytes())
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
