package capacity

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"tunnelmark/analysis"
)

// academic is five-minute data of a national academic backbone over a Christmas
// break.
func academic(t testing.TB) analysis.Demand {
	t.Helper()
	file, err := os.Open("testdata/demand-uk-academic-5min.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	d := analysis.Demand{Layer: analysis.InnerLayer, Step: 5 * time.Minute}
	for i, row := range rows[1:] {
		at, err := time.Parse(time.RFC3339, row[0])
		if i == 0 {
			d.Start = at
		}
		if err != nil || !at.Equal(d.End()) {
			t.Fatalf("row %d is of %s: %v", i, row[0], err)
		}
		rate, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		d.BitsPerSecond = append(d.BitsPerSecond, rate)
	}
	return d
}

func modelOf(d analysis.Demand, full float64) model {
	return newModel(d, d.End(), analysis.Capacity{LowBitsPerSecond: full, LikelyBitsPerSecond: full, HighBitsPerSecond: full})
}

func checkBackTest(t *testing.T, got *analysis.BackTest, mostError float64) {
	t.Helper()
	if got == nil {
		t.Fatal("no back-test")
	}
	what := fmt.Sprintf("%d forecasts err by %.3f, repeating last week by %.3f (%.2f x), %.1f %% covered",
		got.Forecasts, got.Error, got.RepeatError, got.Error/got.RepeatError, 100*got.Covered)
	t.Log(what)
	if got.Error > mostError*got.RepeatError || got.Covered < 0.65 || got.Covered > 0.92 {
		t.Errorf("%s: want at most %g x, and 65 to 92 %%", what, mostError)
	}
}

func TestBackTestOverChristmas(t *testing.T) {
	d := academic(t)
	checkBackTest(t, backTest(dailies(d, 0)), 0.9)
}

func TestBackTestOfSteadyWeek(t *testing.T) {
	for seed := range uint64(5) {
		s := synthetic{base: 200e6, days: 150, binNoise: 0.05, dayNoise: 0.05}
		checkBackTest(t, backTest(dailies(s.demand(seed), 0)), 1.05)
	}
}

// A week that repeats itself to the bit is forecast without an error.
func TestBackTestWithoutNoise(t *testing.T) {
	got := backTest(dailies(synthetic{base: 200e6, days: 70}.demand(1), 0))
	if got == nil || got.Error > 1e-6 || got.Covered < 1 {
		t.Errorf("got %+v, want no error, all covered", got)
	}
}

func TestBackTestNeedsDays(t *testing.T) {
	for days, want := range map[int]int{1: 0, 8: 0, 22: 0, 23: 1, 29: 28} {
		got := backTest(dailies(synthetic{base: 1e6, days: days, dayNoise: 0.1}.demand(1), 0))
		if count := forecasts(got); count != want {
			t.Errorf("%d days: %d forecasts, want %d", days, count, want)
		}
	}
}

func forecasts(b *analysis.BackTest) int {
	if b == nil {
		return 0
	}
	return b.Forecasts
}

// What clipped days hide is part of the trend: without them it would be half as steep.
func TestClippedDaysCountAsMore(t *testing.T) {
	s := synthetic{base: 262e6, growth: 0.05, days: 182, binNoise: 0.01, dayNoise: 0.02, cap: 350e6}
	m := modelOf(s.demand(1), 350e6)
	if low, likely, high := m.growth(); low > likely || high < likely || math.Abs(likely-0.05) > 0.005 {
		t.Errorf("growth of %.3f to %.3f to %.3f a month, want 0.05", low, likely, high)
	}
}

// The fewer days are not clipped, the less they hold a line; it must not run away.
func TestClippedDaysDoNotRunAway(t *testing.T) {
	for seed := range uint64(5) {
		s := synthetic{base: 330e6, growth: 0.05, days: 182, binNoise: 0.03, dayNoise: 0.04, cap: 350e6}
		m := modelOf(s.demand(seed), 350e6)
		if f := m.forecast(); f.BackTest != nil && f.BackTest.Error > 1 {
			t.Errorf("seed %d: the back-test errs by %g", seed, f.BackTest.Error)
		}
	}
}

func TestTrends(t *testing.T) {
	growing := synthetic{base: 100e6, growth: 0.05, days: 200, dayNoise: 0.03}
	straightly := synthetic{base: 100e6, growth: 0.30, days: 400, dayNoise: 0.02, straight: true}
	shrinking := synthetic{base: 100e6, growth: -0.05, days: 200, dayNoise: 0.03}
	stepped := synthetic{base: 100e6, growth: 0, days: 200, dayNoise: 0.03, step: 100, stepBy: 0.5}
	short := synthetic{base: 100e6, growth: 0.05, days: 55, dayNoise: 0.03}
	full := synthetic{base: 400e6, days: 200, cap: 350e6}
	for name, test := range map[string]struct {
		of    synthetic
		want  analysis.Trend
		steps int
	}{
		"growing":         {growing, analysis.Exponential, 0},
		"straight":        {straightly, analysis.Linear, 0},
		"shrinking":       {shrinking, analysis.Exponential, 0},
		"a step":          {stepped, analysis.NoTrend, 1},
		"too little data": {short, analysis.TooLittleData, 0},
		"full":            {full, analysis.AlreadyFull, 0},
	} {
		m := modelOf(test.of.demand(3), 350e6)
		f := m.forecast()
		if f.Trend != test.want || len(f.Steps) != test.steps {
			t.Errorf("%s: trend %q with steps %v, want %q with %d", name, f.Trend, f.Steps, test.want, test.steps)
		}
	}
}

// Days at the ceiling that the trend knows nothing of: the figures stay figures, and the
// level may stay.
func TestShiftedDays(t *testing.T) {
	for _, to := range []float64{320e6, 400e6} {
		for _, days := range []int{5, 10, 20} {
			s := synthetic{base: 150e6, days: 170 + days, binNoise: 0.02, dayNoise: 0.02, step: 170, stepBy: to/150e6 - 1, cap: 350e6}
			m := modelOf(s.demand(7), 350e6)
			f := m.forecast()
			for _, v := range []float64{f.GrowthPerMonthLow, f.GrowthPerMonth, f.GrowthPerMonthHigh, f.LevelBitsPerSecond, f.BackTest.Error} {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%d days of %g: %+v", days, to, f)
				}
			}
			if days < 8 {
				continue
			}
			if m.past.shift() < 0.5 && len(f.Steps) == 0 {
				t.Errorf("%d days of %g: neither a step nor a shift (%g)", days, to, m.past.shift())
			}
			later := m.ahead(m.at.AddDate(0, 9, 0))
			if later.HighBitsPerSecond < 0.9*min(to, 350e6) {
				t.Errorf("%d days of %g: at most %g after nine months", days, to, later.HighBitsPerSecond)
			}
		}
	}
}

