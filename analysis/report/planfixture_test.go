package report

import (
	"math"
	"math/rand/v2"
	"time"

	"tunnelmark/analysis"
)

// The story of the plan's fixtures: demand that reaches a policer's 334.8 Mbit/s inner
// in the last quarter of 2015, asked in June.
var (
	planFrom = time.Date(2014, time.December, 1, 0, 0, 0, 0, time.UTC)
	planAt   = time.Date(2015, time.June, 15, 0, 0, 0, 0, time.UTC)
)

func planDate(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// grown is a forecast whose level was so high at planAt and grows by so much each month.
func grown(level, perMonth float64) analysis.Forecast {
	f := analysis.Forecast{
		Trend: analysis.Exponential, GrowthKnown: true, GrowthPerMonth: perMonth, GrowthPerMonthLow: perMonth - 0.009, GrowthPerMonthHigh: perMonth + 0.009,
		LevelBitsPerSecond: level, BurstRatio: 1.62,
		BackTest: &analysis.BackTest{Forecasts: 1204, Error: 0.0814, RepeatError: 0.093, Intervals: 1155, Covered: 0.79},
	}
	noise := rand.New(rand.NewPCG(11, 12))
	week := []float64{0.95, 1, 0.99, 1, 0.96, 0.7, 0.68}
	for date, i := planFrom, 0; date.Before(planAt); date, i = date.AddDate(0, 0, 1), i+1 {
		ago := planAt.Sub(date).Hours() / 24 / 30
		rate := level * math.Pow(1+perMonth, -ago) * week[i%7] * math.Exp(0.02*noise.NormFloat64())
		day := analysis.Day{Date: date, P95BitsPerSecond: rate, BusyHourBitsPerSecond: rate * 0.97}
		if date.Month() == time.December && date.Day() > 23 {
			day.P95BitsPerSecond, day.Outlier = rate*0.4, true
		}
		if date.Equal(planDate(2015, time.March, 10)) {
			day.P95BitsPerSecond, day.BusyHourBitsPerSecond, day.Partial = 0, 0, true
		}
		f.Days = append(f.Days, day)
	}
	f.Weeks = periodsOf(f.Days, func(t time.Time) time.Time { return t.AddDate(0, 0, 7) })
	f.Months = periodsOf(f.Days, func(t time.Time) time.Time { return t.AddDate(0, 1, 0) })
	for week := range 90 {
		months := float64(week) * 7 / 30
		likely, wide := level*math.Pow(1+perMonth, months), 0.03+0.009*months
		f.Ahead = append(f.Ahead, analysis.Ahead{
			Date: planAt.AddDate(0, 0, 7*week), LowBitsPerSecond: likely * math.Exp(-wide), LikelyBitsPerSecond: likely, HighBitsPerSecond: likely * math.Exp(wide),
		})
	}
	return f
}

// periodsOf are weeks of seven days, or calendar months.
func periodsOf(days []analysis.Day, next func(time.Time) time.Time) []analysis.Period {
	var all []analysis.Period
	for i := 0; i < len(days); {
		period := analysis.Period{Start: days[i].Date}
		end, known, from := next(period.Start), 0, i
		for ; i < len(days) && days[i].Date.Before(end); i++ {
			period.P95BitsPerSecond = max(period.P95BitsPerSecond, days[i].P95BitsPerSecond)
			period.BusyHourBitsPerSecond = max(period.BusyHourBitsPerSecond, days[i].BusyHourBitsPerSecond)
			if days[i].P95BitsPerSecond > 0 {
				known++
			}
		}
		period.Known = float64(known) / float64(i-from)
		all = append(all, period)
	}
	return all
}

// reachedOn finds where a forecast meets shares of a capacity, with 60 days of lead time.
func reachedOn(f analysis.Forecast, c analysis.Capacity, shares ...float64) []analysis.Crossing {
	first := func(rate float64, of func(analysis.Ahead) float64) time.Time {
		for _, a := range f.Ahead {
			if of(a) >= rate {
				return a.Date
			}
		}
		return time.Time{}
	}
	var all []analysis.Crossing
	for _, share := range shares {
		one := analysis.Crossing{
			Share:    share,
			Earliest: first(share*c.LowBitsPerSecond, func(a analysis.Ahead) float64 { return a.HighBitsPerSecond }),
			Likely:   first(share*c.LikelyBitsPerSecond, func(a analysis.Ahead) float64 { return a.LikelyBitsPerSecond }),
			Latest:   first(share*c.HighBitsPerSecond, func(a analysis.Ahead) float64 { return a.LowBitsPerSecond }),
		}
		if !one.Earliest.IsZero() {
			one.OrderBy = one.Earliest.AddDate(0, 0, -60)
		}
		all = append(all, one)
	}
	return all
}

var policedCapacity = analysis.Capacity{
	LowBitsPerSecond: 334.5e6, LikelyBitsPerSecond: 334.8e6, HighBitsPerSecond: 335.7e6, InnerSize: 1400, Basis: "measured with 1400 B packets",
}

var fixtureSizes = analysis.SizeModel{PerPacket: 3.1e-6, PerByte: 21.7e-9, Points: []analysis.SizePoint{{InnerSize: 512, InnerBitsPerSecond: 290.0e6}, {InnerSize: 1024, InnerBitsPerSecond: 325.5e6}, {InnerSize: 1400, InnerBitsPerSecond: 334.8e6}}, Error: 0.006}

// growPlan is one tunnel that will be full, with all that a plan can hold.
func growPlan() PlanReport {
	f := grown(268e6, 0.042)
	claimed := analysis.Capacity{LowBitsPerSecond: 1.1e9, LikelyBitsPerSecond: 1.25e9, HighBitsPerSecond: 1.4e9, InnerSize: 1400, Basis: "datasheet, derated", Claimed: true}
	second := policedCapacity.Scaled(2)
	faster := analysis.Capacity{LowBitsPerSecond: 402e6, LikelyBitsPerSecond: 405e6, HighBitsPerSecond: 409e6, InnerSize: 1400, Basis: "measured with 1400 B packets"}
	full := func(c analysis.Capacity) analysis.Crossing { return reachedOn(f, c, 1)[0] }
	return PlanReport{
		ToolVersion: "0.1.0", Written: time.Date(2015, time.June, 15, 8, 12, 0, 0, time.UTC), Author: "nadia@noc-2.example.net",
		Plan: analysis.Plan{
			At: planAt, Layer: analysis.InnerLayer, From: "a", To: "b", Links: 1, LeadTime: 60 * 24 * time.Hour, Derating: 0.83, MeanInnerSize: 812,
			Outlooks: []analysis.Outlook{{
				Direction: "a to b", Capacity: policedCapacity, BusyHourBitsPerSecond: 263e6, Use: 0.786, Forecast: f,
				Crossings: reachedOn(f, policedCapacity, 0.7, 0.8, 1),
				DoingNothing: []analysis.Shortfall{
					{At: planDate(2015, time.September, 1)}, {At: planDate(2015, time.December, 1), Hours: 6.2, Excess: 0.021}, {At: planDate(2016, time.June, 1), Hours: 51, Excess: 0.161},
				},
			}},
			Options: []analysis.Option{
				{Name: "second tunnel", Capacity: second, Factor: 2, Full: full(second), Months: 15.2, AtLeast: true, Price: &analysis.Price{Currency: "USD", Monthly: 220, ThreeYears: 7920, PerMonth: 521}},
				{Name: "other cipher: aes-128-gcm", Capacity: faster, Factor: 1.21, Full: full(faster), Months: 4.6, Price: &analysis.Price{Currency: "USD"}, Note: "Both ends change at once."},
				{Name: "2 Gbps appliance", Capacity: claimed, Factor: 3.73, Full: full(claimed), Months: 15.2, AtLeast: true, Price: &analysis.Price{Currency: "USD", Once: 40000, Monthly: 150, ThreeYears: 45400, PerMonth: 2987}},
				{Name: "larger MTU", Capacity: policedCapacity.Scaled(1.01), Factor: 1.01, Full: full(policedCapacity.Scaled(1.01)), Months: 0.2},
			},
			SizeModel: &fixtureSizes,
			Missing: []analysis.Missing{
				{What: "What both directions carry at once was not measured.", Command: "tunnelmark run a b -u -b 330M --bidir --json"},
				{What: "Other ciphers were not measured.", Command: "tunnelmark find a b --suite chacha20-poly1305 --json"},
			},
			Notes: []string{"Rates hold for packets of 1400 B; the demand’s are smaller."},
		},
		Inputs: []Input{
			{Name: "results/srx-2015-06-12.json", SHA256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", What: "measurement"},
			{Name: "demand-a-b.csv", SHA256: "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9", What: "demand"},
		},
		Reproduce: Reproduce{CommandLine: "tunnelmark plan results/srx-2015-06-12.json --demand demand-a-b.csv --demand-layer inner --lead-time 60d --html plan.html"},
		Results:   planResults(),
	}
}

// planResults are today's ceiling, with latency, at three sizes, and of two tunnels.
func planResults() []Result {
	today := latencyResult()
	all := []Result{today}
	for _, p := range fixtureSizes.Points[:2] {
		r := policerResult()
		c := *r.Ceiling
		c.InnerSize, c.OuterSize, c.InnerBitsPerSecond = p.InnerSize, p.InnerSize+64, p.InnerBitsPerSecond
		r.Ceiling, r.Size = &c, Size{Inner: p.InnerSize, Outer: p.InnerSize + 64}
		all = append(all, r)
	}
	two := policerResult()
	c := *two.Ceiling
	c.InnerBitsPerSecond, c.InnerLowerBitsPerSecond, c.InnerUpperBitsPerSecond = 2*c.InnerBitsPerSecond, 2*c.InnerLowerBitsPerSecond, 2*c.InnerUpperBitsPerSecond
	two.Ceiling, two.Tunnel.Count = &c, 2
	return append(all, two)
}

// redundantPlan is of two links in two directions, of which one cannot be spared.
func redundantPlan() PlanReport {
	r := growPlan()
	p := &r.Plan
	p.Links = 2
	there, back := grown(480e6, 0.031), grown(120e6, 0.012)
	both := policedCapacity.Scaled(2)
	back.BackTest.Error = 0.052
	p.Outlooks = []analysis.Outlook{
		{
			Direction: "a to b", Capacity: policedCapacity, BusyHourBitsPerSecond: 463e6, Use: 0.69, Forecast: there,
			Crossings: reachedOn(there, both, 0.7, 0.8, 1), OneDown: reachedOn(there, policedCapacity, 0.7, 0.8, 1),
			DoingNothing: []analysis.Shortfall{{At: planDate(2016, time.September, 1), Hours: 4, Excess: 0.01}},
		},
		{
			Direction: "b to a", Capacity: policedCapacity, BusyHourBitsPerSecond: 118e6, Use: 0.18, Forecast: back,
			Crossings: reachedOn(back, both, 0.7, 0.8, 1), OneDown: reachedOn(back, policedCapacity, 0.7, 0.8, 1),
		},
	}
	p.Options = p.Options[:3]
	return r
}

// steadyPlan has no trend, no price and nothing but a single result without latency.
func steadyPlan() PlanReport {
	r := growPlan()
	p := &r.Plan
	f := grown(150e6, 0)
	f.Trend, f.GrowthPerMonthLow, f.GrowthPerMonthHigh = analysis.NoTrend, -0.004, 0.006
	p.Outlooks = []analysis.Outlook{{Direction: "a to b", Capacity: policedCapacity, BusyHourBitsPerSecond: 147e6, Use: 0.44, Forecast: f, Crossings: reachedOn(f, policedCapacity, 0.7, 0.8, 1)}}
	p.Options, p.SizeModel, p.Derating, p.MeanInnerSize, p.LeadTime, p.Notes = nil, nil, 0, 0, 0, nil
	r.Results = []Result{policerResult()}
	return r
}

// fullPlan is of a tunnel whose capacity was reached in many a busy hour.
func fullPlan() PlanReport {
	r := growPlan()
	o := &r.Plan.Outlooks[0]
	f := grown(360e6, 0.04)
	for i := range f.Days {
		if d := &f.Days[i]; d.P95BitsPerSecond > 0.95*334.8e6 {
			d.P95BitsPerSecond, d.Clipped = 0.985*334.8e6+float64(i%7)*5e5, true
		}
	}
	f.Trend, f.ClippedShare, f.Ahead, f.BackTest, f.BurstRatio, f.BurstsUnknown = analysis.AlreadyFull, 0.234, nil, nil, 0, true
	f.GrowthKnown, f.GrowthPerMonth, f.GrowthPerMonthLow, f.GrowthPerMonthHigh = false, 0, 0, 0
	now := analysis.Crossing{Share: 1, Earliest: planAt, Likely: planAt, Latest: planAt, OrderBy: planAt.AddDate(0, 0, -60)}
	o.Forecast, o.Crossings, o.DoingNothing, o.Use, o.BusyHourBitsPerSecond = f, []analysis.Crossing{now}, nil, 0.99, 331e6
	for i := range r.Plan.Options {
		option := &r.Plan.Options[i]
		option.Full, option.Months, option.AtLeast = analysis.Crossing{Share: 1}, 0, false
	}
	return r
}

// fiveReasons is of links that are full only on the fast course, in no known hurry.
func fiveReasons() PlanReport {
	r := redundantPlan()
	o := &r.Plan.Outlooks[0]
	o.Forecast.Trend, o.Crossings = analysis.NoTrend, []analysis.Crossing{{Share: 1, Earliest: planDate(2016, time.August, 1), OrderBy: planDate(2016, time.August, 1)}}
	r.Plan.LeadTime = 0
	return r
}

// partOfADay ends before its last day does.
func partOfADay() PlanReport {
	r := growPlan()
	days := r.Plan.Outlooks[0].Forecast.Days
	for i := range days {
		days[i].Outlier = false
	}
	days[len(days)-1].P95BitsPerSecond, days[len(days)-1].Partial = 40e6, true
	return r
}

// briefPlan has too little data for a date, and a capacity that is open upwards.
func briefPlan() PlanReport {
	r := growPlan()
	p := &r.Plan
	f := grown(120e6, 0)
	f.Trend, f.GrowthKnown, f.Days, f.Weeks, f.Months, f.Ahead, f.BackTest = analysis.TooLittleData, false, f.Days[:9], f.Weeks[:2], f.Months[:1], nil, nil
	open := policedCapacity
	open.HighBitsPerSecond = 0
	p.Outlooks = []analysis.Outlook{{Direction: "both directions together", Capacity: open, BusyHourBitsPerSecond: 118e6, Use: 0.352, Forecast: f, Crossings: []analysis.Crossing{{Share: 0.7}, {Share: 0.8}, {Share: 1}}}}
	p.Outlooks[0].Capacity.Shared = true
	p.Options, p.SizeModel = nil, nil
	r.Results = []Result{generatorResult()}
	return r
}

// emptyPlan holds nothing.
func emptyPlan() PlanReport { return PlanReport{} }

// manyPlan has more of everything than a sheet of paper takes.
func manyPlan() PlanReport {
	r := redundantPlan()
	p := &r.Plan
	for i := range 40 {
		o := p.Options[i%3]
		o.Note = "It needs a maintenance window at both ends, a change of the firewall’s rules and a new contract with the carrier."
		p.Options = append(p.Options, o)
		p.Missing = append(p.Missing, p.Missing[0])
		p.Notes = append(p.Notes, p.Notes[0])
		r.Inputs = append(r.Inputs, r.Inputs[0])
	}
	return r
}

// hostilePlan says the worst in every string that comes from elsewhere, and the most
// in every figure.
func hostilePlan() PlanReport {
	const attack = `"><script>alert(1)</script><img src=x onerror=alert(1)>'{{.}}</style></title>` + "\x1b[2J\u202e\x00"
	r := growPlan()
	p := &r.Plan
	r.ToolVersion, r.Author, r.Kind = attack, attack, attack
	p.Layer, p.From, p.To = attack, attack, attack
	o := &p.Outlooks[0]
	o.Direction, o.Capacity.Basis, o.Forecast.Trend = attack, attack, attack
	o.Forecast.Days[3].P95BitsPerSecond, o.Forecast.Days[4].P95BitsPerSecond = math.Inf(1), math.NaN()
	o.Forecast.Ahead[3].HighBitsPerSecond, o.Forecast.Ahead[4].HighBitsPerSecond = math.Inf(1), math.NaN()
	o.Forecast.Days[5].Date = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)
	p.Options[0].Name, p.Options[0].Note, p.Options[0].Price.Currency = attack, attack, attack
	p.Missing, p.Notes = []analysis.Missing{{What: attack, Command: attack}}, []string{attack}
	r.Inputs, r.Reproduce = []Input{{attack, attack, attack}}, Reproduce{CommandLine: attack}
	r.Results = []Result{hostileResult()}
	return r
}

// planFixtures are the plans that every writer must get right.
var planFixtures = []struct {
	name   string
	report func() PlanReport
}{
	{"grow", growPlan},
	{"redundant", redundantPlan},
	{"steady", steadyPlan},
	{"full", fullPlan},
	{"reasons", fiveReasons},
	{"brief", briefPlan},
	{"nothing", emptyPlan},
	{"many", manyPlan},
	{"hostile", hostilePlan},
}
