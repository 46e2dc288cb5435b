package capacity

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
)

func mustMake(t *testing.T, q Question) analysis.Plan {
	t.Helper()
	p, err := Make(q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMake(t *testing.T) {
	q := asked()
	q.LeadTime = 60 * 24 * time.Hour
	q.Measured = append(q.Measured, remedy(650e6, func(s *Setup) { s.Tunnels = 2 }))
	q.Candidates = []Candidate{{Name: "2 Gbit/s box", Claim: outer(2e9), Price: &analysis.Price{Currency: "USD", Once: 4000}}}
	q.Datasheet = outer(500e6)
	p := mustMake(t, q)
	if !p.At.Equal(day0) || p.Layer != analysis.OuterLayer || p.From != "a" || p.To != "b" || p.Links != 1 || p.LeadTime != q.LeadTime {
		t.Errorf("got %v, %s, %s to %s, %d links, %v", p.At, p.Layer, p.From, p.To, p.Links, p.LeadTime)
	}
	if math.Abs(p.Derating-0.7) > 0.001 || p.SizeModel != nil || p.MeanInnerSize != 0 {
		t.Errorf("got derating %g, model %v, mean size %g, want 0.7, none, none", p.Derating, p.SizeModel, p.MeanInnerSize)
	}
	o := p.Outlooks[0]
	if len(p.Outlooks) != 1 || o.Direction != "a to b" || mbit(o.Capacity.LikelyBitsPerSecond) != "350" || o.Capacity.Shared || o.OneDown != nil {
		t.Errorf("got %d outlooks, the first %q of %+v", len(p.Outlooks), o.Direction, o.Capacity)
	}
	if o.Use < 0.68 || o.Use > 0.75 || math.Abs(o.Use*o.Capacity.LikelyBitsPerSecond-o.BusyHourBitsPerSecond) > 1 {
		t.Errorf("got a use of %.3f, want about 250 of 350", o.Use)
	}
	// 70 % of 350 Mbit/s, which is 245, was reached in May; 12.5 Mbit/s a month bring 350 in February.
	if len(o.Crossings) != 3 || o.Crossings[0].Share != 0.7 || o.Crossings[0].Likely.After(p.At) {
		t.Fatalf("got crossings %+v", o.Crossings)
	}
	full := o.Crossings[2]
	if low, high := day0.AddDate(0, 5, 0), day0.AddDate(0, 11, 0); full.Likely.Before(low) || full.Likely.After(high) || !full.OrderBy.Equal(full.Earliest.Add(-q.LeadTime)) {
		t.Errorf("got full %+v, want it between %v and %v", full, low, high)
	}
	if len(o.DoingNothing) != 3 || o.DoingNothing[0].Hours > 0 || o.DoingNothing[2].Hours < 5 || !o.DoingNothing[1].At.Equal(day0.AddDate(0, 6, 0)) {
		t.Errorf("got shortfalls %+v, want some hours in a year", o.DoingNothing)
	}
	if len(p.Options) != 2 || !slices.ContainsFunc(p.Options, func(o analysis.Option) bool { return o.Name == "2 tunnels" && o.Months > 2 && o.AtLeast }) {
		t.Errorf("got options %+v", p.Options)
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
}

func TestMakeForSeveralLinks(t *testing.T) {
	q := asked()
	q.Links, q.Shares = 2, []float64{0.4, 1}
	o := mustMake(t, q).Outlooks[0]
	if len(o.Crossings) != 2 || len(o.OneDown) != 2 || mbit(o.Capacity.LikelyBitsPerSecond) != "350" || o.Use > 0.38 {
		t.Errorf("got %d and %d crossings, capacity %+v, use %g", len(o.Crossings), len(o.OneDown), o.Capacity, o.Use)
	}
	if with, without := o.Crossings[1].Likely, o.OneDown[1].Likely; without.IsZero() || !with.IsZero() && !without.Before(with) {
		t.Errorf("got full on %v, with one down on %v, want that earlier", with, without)
	}
}

func TestTheDirectionThatIsFullFirstComesFirst(t *testing.T) {
	q := asked()
	busier := ramp(90, 250e6, 300e6)
	q.Reverse, q.Directions = &busier, Apart
	p := mustMake(t, q)
	if len(p.Outlooks) != 2 || p.Outlooks[0].Direction != "b to a" || p.Outlooks[1].Direction != "a to b" {
		t.Fatalf("got %d outlooks, the first %s", len(p.Outlooks), p.Outlooks[0].Direction)
	}
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "measured the other way") }) {
		t.Errorf("got notes %q, want one about the ceiling", p.Notes)
	}
	q.Measured = append(q.Measured, Measured{From: "b", To: "a", Setup: usual, Ceiling: ceiling(1400, 600e6)})
	if p = mustMake(t, q); p.Outlooks[0].Direction != "a to b" {
		t.Errorf("with a higher ceiling from b to a: got %s first", p.Outlooks[0].Direction)
	}
}

