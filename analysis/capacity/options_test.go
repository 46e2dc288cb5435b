package capacity

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
)

// mbit is a rate in whole Mbit/s.
func mbit(bitsPerSecond float64) string { return fmt.Sprintf("%.0f", bitsPerSecond/1e6) }

// day0 is the day of all plans here.
var day0 = time.Date(2015, 6, 1, 0, 0, 0, 0, time.UTC)

// linear is a market in which demand grows by 10 Mbit/s in each month of 30.44 days from 250 Mbit/s, and
// the forecast goes so many months ahead.
func linear(q Question, horizonMonths float64) market {
	q.At = day0
	q = q.withDefaults()
	after := func(months float64) time.Time { return day0.Add(time.Duration(months * meanMonth)) }
	k := market{
		question: q, lane: lane{tunnel: newTunnel(q.today(), q.Measured)}, layers: q.layers(), horizon: after(horizonMonths),
		full: func(c analysis.Capacity) analysis.Crossing {
			months := max(0, (c.LikelyBitsPerSecond-250e6)/10e6)
			if months > horizonMonths {
				return analysis.Crossing{Share: 1}
			}
			return analysis.Crossing{Share: 1, Likely: after(months)}
		},
	}
	k.capacity = k.layers.capacity(k.lane.tunnel.capacity(0), q.Demand.Layer).Scaled(float64(q.Links))
	k.today = k.full(k.capacity)
	return k
}

// remedy is a measurement of another setup, which carries so much, in outer bit/s.
func remedy(outerBitsPerSecond float64, change func(*Setup)) Measured {
	m := Measured{From: "a", To: "b", Setup: usual, Ceiling: ceiling(1400, outerBitsPerSecond*1400/1464)}
	change(&m.Setup)
	return m
}

