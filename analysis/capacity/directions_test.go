package capacity

import (
	"math"
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
)

func TestLanes(t *testing.T) {
	reverse := ramp(90, 50e6, 60e6)
	back := Measured{From: "b", To: "a", Setup: usual, Ceiling: ceiling(1400, 300e6)}
	both := func(bitsPerSecond float64, size int) Measured {
		return Measured{From: "a", To: "b", Setup: usual, BothWaysInnerBitsPerSecond: bitsPerSecond, BothWaysInnerSize: size}
	}
	otherCipher := both(900e6, 1400)
	otherCipher.Setup.Suite = "chacha20-poly1305"
	open := back
	open.Ceiling = ceiling(1400, 300e6)
	open.Ceiling.InnerUpperBitsPerSecond = 0
	for _, tt := range []struct {
		name       string
		reverse    *analysis.Demand
		measured   []Measured // Beside a to b with 334.7 Mbit/s.
		directions Directions
		want       string // Directions, and what each one's tunnel carries, in Mbit/s.
	}{
		{"one way", nil, nil, AsMeasured, "a to b 335"},
		{"one way, apart", nil, nil, Apart, "a to b 335"},
		{"both ways", &reverse, nil, AsMeasured, "both directions together 335 shared"},
		{"the weaker direction counts", &reverse, []Measured{back}, AsMeasured, "both directions together 300 shared"},
		{"both at once carried one ceiling", &reverse, []Measured{back, both(340e6, 1400)}, AsMeasured, "both directions together 300 shared"},
		{"both at once carried 1.2 ceilings", &reverse, []Measured{back, both(1.2*334.7e6, 1400)}, AsMeasured, "both directions together 300 shared"},
		{"both at once carried two", &reverse, []Measured{back, both(600e6, 1400)}, AsMeasured, "a to b 335, b to a 300"},
		{"of a size that is not known", &reverse, []Measured{back, both(600e6, 0)}, AsMeasured, "a to b 335, b to a 300"},
		{"of smaller packets", &reverse, []Measured{back, both(600e6, 700)}, AsMeasured, "a to b 335, b to a 300"},
		{"of larger packets", &reverse, []Measured{back, both(600e6, 1436)}, AsMeasured, "both directions together 300 shared"},
		{"of another cipher", &reverse, []Measured{back, otherCipher}, AsMeasured, "both directions together 300 shared"},
		{"a ceiling that was not reached", &reverse, []Measured{open, both(600e6, 1400)}, AsMeasured, "both directions together 300 shared"},
		{"shared as the user says", &reverse, []Measured{back, both(600e6, 1400)}, Shared, "both directions together 300 shared"},
		{"apart as the user says", &reverse, []Measured{back}, Apart, "a to b 335, b to a 300"},
		{"apart, one measured", &reverse, nil, Apart, "a to b 335, b to a 335 borrowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := asked()
			q.Reverse, q.Directions = tt.reverse, tt.directions
			q.Measured = append(q.Measured, tt.measured...)
			lanes, err := q.withDefaults().lanes()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range lanes {
				words := []string{l.direction, mbit(l.tunnel.ceilings[0].InnerBitsPerSecond)}
				for word, holds := range map[string]bool{"shared": l.shared, "borrowed": l.borrowed} {
					if holds {
						words = append(words, word)
					}
				}
				got = append(got, strings.Join(words, " "))
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSum(t *testing.T) {
	nan := math.NaN()
	start := time.Date(2015, 6, 1, 0, 0, 0, 0, time.UTC)
	demand := func(after time.Duration, rates ...float64) analysis.Demand {
		return analysis.Demand{Layer: analysis.OuterLayer, Start: start.Add(after), Step: time.Hour, Spacing: 5 * time.Minute, BitsPerSecond: rates}
	}
	counted := func(d analysis.Demand) analysis.Demand {
		d.PacketsPerSecond, d.PeakBitsPerSecond = d.BitsPerSecond, d.BitsPerSecond
		return d
	}
	for _, tt := range []struct {
		name string
		a, b analysis.Demand
		from time.Duration
		want []float64
	}{
		{"same bins", demand(0, 1, 2, 3), demand(0, 10, 20, 30), 0, []float64{11, 22, 33}},
		{"gaps in either", demand(0, 1, nan, 3), demand(0, nan, 20, 30), 0, []float64{nan, nan, 33}},
		{"one begins later", demand(0, 1, 2, 3), demand(time.Hour, 20, 30, 40), time.Hour, []float64{22, 33}},
		{"the other begins later", demand(2*time.Hour, 3, 4), demand(0, 10, 20, 30), 2 * time.Hour, []float64{33}},
		{"bins that do not begin together", demand(0, 1, 2, 3), demand(50*time.Minute, 20, 30), time.Hour, []float64{22, 33}},
	} {
		got, err := sum(counted(tt.a), counted(tt.b))
		if err != nil || !got.Start.Equal(start.Add(tt.from)) || !same(got.BitsPerSecond, tt.want) || !same(got.PacketsPerSecond, tt.want) || !same(got.PeakBitsPerSecond, tt.want) {
			t.Errorf("%s: got %+v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	if got, _ := sum(counted(demand(0, 1)), demand(0, 1)); got.PacketsPerSecond != nil || got.PeakBitsPerSecond != nil {
		t.Errorf("packets of one way alone: got %+v, want none of both", got)
	}
	if _, err := sum(demand(0, 1, 2), demand(2*time.Hour, 3)); err == nil || !strings.Contains(err.Error(), "no time in common") {
		t.Errorf("one after the other: got error %v", err)
	}
	slow := demand(0, 1)
	slow.Step = 2 * time.Hour
	if _, err := sum(demand(0, 1), slow); err == nil || !strings.Contains(err.Error(), "same step") {
		t.Errorf("other step: got error %v", err)
	}
}

// same takes what is not known as equal.
func same(a, b []float64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && !(math.IsNaN(a[i]) && math.IsNaN(b[i])) {
			return false
		}
	}
	return true
}