// Two directions of which each fits may not fit together.
func TestSharedDirectionsAreFullEarlier(t *testing.T) {
	q := asked()
	alone := mustMake(t, q).Outlooks[0]
	reverse := ramp(90, 50e6, 60e6)
	q.Reverse = &reverse
	together := mustMake(t, q)
	o := together.Outlooks[0]
	if len(together.Outlooks) != 1 || !o.Capacity.Shared || o.Use <= alone.Use || !o.Crossings[2].Likely.Before(alone.Crossings[2].Likely) {
		t.Errorf("alone full on %v, together got %+v", alone.Crossings[2].Likely, o.Crossings)
	}
}

func TestMakeForTheMeanSize(t *testing.T) {
	q := asked()
	q.Demand.PacketsPerSecond = scaled(q.Demand.BitsPerSecond, 1./8/(640+64)) // Outer.
	if p := mustMake(t, q); math.Abs(p.MeanInnerSize-640) > 0.01 || p.Outlooks[0].Capacity.InnerSize != 1400 {
		t.Errorf("without a model: got mean size %g, capacity %+v", p.MeanInnerSize, p.Outlooks[0].Capacity)
	}
	q.Measured[0].Ceiling = ceiling(1400, 1400*8*30_000)
	q.Measured = append(q.Measured, Measured{From: "a", To: "b", Setup: usual, Ceiling: ceiling(700, 700*8*30_000)})
	p := mustMake(t, q)
	c := p.Outlooks[0].Capacity
	if want := 704 * 8 * 30_000.; math.Abs(c.LikelyBitsPerSecond/want-1) > 1e-6 || math.Abs(c.InnerSize-640) > 0.01 || p.SizeModel == nil {
		t.Errorf("30,000 packets a second: got %+v, want %.0f bit/s outer", c, want)
	}
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "the size model is stretched") }) {
		t.Errorf("got notes %q, want one about 640 B being less than 700", p.Notes)
	}
}