func TestOptions(t *testing.T) {
	twoTunnels := remedy(650e6, func(s *Setup) { s.Tunnels = 2 })
	chacha := remedy(450e6, func(s *Setup) { s.Suite = "chacha20-poly1305" })
	price := &analysis.Price{Currency: "USD", Once: 4000, Monthly: 50}
	for _, tt := range []struct {
		name    string
		change  func(*Question)
		horizon float64
		want    []string // Name, capacity in Mbit/s, factor, months, cost in three years and per month.
	}{
		{"what was measured", func(q *Question) { q.Measured = append(q.Measured, chacha, twoTunnels) }, 60, []string{
			"2 tunnels: 650, 1.86 x, 30.0 months",
			"other cipher: chacha20-poly1305: 450, 1.29 x, 10.0 months",
		}},
		{"beyond the horizon", func(q *Question) { q.Measured = append(q.Measured, twoTunnels) }, 12, []string{"2 tunnels: 650, 1.86 x, 2.0 months or more"}},
		{"all within the horizon", func(q *Question) { q.Measured = append(q.Measured, twoTunnels) }, 5, []string{"2 tunnels: 650, 1.86 x, 0.0 months"}},
		{"two links", func(q *Question) { q.Links = 2; q.Measured = append(q.Measured, chacha) }, 90, []string{"other cipher: chacha20-poly1305: 900, 1.29 x, 20.0 months"}},
		{"claim", func(q *Question) { q.Candidates = []Candidate{{Name: "box", Claim: outer(800e6), Price: price}} }, 60, []string{"box: 800 claimed, 2.29 x, 45.0 months, 5800, 161.11 a month"}},
		{"claim that lasts for less than it is priced for", func(q *Question) {
			q.Candidates = []Candidate{{Name: "box", Claim: outer(450e6), Price: price}}
		}, 60, []string{"box: 450 claimed, 1.29 x, 10.0 months, 5800, 580.00 a month"}},
		{"worse than today", func(q *Question) {
			q.Candidates = []Candidate{{Name: "box", Claim: outer(300e6), Price: price}}
		}, 60, []string{"box: 300 claimed, 0.86 x, 0.0 months, 5800, 0.00 a month"}},
		{"measured by its own name and price", func(q *Question) {
			q.Measured = append(q.Measured, twoTunnels)
			q.Candidates = []Candidate{{Name: "second tunnel", Measured: []Measured{twoTunnels}, Price: price}}
		}, 60, []string{"second tunnel: 650, 1.86 x, 30.0 months, 5800, 193.33 a month"}},
		{"another device with today's setup", func(q *Question) {
			box := remedy(700e6, func(*Setup) {})
			q.Measured = append(q.Measured, Measured{From: "a", To: "b", Setup: usual, Ceiling: ceiling(512, 100e6)})
			q.Candidates = []Candidate{{Name: "lent box", Measured: []Measured{box}}}
		}, 60, []string{"lent box: 700, 2.00 x, 35.0 months"}},
		{"of the other direction, and fixed loads", func(q *Question) {
			back := twoTunnels
			back.From, back.To = "b", "a"
			q.Measured = append(q.Measured, back, Measured{From: "a", To: "b", Setup: twoTunnels.Setup})
		}, 60, nil},
		{"full already", func(q *Question) {
			q.Measured[0].Ceiling = ceiling(1400, 200e6)
			q.Measured = append(q.Measured, remedy(300e6, func(s *Setup) { s.Tunnels = 2 }))
		}, 60, []string{"2 tunnels: 300, 1.43 x, 5.0 months"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := asked()
			tt.change(&q)
			var got []string
			for _, o := range linear(q, tt.horizon).options() {
				got = append(got, told(o))
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func told(o analysis.Option) string {
	text := o.Name + ": " + mbit(o.Capacity.LikelyBitsPerSecond)
	if o.Capacity.Claimed {
		text += " claimed"
	}
	text += fmt.Sprintf(", %.2f x, %.1f months", o.Factor, o.Months)
	if o.AtLeast {
		text += " or more"
	}
	if o.Price != nil {
		text += fmt.Sprintf(", %.0f, %.2f a month", o.Price.ThreeYears, o.Price.PerMonth)
	}
	return text
}

func TestPriceIsNotTheQuestions(t *testing.T) {
	q := asked()
	price := &analysis.Price{Currency: "USD", Once: 4000}
	q.Candidates = []Candidate{{Name: "box", Claim: outer(800e6), Price: price}}
	linear(q, 60).options()
	if price.ThreeYears != 0 {
		t.Errorf("the question's price became %+v", *price)
	}
}

func TestRemedyBySizeModel(t *testing.T) {
	q := asked()
	for _, c := range modelled(1e-5, 1e-9, 256, 1400) {
		q.Measured = append(q.Measured, Measured{From: "a", To: "b", Setup: Setup{Driver: "wireguard", Tunnels: 1}, Ceiling: &c})
	}
	k := linear(q, 60)
	k.size = 800
	got := k.options()
	want := analysis.SizeModel{PerPacket: 1e-5, PerByte: 1e-9}.InnerBitsPerSecond(800) * 864 / 800
	if len(got) != 1 || got[0].Name != "other driver: wireguard" || math.Abs(got[0].Capacity.LikelyBitsPerSecond/want-1) > 1e-9 || got[0].Capacity.InnerSize != 800 {
		t.Errorf("got %+v, want %.0f bit/s of 800 B packets", got, want)
	}
}

func TestDerating(t *testing.T) {
	for _, tt := range []struct {
		name      string
		sheet     *Claim
		sizes     []analysis.Ceiling // Beside today's 350 Mbit/s outer with 1400 B.
		low, high float64            // Of a claim of 2 Gbit/s outer, in Mbit/s.
		want      float64
	}{
		{"no data sheet", nil, nil, 2000, 2000, 0},
		{"half", outer(700e6), nil, 1000, 2000, 0.5},
		{"in another layer", &Claim{BitsPerSecond: 669.4e6, Layer: analysis.InnerLayer}, nil, 1000, 2000, 0.5},
		{"better than its data sheet", outer(300e6), nil, 2000, 2000, 350.0 / 300},
		// A policer of 350 Mbit/s outer: of 512 B packets 311 Mbit/s inner.
		{"of another size", &Claim{BitsPerSecond: 622.2e6, Layer: analysis.InnerLayer, InnerSize: 512}, modelled(64*8/350e6, 8/350e6, 256), 1000, 2000, 0.5},
	} {
		q := asked()
		q.Measured[0].Ceiling = ceiling(1400, 350e6*1400/1464)
		for _, c := range tt.sizes {
			q.Measured = append(q.Measured, Measured{From: "a", To: "b", Setup: usual, Ceiling: &c})
		}
		q.Candidates = []Candidate{{Name: "box", Claim: outer(2e9)}}
		k := linear(q, 60)
		if tt.sheet != nil {
			k.derating = k.layers.derating(k.lane.tunnel, *tt.sheet, 1400)
		}
		c := k.options()[0].Capacity
		near := func(a, b float64) bool { return math.Abs(a-b) <= 0.001*b }
		if !near(k.derating, tt.want) || !near(c.LowBitsPerSecond/1e6, tt.low) || c.LowBitsPerSecond != c.LikelyBitsPerSecond || !near(c.HighBitsPerSecond/1e6, tt.high) {
			t.Errorf("%s: got %.3f and %+v, want %g and %g to %g Mbit/s", tt.name, k.derating, c, tt.want, tt.low, tt.high)
		}
	}
}

func TestClaimsSayTheirDoubts(t *testing.T) {
	q := asked()
	q.Links = 2
	q.Candidates = []Candidate{{Name: "box", Claim: &Claim{BitsPerSecond: 2e9, Layer: analysis.OuterLayer, InnerSize: 1400}}}
	k := linear(q, 60)
	k.size = 640
	o := k.options()[0]
	for _, want := range []string{"--datasheet", "packets of 1400 B", "640 B on average", "all 2 links together"} {
		if !strings.Contains(o.Note, want) {
			t.Errorf("got note %q, want %q in it", o.Note, want)
		}
	}
	if want := "claimed by the vendor (no source given): 2000.0 Mbit/s outer with 1400 B packets"; o.Capacity.Basis != want {
		t.Errorf("got basis %q, want %q", o.Capacity.Basis, want)
	}
}

func TestRank(t *testing.T) {
	after := func(months int) analysis.Crossing { return analysis.Crossing{Likely: day0.AddDate(0, months, 0)} }
	usd := func(amount float64) *analysis.Price { return &analysis.Price{ThreeYears: amount} }
	claimed := analysis.Capacity{Claimed: true}
	all := []analysis.Option{
		{Name: "lasts, no price", Full: after(50), Months: 44},
		{Name: "lasts, dear", Full: after(60), Months: 54, Price: usd(9000)},
		{Name: "lasts beyond the horizon, cheap", Months: 54, AtLeast: true, Price: usd(1000)},
		{Name: "short, cheap", Full: after(10), Months: 4, Price: usd(10)},
		{Name: "longer, dear", Full: after(20), Months: 14, Price: usd(5000)},
		{Name: "longest of the short", Full: after(35), Months: 29},
		{Name: "tie, claimed", Full: after(12), Months: 6, Capacity: claimed},
		{Name: "tie, b", Full: after(12), Months: 6},
		{Name: "tie, a", Full: after(12), Months: 6},
		{Name: "lasts, no price, longer", Full: after(55), Months: 49},
	}
	market{question: Question{At: day0}, horizon: day0.AddDate(5, 0, 0)}.rank(all)
	want := []string{
		"lasts beyond the horizon, cheap", "lasts, dear", "lasts, no price, longer", "lasts, no price",
		"longest of the short", "longer, dear", "tie, a", "tie, b", "tie, claimed", "short, cheap",
	}
	for i, o := range all {
		if o.Name != want[i] {
			t.Errorf("rank %d: got %q, want %q", i+1, o.Name, want[i])
		}
	}
}

func TestRankWithinAShortHorizon(t *testing.T) {
	// Nobody can tell which of them lasts three years: all buy the same, then the price decides.
	all := []analysis.Option{
		{Name: "dear", Months: 10, AtLeast: true, Price: &analysis.Price{ThreeYears: 2}},
		{Name: "no price", Months: 10, AtLeast: true},
		{Name: "cheap", Months: 10, AtLeast: true, Price: &analysis.Price{ThreeYears: 1}, Capacity: analysis.Capacity{Claimed: true}},
	}
	market{question: Question{At: day0}, horizon: day0.AddDate(1, 0, 0)}.rank(all)
	if got := all[0].Name + ", " + all[1].Name + ", " + all[2].Name; got != "cheap, dear, no price" {
		t.Errorf("got %s", got)
	}
}

func TestDifferences(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Setup)
		want   string
	}{
		{"none", func(*Setup) {}, ""},
		{"tunnels", func(s *Setup) { s.Tunnels = 2 }, "2 tunnels"},
		{"cipher", func(s *Setup) { s.Suite = "chacha20-poly1305" }, "other cipher: chacha20-poly1305"},
		{"MTU", func(s *Setup) { s.InnerMTU = 8900 }, "inner MTU 8900"},
		{"smaller MTU", func(s *Setup) { s.InnerMTU = 1400 }, "inner MTU 1400"},
		{"driver, with its own MTU and no cipher to choose", func(s *Setup) { *s = Setup{Driver: "wireguard", Tunnels: 1, InnerMTU: 1440} }, "other driver: wireguard"},
		{"encapsulation", func(s *Setup) { s.Encapsulation, s.InnerMTU = "raw", 1446 }, "other encapsulation: raw"},
		{"several", func(s *Setup) { s.Tunnels, s.Suite, s.InnerMTU = 4, "aes-256-gcm", 8900 }, "4 tunnels and other cipher: aes-256-gcm and inner MTU 8900"},
		{"not known", func(s *Setup) { *s = Setup{} }, ""},
	} {
		other := usual
		tt.change(&other)
		if got := strings.Join(differences(usual, other), " and "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := differences(Setup{Tunnels: 2}, Setup{}); len(got) != 1 || got[0] != "1 tunnel" {
		t.Errorf("one tunnel instead of two: got %q", got)
	}
}