func TestHazard(t *testing.T) {
	for z, want := range map[float64]float64{-8: 0, 0: 0.79788, 3: 3.28310, 8.2: 8.31857, 8.3: 8.41721, 20: 20.04975, 40: 40.02497} {
		if got := hazard(z); math.Abs(got-want) > 1e-4 {
			t.Errorf("at %g: got %g, want %g", z, got, want)
		}
	}
}

// A ceiling that demand was far above did not clip it.
func TestDemandAboveIsNotClipped(t *testing.T) {
	m := modelOf(synthetic{base: 800e6, days: 100}.demand(1), 350e6)
	if m.clipped != 0 || m.trend() == analysis.AlreadyFull {
		t.Errorf("%.2f of the busy hours clipped, trend %q", m.clipped, m.trend())
	}
}

func TestCrossings(t *testing.T) {
	s := synthetic{base: 100e6, growth: 0.05, days: 365}
	d := s.demand(1)
	m := modelOf(d, 0)
	level := m.expected(m.at)
	for name, test := range map[string]struct {
		share    float64
		low      float64 // Over today's level, as the following.
		high     float64
		want     [3]float64 // Days from now; -1: not reached.
		orderBy  float64
		leadDays int
	}{
		"reached":          {1, 0.9, 0.9, [3]float64{0, 0, 0}, -60, 60},
		"a month ahead":    {1, 1.05, 1.05, [3]float64{30, 30, 30}, 20, 10},
		"a share of it":    {0.5, 2.1, 2.1, [3]float64{30, 30, 30}, 30, 0},
		"no upper bound":   {1, 1.05, 0, [3]float64{30, 30, -1}, 30, 0},
		"out of all reach": {1, 1e5, 1e5, [3]float64{-1, -1, -1}, -1, 0},
		"horizon":          {1, 1e3, 1e3, [3]float64{-1, -1, -1}, -1, 0},
	} {
		c := analysis.Capacity{LowBitsPerSecond: test.low * level, LikelyBitsPerSecond: test.low * level, HighBitsPerSecond: test.high * level}
		got := m.crossing(test.share, c, time.Duration(test.leadDays)*24*time.Hour)
		for i, date := range []time.Time{got.Earliest, got.Likely, got.Latest} {
			days := date.Sub(m.at).Hours() / 24
			if missing := date.IsZero(); missing != (test.want[i] < 0) || !missing && math.Abs(days-test.want[i]) > 1.5 {
				t.Errorf("%s: date %d is %v, want %g days from %v", name, i, date, test.want[i], m.at)
			}
		}
		if days := got.OrderBy.Sub(m.at).Hours() / 24; !got.OrderBy.IsZero() && math.Abs(days-test.orderBy) > 1.5 {
			t.Errorf("%s: to be ordered by %v, want %g days from %v", name, got.OrderBy, test.orderBy, m.at)
		}
	}
}