func TestNotes(t *testing.T) {
	reverse := ramp(90, 900e6, 900e6)
	sheet := func(size int) *Claim {
		return &Claim{BitsPerSecond: 1e9, Layer: analysis.OuterLayer, InnerSize: size}
	}
	for _, tt := range []struct {
		name   string
		change func(*Question)
		want   string // After ! what must not be.
	}{
		{"data sheet", func(q *Question) { q.Datasheet = sheet(1400) }, "!data sheet"},
		{"data sheet without a size", func(q *Question) { q.Datasheet = sheet(0) }, "!data sheet"},
		{"data sheet of another size", func(q *Question) { q.Datasheet = sheet(512) }, "data sheet is for packets of 512 B, and the ceiling that is held against it for 1400 B"},
		{"data sheet that may be reached", func(q *Question) { q.Datasheet, q.Measured[0].Ceiling.InnerUpperBitsPerSecond = sheet(1400), 0 }, "may reach more of its data sheet"},
		{"full already", func(q *Question) { q.Demand = cut(ramp(120, 250e6, 380e6), 345e6) }, "Nothing is known of how the demand grows"},
		{"nothing odd", func(*Question) {}, "!The "},
		{"other units", func(q *Question) { q.Demand = ramp(90, 100e9, 250e9) }, "times what this tunnel carries: it did not pass through it; other units or --scale?"},
		{"both directions", func(q *Question) { q.Reverse = &reverse }, "--directions apart"},
		{"sum", func(q *Question) { q.Reverse = &reverse }, "the sum of their demand"},
		{"not held", func(q *Question) { q.Measured[0].Ceiling.Qualified = false }, "The ceiling from a to b (a.json) was not held"},
		{"no load passed", func(q *Question) { q.Measured[0].Ceiling.InnerLowerBitsPerSecond = 0 }, "passes under overload"},
		{"generator", func(q *Question) {
			q.Measured[0].Ceiling.GeneratorLimited, q.Measured[0].Ceiling.InnerUpperBitsPerSecond = true, 0
		}, "load generator"},
		{"no load failed", func(q *Question) { q.Measured[0].Ceiling.InnerUpperBitsPerSecond = 0 }, "was not reached"},
		{"beside production", func(q *Question) {
			q.Measured[0].Ceiling.Meaning, q.Measured[0].Ceiling.At = analysis.Available, day0
		}, "beside production at 2015-06-01T00:00:00Z: what production took then comes on top"},
		{"more than what was left", func(q *Question) {
			q.Measured[0].Ceiling.Meaning = analysis.Available
			q.Demand = ramp(90, 1e9, 2e9)
		}, "!--scale"},
		{"old demand", func(q *Question) { q.At = day0.AddDate(0, 0, 31) }, "31 days before the plan's day"},
		{"demand of last month", func(q *Question) { q.At = day0.AddDate(0, 0, 30) }, "!days before"},
		{"demand from later", func(q *Question) { q.At = day0.AddDate(0, 0, -20) }, "from after the plan's day, 2015-05-12, was left out"},
		{"no packets of IP", func(q *Question) { q.Demand.PacketsPerSecond = scaled(q.Demand.BitsPerSecond, 1) }, "would have 0 B each"},
		{"no growth in sight", func(q *Question) { q.Demand = ramp(90, 30e6, 31e6) }, "not expected to be full before 20"},
		{"too little data", func(q *Question) { q.Demand = ramp(9, 100e6, 110e6) }, "Nothing is known of how the demand grows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := asked()
			tt.change(&q)
			text, want := strings.Join(mustMake(t, q).Notes, "\n"), strings.TrimPrefix(tt.want, "!")
			if strings.Contains(text, want) == strings.HasPrefix(tt.want, "!") {
				t.Errorf("got\n%s\nwant %q", text, tt.want)
			}
		})
	}
}

// cut is demand of which so much passed, in bit/s.
func cut(d analysis.Demand, most float64) analysis.Demand {
	for i := range d.BitsPerSecond {
		d.BitsPerSecond[i] = min(d.BitsPerSecond[i], most)
	}
	return d
}

// A tunnel that cut its demand off from the first day on tells nothing of growth.
func TestNoOptionBuysTimeWithoutGrowth(t *testing.T) {
	for name, d := range map[string]analysis.Demand{"full from the first day": cut(ramp(90, 500e6, 900e6), 345e6), "few days": ramp(9, 100e6, 340e6)} {
		q := asked()
		q.Demand = d
		q.Candidates = []Candidate{{Name: "box", Claim: outer(2e9), Price: &analysis.Price{Currency: "USD", Once: 4000}}}
		p := mustMake(t, q)
		if o := p.Options[0]; o.Months != 0 || o.AtLeast || o.Price.PerMonth != 0 || p.Outlooks[0].DoingNothing != nil {
			t.Errorf("%s: got %s, doing nothing %+v", name, told(o), p.Outlooks[0].DoingNothing)
		}
		if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "Nothing is known of how the demand grows") }) {
			t.Errorf("%s: got notes %q", name, p.Notes)
		}
	}
}

// What came later teaches a plan for an earlier day nothing.
func TestDemandAfterThePlansDayIsForgotten(t *testing.T) {
	q := asked()
	q.At = day0.AddDate(0, 0, -20)
	want := mustMake(t, q)
	for i := range q.Demand.BitsPerSecond[70*24:] {
		q.Demand.BitsPerSecond[70*24+i] *= 3
	}
	got := mustMake(t, q)
	if a, b := want.Outlooks[0], got.Outlooks[0]; a.Use != b.Use || !a.Crossings[2].Likely.Equal(b.Crossings[2].Likely) || !got.At.Equal(q.At) {
		t.Errorf("got %+v, want %+v", b.Crossings, a.Crossings)
	}
}

