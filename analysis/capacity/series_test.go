package capacity

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
)

// Billing drops the top 432 of 8640 samples and bills the next.
func TestNearestRank(t *testing.T) {
	month := make([]float64, 8640)
	for i := range month {
		month[i] = float64(8640 - i)
	}
	if got := nearestRank(month, percentile); got != 8208 {
		t.Errorf("got %g, want the 8208th", got)
	}
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{3, 1, 2}, 3}} {
		if got := nearestRank(test.values, percentile); got != test.want {
			t.Errorf("%v: got %g, want %g", test.values, got, test.want)
		}
	}
}

func TestDays(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	// From noon on the day before the clocks go forward, to noon of the day after it.
	d := analysis.Demand{Start: time.Date(2024, 3, 30, 12, 0, 0, 0, london), Step: time.Hour}
	for i := range 12 + 23 + 12 {
		d.BitsPerSecond = append(d.BitsPerSecond, float64(i))
	}
	d.BitsPerSecond[20] = math.NaN()
	type told struct {
		Date  string
		P95   float64
		Whole bool
	}
	var got []told
	for _, one := range dailies(d, 0) {
		got = append(got, told{one.Date.Format(time.RFC3339), one.P95BitsPerSecond, one.whole})
	}
	want := []told{{"2024-03-30T12:00:00Z", 11, false}, {"2024-03-31T00:00:00Z", 33, true}, {"2024-04-01T00:00:00+01:00", 46, false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("days (-want +got):\n%s", diff)
	}
}

func TestPeriods(t *testing.T) {
	d := synthetic{base: 1e6, days: 40}.demand(1) // From Monday, the first of January.
	w, m := weeks(d), months(d)
	if len(w) != 6 || len(m) != 2 || w[5].Start != d.Start.AddDate(0, 0, 35) || m[1].Start != d.Start.AddDate(0, 1, 0) {
		t.Errorf("weeks %+v, months %+v", w, m)
	}
	if w[0].Known != 1 || math.Abs(w[5].Known-5.0/7) > 1e-9 || math.Abs(m[1].Known-9.0/29) > 1e-9 {
		t.Errorf("known of the first week %g, the last %g, the second month %g", w[0].Known, w[5].Known, m[1].Known)
	}
	if math.Abs(w[0].BusyHourBitsPerSecond-1e6) > 1 {
		t.Errorf("busy hour of %g, want 1e6", w[0].BusyHourBitsPerSecond)
	}
}

// The first period may have begun before the demand did.
func TestFirstPeriodIsPartial(t *testing.T) {
	s := synthetic{base: 1e6, days: 20, start: time.Date(2024, 1, 27, 0, 0, 0, 0, time.UTC)} // A Saturday.
	w, m := weeks(s.demand(1)), months(s.demand(1))
	if want := time.Date(2024, 1, 22, 0, 0, 0, 0, time.UTC); !w[0].Start.Equal(want) || math.Abs(w[0].Known-2.0/7) > 1e-9 || w[1].Known != 1 {
		t.Errorf("first weeks %+v, want one from %v of which two days are known", w[:2], want)
	}
	if want := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC); !m[0].Start.Equal(want) || math.Abs(m[0].Known-5.0/31) > 1e-9 {
		t.Errorf("first month %+v, want one from %v of which five days are known", m[0], want)
	}
}

// Five minutes of an hour are no hour, and hours are those that clocks show.
func TestBusiestHourIsAnHour(t *testing.T) {
	kolkata := time.FixedZone("Kolkata", 5*3600+1800)
	d := analysis.Demand{Start: time.Date(2024, 1, 1, 9, 0, 0, 0, kolkata), Step: 5 * time.Minute}
	for bin := range 25 {
		d.BitsPerSecond = append(d.BitsPerSecond, []float64{1, 2, 9}[bin/12])
	}
	if most, at := busiestHour(d, bins{0, 25}); most != 2 || at != (bins{12, 24}) {
		t.Errorf("busiest hour of %g at %v, want 2 from bin 12", most, at)
	}
}

func TestBursts(t *testing.T) {
	d := synthetic{base: 1e6, days: 3}.demand(1)
	if _, ok := bursts(d); ok {
		t.Error("bursts are known of hourly samples")
	}
	for _, rate := range d.BitsPerSecond {
		d.PeakBitsPerSecond = append(d.PeakBitsPerSecond, 3*rate)
	}
	if ratio, ok := bursts(d); !ok || ratio != 3 {
		t.Errorf("burst ratio %g, %v: want 3", ratio, ok)
	}
}
