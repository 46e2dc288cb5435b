package capacity

import (
	"math"
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
)

// asked is a question that can be answered: three months of demand, today's tunnel at 350 Mbit/s
// outer.
func asked() Question {
	return Question{
		Demand:   ramp(90, 214e6, 250e6),
		Measured: []Measured{{Name: "a.json", From: "a", To: "b", Setup: usual, Ceiling: ceiling(1400, 334.7e6), Latency: true}},
	}
}

var usual = Setup{Driver: "esp", Suite: "aes-128-gcm", Encapsulation: "udp", Tunnels: 1, InnerMTU: 1436}

// ceiling is one that a search found, within 0.5 %.
func ceiling(innerSize int, innerBitsPerSecond float64) *analysis.Ceiling {
	return &analysis.Ceiling{
		InnerBitsPerSecond: innerBitsPerSecond, InnerLowerBitsPerSecond: 0.998 * innerBitsPerSecond, InnerUpperBitsPerSecond: 1.003 * innerBitsPerSecond,
		InnerSize: innerSize, OuterSize: innerSize + 64, Qualified: true,
	}
}

// ramp is demand that grows in a straight line, each working hour of it alike, until
// the start of June 2015.
func ramp(days int, first, last float64) analysis.Demand {
	end := time.Date(2015, 6, 1, 0, 0, 0, 0, time.UTC)
	d := analysis.Demand{Layer: analysis.OuterLayer, Start: end.AddDate(0, 0, -days), Step: time.Hour, Spacing: time.Hour}
	for day := range days {
		level := first + (last-first)*float64(day)/float64(days-1)
		for hour := range 24 {
			rate := level / 3
			if hour >= 8 && hour < 18 {
				rate = level * (1 + 0.02*math.Sin(float64(7*day+hour))) // A little noise, the same each time.
			}
			d.BitsPerSecond = append(d.BitsPerSecond, rate)
		}
	}
	return d
}