func TestNothingKnownUntilThePlansDay(t *testing.T) {
	q := asked()
	for i := range 48 {
		q.Demand.BitsPerSecond[i] = math.NaN()
	}
	q.At = q.Demand.Start.Add(24 * time.Hour)
	if _, err := Make(q); err == nil || !strings.Contains(err.Error(), "a to b until 2015-03-04: demand is empty") {
		t.Errorf("got error %v", err)
	}
}

// Whatever the figures are, a question is answered or refused, and what is answered can be
// written.
func FuzzMake(f *testing.F) {
	f.Add(350e6, 349e6, 351e6, 1400, 1464, 100e6, 1e6, 1e4, 90, 1, 0.8, 1e9, uint8(1))
	f.Add(1e15, 0.0, 0.0, 65535, 0, 1.0, 0.0, 0.0, 3, 64, 1.0, 1.0, uint8(0))
	f.Add(1.0, 1e15, 1.0, 20, 20, 1e15, -1e13, 1e-300, 70, 2, 1e-300, 1e15, uint8(2))
	f.Add(math.Inf(1), math.NaN(), -1.0, -1, -1, math.NaN(), math.Inf(-1), math.NaN(), 1, -1, math.NaN(), math.NaN(), uint8(3))
	f.Fuzz(func(t *testing.T, figure, low, high float64, inner, outer int, level, growth, packets float64, days, links int, share, claim float64, kind uint8) {
		if days < 0 || days > 100 {
			return
		}
		d := analysis.Demand{Layer: []analysis.Layer{"inner", "outer", "l2", "x"}[kind%4], Start: day0, Step: 6 * time.Hour, Spacing: time.Hour}
		for bin := range 4 * days {
			d.BitsPerSecond = append(d.BitsPerSecond, level+growth*float64(bin))
			d.PacketsPerSecond = append(d.PacketsPerSecond, packets)
		}
		c := &analysis.Ceiling{InnerBitsPerSecond: figure, InnerLowerBitsPerSecond: low, InnerUpperBitsPerSecond: high, InnerSize: inner, OuterSize: outer}
		small := *c
		small.InnerSize, small.OuterSize = inner/2, outer-inner+inner/2
		named := &Claim{BitsPerSecond: claim, Layer: analysis.OuterLayer}
		q := Question{
			Demand: d, Links: links, Shares: []float64{share}, Overhead: int(kind), Datasheet: named,
			Measured:   []Measured{{From: "a", To: "b", Ceiling: c}, {From: "a", To: "b", Ceiling: &small}, {From: "b", To: "a", BothWaysInnerBitsPerSecond: claim}},
			Candidates: []Candidate{{Name: "x", Claim: named, Price: &analysis.Price{Once: level, Monthly: growth}}},
		}
		if kind&16 != 0 {
			q.Reverse = &d
		}
		p, err := Make(q)
		if err != nil {
			return
		}
		if _, err := json.Marshal(p); err != nil {
			t.Errorf("write the plan: %v", err)
		}
		for _, o := range p.Outlooks {
			if c := o.Capacity; !(c.LowBitsPerSecond <= c.LikelyBitsPerSecond) || c.HighBitsPerSecond != 0 && !(c.HighBitsPerSecond >= c.LikelyBitsPerSecond) {
				t.Errorf("got capacity %+v", c)
			}
		}
	})
}

// bimodal is demand of small packets by day and of large ones, which are more bits, at
// night: outer packets of 264 and 1464 B.
func bimodal() analysis.Demand {
	d := ramp(90, 95e6, 95e6)
	for bin := range d.BitsPerSecond {
		size := 264.0
		if bin%24 < 3 {
			d.BitsPerSecond[bin], size = 200e6, 1464
		}
		d.PacketsPerSecond = append(d.PacketsPerSecond, d.BitsPerSecond[bin]/8/size)
	}
	return d
}

