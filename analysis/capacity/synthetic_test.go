package capacity

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tunnelmark/analysis"
)

// synthetic is demand whose growth is known.
type synthetic struct {
	base     float64 // Of the busiest weekdays' busy hour, in bit/s, at the start.
	growth   float64 // Per 30 days, as a ratio.
	days     int
	binNoise float64 // Standard deviation of each hour, as a logarithm.
	dayNoise float64 // Of each day.
	outage   int     // The day on which a week begins that carries a tenth; zero: none.
	step     int     // The day from which there is stepBy more; zero: none.
	stepBy   float64
	cap      float64 // That clips it; zero: none.
	start    time.Time
	straight bool
}

// weekdays is what each carries of the busiest, from Monday.
var weekdays = [7]float64{0.98, 1, 1, 0.99, 0.97, 0.55, 0.5}

// hourly is what each hour carries of the busiest.
var hourly = func() (all [24]float64) {
	for hour := range all {
		all[hour] = 0.65 + 0.35*math.Cos(2*math.Pi*(float64(hour)-14)/24)
	}
	return all
}()

func (s synthetic) level(day float64) float64 {
	level := s.base * math.Pow(1+s.growth, day/30)
	if s.straight {
		level = s.base * (1 + s.growth*day/30)
	}
	if s.step > 0 && day >= float64(s.step) {
		level *= 1 + s.stepBy
	}
	return level
}

func (s synthetic) demand(seed uint64) analysis.Demand {
	random := rand.New(rand.NewPCG(seed, 1))
	d := analysis.Demand{Layer: analysis.InnerLayer, Start: s.start, Step: time.Hour, Spacing: time.Hour}
	if d.Start.IsZero() {
		d.Start = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) // A Monday.
	}
	for day := range s.days {
		today := s.level(float64(day)) * math.Exp(s.dayNoise*random.NormFloat64()) * weekdays[(int(d.Start.Weekday())+6+day)%7]
		if s.outage > 0 && day >= s.outage && day < s.outage+7 {
			today /= 10
		}
		for hour := range 24 {
			rate := today * hourly[hour] * math.Exp(s.binNoise*random.NormFloat64())
			if s.cap > 0 {
				rate = min(rate, s.cap)
			}
			d.BitsPerSecond = append(d.BitsPerSecond, rate)
		}
	}
	return d
}

// reached is the true day on which the expected percentile of the busiest weekdays is at a
// rate: the same demand without growth says what noise makes of it.
func (s synthetic) reached(t *testing.T, rate float64) float64 {
	t.Helper()
	still := s
	still.growth, still.outage, still.step, still.cap, still.days = 0, 0, 0, 0, 7*400
	factor := 0.0
	days := dailies(still.demand(99), 0)
	var logs []float64
	for _, d := range days {
		if d.n%7 < 5 {
			logs = append(logs, math.Log(d.P95BitsPerSecond/still.base))
		}
	}
	factor = math.Exp(mean(logs))
	for day := 0.0; day < 5000; day++ {
		if s.level(day)*factor >= rate {
			return day
		}
	}
	return math.Inf(1)
}