func TestQuestionRefused(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct {
		name   string
		change func(*Question)
		want   string
	}{
		{"no measurement", func(q *Question) { q.Measured = nil }, "tunnelmark find"},
		{"fixed loads first", func(q *Question) { q.Measured[0].Ceiling = nil }, "a.json: holds no ceiling"},
		{"no direction", func(q *Question) { q.Measured[0].To = "a" }, "no direction"},
		{"no load passed", func(q *Question) { q.Measured[0].Ceiling.InnerBitsPerSecond = 0 }, "measure again"},
		{"ceiling NaN", func(q *Question) { q.Measured[0].Ceiling.InnerBitsPerSecond = nan }, "want a rate"},
		{"ceiling infinite", func(q *Question) { q.Measured[0].Ceiling.InnerUpperBitsPerSecond = inf }, "want a rate"},
		{"ceiling negative", func(q *Question) { q.Measured[0].Ceiling.InnerLowerBitsPerSecond = -1 }, "want a rate"},
		{"no inner size", func(q *Question) { q.Measured[0].Ceiling.InnerSize = 0 }, "none of IP"},
		{"outer below inner", func(q *Question) { q.Measured[0].Ceiling.OuterSize = 1399 }, "none of IP"},
		{"both ways NaN", func(q *Question) { q.Measured[0].BothWaysInnerBitsPerSecond = nan }, "both directions"},
		{"no layer", func(q *Question) { q.Demand.Layer = "" }, "--demand-layer"},
		{"layers differ", func(q *Question) { d := q.Demand; d.Layer = analysis.InnerLayer; q.Reverse = &d }, "--demand-layer"},
		{"reverse is empty", func(q *Question) { d := q.Demand; d.BitsPerSecond = nil; q.Reverse = &d }, "reverse demand"},
		{"no demand", func(q *Question) { q.Demand.BitsPerSecond = nil }, "empty"},
		{"demand of zeros", func(q *Question) { q.Demand.BitsPerSecond = make([]float64, 9) }, "empty"},
		{"demand NaN", func(q *Question) { q.Demand.BitsPerSecond = []float64{nan} }, "empty"},
		{"demand infinite", func(q *Question) { q.Demand.BitsPerSecond[7] = inf }, "--scale"},
		{"demand negative", func(q *Question) { q.Demand.BitsPerSecond[7] = -1 }, "--scale"},
		{"no step", func(q *Question) { q.Demand.Step = 0 }, "sample"},
		{"step of a week", func(q *Question) { q.Demand.Step = 7 * 24 * time.Hour }, "sample"},
		{"year 9999", func(q *Question) { q.Demand.Start = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }, "years"},
		{"packets of other bins", func(q *Question) { q.Demand.PacketsPerSecond = []float64{1} }, "internal error"},
		{"before the demand", func(q *Question) { q.At = q.Demand.Start.AddDate(0, 0, -1) }, "--at"},
		{"long after the demand", func(q *Question) { q.At = q.Demand.End().AddDate(6, 0, 0) }, "--at"},
		{"65 links", func(q *Question) { q.Links = 65 }, "--links"},
		{"-1 links", func(q *Question) { q.Links = -1 }, "--links"},
		{"lead time of 6 years", func(q *Question) { q.LeadTime = 6 * 365 * 24 * time.Hour }, "--lead-time"},
		{"negative lead time", func(q *Question) { q.LeadTime = -1 }, "--lead-time"},
		{"share of 0", func(q *Question) { q.Shares = []float64{0} }, "--share"},
		{"share of 1.1", func(q *Question) { q.Shares = []float64{1.1} }, "--share"},
		{"share NaN", func(q *Question) { q.Shares = []float64{nan} }, "--share"},
		{"17 shares", func(q *Question) { q.Shares = make([]float64, 17) }, "--share"},
		{"directions", func(q *Question) { q.Directions = "both" }, "--directions"},
		{"overhead", func(q *Question) { q.Overhead = -1 }, "--overhead"},
		{"overhead not known", func(q *Question) { q.Measured[0].Ceiling.OuterSize = 0 }, "--overhead"},
		{"data sheet NaN", func(q *Question) { q.Datasheet = &Claim{BitsPerSecond: nan, Layer: analysis.InnerLayer} }, "--datasheet"},
		{"data sheet without layer", func(q *Question) { q.Datasheet = &Claim{BitsPerSecond: 1e9} }, "--datasheet: layer"},
		{"option of nothing", func(q *Question) { q.Candidates = []Candidate{{Name: "x"}} }, "--option x: want"},
		{"option without name", func(q *Question) { q.Candidates = []Candidate{{Claim: outer(1e9)}} }, "--option"},
		{"option infinite", func(q *Question) { q.Candidates = []Candidate{{Name: "x", Claim: outer(inf)}} }, "--option x"},
		{"option size", func(q *Question) {
			q.Candidates = []Candidate{{Name: "x", Claim: &Claim{BitsPerSecond: 1e9, Layer: analysis.OuterLayer, InnerSize: 7}}}
		}, "--option x: size"},
		{"option of fixed loads", func(q *Question) { q.Candidates = []Candidate{{Name: "x", Measured: []Measured{{Name: "b.json"}}}} }, "b.json holds no ceiling"},
		{"price NaN", func(q *Question) {
			q.Candidates = []Candidate{{Name: "x", Claim: outer(1e9), Price: &analysis.Price{Once: nan}}}
		}, "--option x: a price"},
		{"two currencies", func(q *Question) {
			q.Candidates = []Candidate{
				{Name: "x", Claim: outer(1e9), Price: &analysis.Price{Currency: "USD"}},
				{Name: "y", Claim: outer(1e9), Price: &analysis.Price{Currency: "EUR"}},
			}
		}, "--option y: its price is in EUR"},
		{"101 options", func(q *Question) { q.Candidates = make([]Candidate, 101) }, "--option"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := asked()
			tt.change(&q)
			if _, err := Make(q); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// outer is a claim in the outer layer.
func outer(bitsPerSecond float64) *Claim {
	return &Claim{BitsPerSecond: bitsPerSecond, Layer: analysis.OuterLayer, InnerSize: 1400, Source: "datasheet"}
}

func TestClaimsInUnknownLayers(t *testing.T) {
	q := asked()
	q.Demand.Layer = analysis.InnerLayer
	q.Measured[0].Ceiling.OuterSize = 0
	if _, err := Make(q); err != nil {
		t.Fatalf("inner demand needs no overhead: got %v", err)
	}
	q.Candidates = []Candidate{{Name: "box", Claim: outer(1e9)}}
	if _, err := Make(q); err == nil || !strings.Contains(err.Error(), "--option box in layer outer") {
		t.Errorf("outer claim: got error %v, want one about --overhead", err)
	}
	q.Candidates, q.Datasheet = nil, outer(1e9)
	if _, err := Make(q); err == nil || !strings.Contains(err.Error(), "--overhead") {
		t.Errorf("outer data sheet: got error %v, want one about --overhead", err)
	}
	q.Overhead = 64
	if _, err := Make(q); err != nil {
		t.Errorf("with --overhead: got %v", err)
	}
}