// Where no clock shows midnight, the search for a date still goes on.
func TestCrossingWhereMidnightIsMissing(t *testing.T) {
	for _, name := range []string{"America/Santiago", "America/Havana", "Atlantic/Azores"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		d := synthetic{base: 100e6, growth: 0.001, days: 365, start: time.Date(2024, 1, 1, 0, 0, 0, 0, zone)}.demand(1)
		m := modelOf(d, 0)
		if got := m.crossing(1, analysis.Capacity{LowBitsPerSecond: 1e12, LikelyBitsPerSecond: 1e12}, 0); !got.Likely.IsZero() {
			t.Errorf("%s: full on %v", name, got.Likely)
		}
		for i := 1; i < len(m.days); i++ {
			if a, b := m.days[i-1].Date, m.days[i].Date; b.Sub(a) < 23*time.Hour || b.Hour() > 1 {
				t.Errorf("%s: day %v follows %v", name, b, a)
			}
		}
	}
}

// Odd demand is told of, not fallen over.
func TestOddDemand(t *testing.T) {
	start := time.Date(2024, 3, 1, 13, 30, 0, 0, time.UTC)
	hours := func(n int, rate func(i int) float64) analysis.Demand {
		d := analysis.Demand{Start: start, Step: time.Hour}
		for i := range n {
			d.BitsPerSecond = append(d.BitsPerSecond, rate(i))
		}
		return d
	}
	for name, d := range map[string]analysis.Demand{
		"ten days":      hours(240, func(i int) float64 { return 3e8 + 1e5*float64(i%7) }),
		"explosive":     hours(57*24, func(i int) float64 { return 1e-31 * math.Pow(6.5, float64(i/24)) }),
		"all clipped":   hours(2000, func(i int) float64 { return 340e6 + 1e4*float64(i%500) }),
		"one bin":       hours(1, func(int) float64 { return 1 }),
		"nothing known": hours(2000, func(int) float64 { return math.NaN() }),
		"zero":          hours(2000, func(int) float64 { return 0 }),
		"constant":      hours(4000, func(int) float64 { return 5e6 }),
		"every other":   hours(4000, func(i int) float64 { return []float64{5e6, math.NaN()}[i%2] }),
		"on and off":    hours(4000, func(i int) float64 { return []float64{0, 1e12}[i/24%2] }),
		"tiny":          hours(4000, func(i int) float64 { return 1e-300 * float64(i) }),
	} {
		m := modelOf(d, 350e6)
		f := m.forecast()
		c := m.crossing(1, analysis.Capacity{LowBitsPerSecond: 350e6, LikelyBitsPerSecond: 351e6, HighBitsPerSecond: 352e6}, time.Hour)
		s := m.shortfall(m.at.AddDate(0, 6, 0), analysis.Capacity{LikelyBitsPerSecond: 350e6})
		for _, v := range []float64{f.GrowthPerMonth, f.GrowthPerMonthLow, f.GrowthPerMonthHigh, f.LevelBitsPerSecond, m.busyHour(), s.Hours, s.Excess} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("%s: %v in %+v", name, v, f)
			}
		}
		if !c.Likely.IsZero() && (c.Earliest.IsZero() || c.Earliest.After(c.Likely)) {
			t.Errorf("%s: earliest %v after likely %v", name, c.Earliest, c.Likely)
		}
	}
}