// packetBound is a device of 50,000 packets and 1 Gbit/s in a second, at three sizes.
func packetBound(q *Question) {
	q.Measured = nil
	for _, size := range []int{1400, 512, 64} {
		rate := 8 * float64(size) / (1.0/50e3 + 8*float64(size)/1e9)
		q.Measured = append(q.Measured, Measured{Name: "a.json", From: "a", To: "b", Setup: usual, Ceiling: ceiling(size, rate)})
	}
}

// What a user must know of the demand beside the dates.
func TestNotesOnDemand(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Question)
		want   string
	}{
		{"a little above the ceiling", func(q *Question) { q.Demand = ramp(90, 380e6, 410e6) }, "was more than 10 % above what the tunnel was measured to carry"},
		{"a new level for eight days", func(q *Question) {
			q.Demand = ramp(90, 100e6, 100e6)
			for bin := 82 * 24; bin < 90*24; bin++ {
				q.Demand.BitsPerSecond[bin] *= 2
			}
		}, "has been +100 % from its trend"},
		{"a way back that ends early", func(q *Question) {
			d := ramp(90, 50e6, 50e6)
			for bin := 60 * 24; bin < 90*24; bin++ {
				d.BitsPerSecond[bin] = math.NaN()
			}
			q.Reverse = &d
		}, "(both directions together) is known until 2015-05-02 only"},
		{"packets smaller than those of most bits", func(q *Question) { packetBound(q); q.Demand = bimodal() }, "is fuller than by its bits: the size model says 99 % used where the dates rest on 53 %"},
		{"several sizes, no packets", packetBound, "is that of 1400 B, which stood first"},
		{"more than its data sheet", func(q *Question) {
			q.Datasheet = &Claim{BitsPerSecond: 300e6, Layer: analysis.OuterLayer, InnerSize: 1400}
		}, "reaches 117 % of its data sheet (--datasheet): is it in another layer"},
	} {
		q := asked()
		tt.change(&q)
		if notes := strings.Join(mustMake(t, q).Notes, "\n"); !strings.Contains(notes, tt.want) {
			t.Errorf("%s: got\n%s\nwant %q", tt.name, notes, tt.want)
		}
	}
}

// A way back without traffic is no reason to refuse the other.
func TestIdleWayBack(t *testing.T) {
	for _, directions := range []Directions{AsMeasured, Apart} {
		q := asked()
		idle := q.Demand
		idle.BitsPerSecond = make([]float64, len(q.Demand.BitsPerSecond))
		q.Reverse, q.Directions = &idle, directions
		p, want := mustMake(t, q), mustMake(t, asked())
		if got := p.Outlooks[0].Crossings; len(p.Outlooks) != 1 || got[2] != want.Outlooks[0].Crossings[2] {
			t.Errorf("directions %q: %d outlooks, full %+v, want one as without it", directions, len(p.Outlooks), got)
		}
	}
}

// A remedy that was measured with large packets, or claimed for them, is told for the demand's.
func TestRemedyOfOtherPackets(t *testing.T) {
	q := asked()
	packetBound(&q)
	q.Demand = ramp(90, 20e6, 30e6)
	for _, rate := range q.Demand.BitsPerSecond {
		q.Demand.PacketsPerSecond = append(q.Demand.PacketsPerSecond, rate/8/264)
	}
	twice := func(size int) Measured {
		c := ceiling(size, 2*8*float64(size)/(1.0/50e3+8*float64(size)/1e9))
		return Measured{Name: "fast.json", From: "a", To: "b", Setup: usual, Ceiling: c}
	}
	outer := 2 * twice(1400).Ceiling.InnerBitsPerSecond * 1464 / 1400
	q.Candidates = []Candidate{
		{Name: "one size", Measured: []Measured{twice(1400)}},
		{Name: "all sizes", Measured: []Measured{twice(1400), twice(512), twice(64)}},
		{Name: "claim", Claim: &Claim{BitsPerSecond: outer / 2, Layer: analysis.OuterLayer, InnerSize: 1400}},
	}
	for _, o := range mustMake(t, q).Options {
		if math.Abs(o.Factor-2) > 0.01 {
			t.Errorf("%s: %.2f times today's, want 2: %s", o.Name, o.Factor, o.Capacity.Basis)
		}
	}
}
