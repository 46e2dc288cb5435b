package capacity

import (
	"math"
	"testing"

	"tunnelmark/analysis"
)

func TestConvert(t *testing.T) {
	l := layers{overhead: 64, known: true}
	for _, tt := range []struct {
		from, to analysis.Layer
		size     float64
		want     float64 // Of 100 Mbit/s, in Mbit/s.
	}{
		{analysis.InnerLayer, analysis.InnerLayer, 1400, 100},
		{analysis.InnerLayer, analysis.OuterLayer, 1400, 100 * 1464 / 1400.},
		{analysis.InnerLayer, analysis.EthernetLayer, 1400, 100 * 1482 / 1400.},
		{analysis.InnerLayer, analysis.EthernetLayer, 128, 100 * 210 / 128.}, // 64 % more.
		{analysis.OuterLayer, analysis.EthernetLayer, 1400, 100 * 1482 / 1464.},
		{analysis.EthernetLayer, analysis.InnerLayer, 1400, 100 * 1400 / 1482.},
	} {
		if got := l.convert(100e6, tt.size, tt.from, tt.to) / 1e6; math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s to %s of %g B: got %g Mbit/s, want %g", tt.from, tt.to, tt.size, got, tt.want)
		}
	}
}

func FuzzConvertThereAndBack(f *testing.F) {
	f.Add(350e6, 1400.0, 64, uint8(0), uint8(2))
	f.Add(1.0, 20.0, 0, uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, rate, size float64, overhead int, from, to uint8) {
		all := []analysis.Layer{analysis.InnerLayer, analysis.OuterLayer, analysis.EthernetLayer}
		a, b := all[int(from)%3], all[int(to)%3]
		if !sane(rate) || !(size >= leastIP && size <= mostIP) || overhead < 0 || overhead > mostAdded {
			return
		}
		l := layers{overhead: overhead, known: true}
		there := l.convert(rate, size, a, b)
		if back := l.convert(there, size, b, a); math.Abs(back/rate-1) > 1e-12 {
			t.Errorf("%g bit/s of %g B from %s to %s and back: got %g", rate, size, a, b, back)
		}
		if l.above(b) > l.above(a) && there <= rate || l.above(b) == l.above(a) && there != rate {
			t.Errorf("%g bit/s of %g B from %s to %s: got %g", rate, size, a, b, there)
		}
	})
}

func TestLayersOf(t *testing.T) {
	for _, tt := range []struct {
		name            string
		outer, overhead int
		want            layers
	}{
		{"measured", 1464, 0, layers{64, true}},
		{"measured, whatever is given", 1464, 99, layers{64, true}},
		{"in clear", 1400, 0, layers{0, true}},
		{"given", 0, 57, layers{57, true}},
		{"not known", 0, 0, layers{}},
	} {
		q := Question{Measured: []Measured{{Ceiling: &analysis.Ceiling{InnerSize: 1400, OuterSize: tt.outer}}}, Overhead: tt.overhead}
		if got := q.layers(); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestMeanInnerSize(t *testing.T) {
	nan := math.NaN()
	// In the busiest tenth of 20 bins packets have 882 B of Ethernet, else 200 B.
	var bits, packets []float64
	for bin := range 20 {
		size, pps := 200.0, 1000.0
		if bin == 3 || bin == 11 {
			size, pps = 882, 10_000
		}
		bits, packets = append(bits, 8*size*pps), append(packets, pps)
	}
	for _, tt := range []struct {
		name          string
		layer         analysis.Layer
		bits, packets []float64
		want          float64
		ok            bool
	}{
		{"busy hours", analysis.EthernetLayer, bits, packets, 800, true},
		{"outer", analysis.OuterLayer, bits, packets, 818, true},
		{"not counted", analysis.OuterLayer, bits, nil, 0, true},
		{"one bin", analysis.InnerLayer, []float64{8e6}, []float64{1000}, 1000, true},
		{"gaps", analysis.InnerLayer, []float64{nan, 8e6, 9e9}, []float64{1, 1000, nan}, 1000, true},
		{"no packets", analysis.InnerLayer, []float64{8e6}, []float64{0}, 0, true},
		{"shorter than its headers", analysis.EthernetLayer, []float64{8e6}, []float64{15_000}, 0, false},
		{"longer than IP", analysis.InnerLayer, []float64{8e9}, []float64{1}, 0, false},
		{"counters of thousands", analysis.InnerLayer, []float64{8e6}, []float64{1}, 0, false},
		{"huge", analysis.InnerLayer, []float64{mostBits}, []float64{5e-324}, 0, false},
	} {
		l := layers{overhead: 64, known: true}
		got, ok := l.meanInnerSize(analysis.Demand{Layer: tt.layer, BitsPerSecond: tt.bits, PacketsPerSecond: tt.packets})
		if math.Abs(got-tt.want) > 1e-9 || ok != tt.ok {
			t.Errorf("%s: got %g B, %v, want %g B, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}
