package capacity

import (
	"math"
	"testing"

	"tunnelmark/analysis"
)

// modelled are ceilings of a device that takes a time for each packet and each byte, in
// seconds.
func modelled(perPacket, perByte float64, sizes ...int) []analysis.Ceiling {
	var all []analysis.Ceiling
	for _, size := range sizes {
		all = append(all, *ceiling(size, analysis.SizeModel{PerPacket: perPacket, PerByte: perByte}.InnerBitsPerSecond(float64(size))))
	}
	return all
}

func TestFitSizes(t *testing.T) {
	bent := append(modelled(1e-5, 1e-8, 256, 1400), modelled(0, 2e-8, 700)...)
	for _, tt := range []struct {
		name               string
		ceilings           []analysis.Ceiling
		perPacket, perByte float64
		worst              float64 // Least and most of the error are this and 1.5 times it.
	}{
		{"CPU", modelled(1e-5, 1e-8, 256, 512, 1400), 1e-5, 1e-8, 0},
		{"two sizes", modelled(1e-5, 1e-8, 1400, 64), 1e-5, 1e-8, 0},
		{"packets", modelled(1e-5, 0, 256, 512, 1400), 1e-5, 0, 0},
		{"bytes", modelled(0, 2e-8, 256, 512, 1400), 0, 2e-8, 0},
		// 350 Mbit/s of outer packets: 64 B more each.
		{"policer", modelled(64*8/350e6, 8/350e6, 128, 700, 1400), 64 * 8 / 350e6, 8 / 350e6, 0},
		// Faster per byte with small packets than with large: nothing takes less than no time.
		{"less than none per packet", append(modelled(0, 1e-8, 256), modelled(0, 1.2e-8, 1400)...), 0, 1.08e-8, 0.08},
		{"less than none per byte", append(modelled(1.2e-5, 0, 256), modelled(1e-5, 0, 1400)...), 1.08e-5, 0, 0.07},
		{"no line", bent, math.NaN(), math.NaN(), 0.08},
	} {
		m := fitSizes(tt.ceilings)
		if m == nil {
			t.Fatalf("%s: got no model", tt.name)
		}
		near := func(got, want float64) bool { return math.IsNaN(want) || math.Abs(got-want) <= 0.01*want+1e-15 }
		if !near(m.PerPacket, tt.perPacket) || !near(m.PerByte, tt.perByte) || m.Error < tt.worst || m.Error > 1.6*tt.worst+1e-9 {
			t.Errorf("%s: got %g s per packet, %g s per byte, error %.3f, want %g, %g, %.3f", tt.name, m.PerPacket, m.PerByte, m.Error, tt.perPacket, tt.perByte, tt.worst)
		}
	}
}

func TestNoSizeModel(t *testing.T) {
	open := modelled(1e-5, 1e-8, 256, 1400)
	open[0].InnerUpperBitsPerSecond = 0
	generator := modelled(1e-5, 1e-8, 256, 1400)
	generator[1].GeneratorLimited = true
	for name, ceilings := range map[string][]analysis.Ceiling{
		"one size": modelled(1e-5, 1e-8, 1400), "one size twice": modelled(1e-5, 1e-8, 1400, 1400), "no limit found": open, "generator": generator,
	} {
		if m := fitSizes(ceilings); m != nil {
			t.Errorf("%s: got a model %+v", name, *m)
		}
	}
}

func FuzzFitSizes(f *testing.F) {
	f.Add(350e6, 200e6, 100e6, 1400, 512, 64)
	f.Add(1e15, 1.0, 1e15, 20, 21, 65535)
	f.Add(1.0, 1e15, 1.0, 20, 21, 65535)
	f.Fuzz(func(t *testing.T, r1, r2, r3 float64, s1, s2, s3 int) {
		var all []analysis.Ceiling
		for i, rate := range []float64{r1, r2, r3} {
			c := ceiling([]int{s1, s2, s3}[i], rate)
			if (Measured{Ceiling: c}).check() != nil {
				return
			}
			all = append(all, *c)
		}
		m := fitSizes(all)
		if m == nil {
			return
		}
		if !(m.PerPacket >= 0 && m.PerByte >= 0 && m.PerPacket+m.PerByte > 0) || !(m.Error >= 0) || math.IsInf(m.Error, 0) {
			t.Errorf("%v: got %+v", all, *m)
		}
		got := tunnel{ceilings: all, model: m}.capacity(800)
		if !(got.LowBitsPerSecond <= got.LikelyBitsPerSecond && got.LikelyBitsPerSecond <= got.HighBitsPerSecond) || math.IsInf(got.HighBitsPerSecond, 0) {
			t.Errorf("%v: got %+v", all, got)
		}
	})
}

func TestCapacityOfASize(t *testing.T) {
	rising := *ceiling(1400, 300e6)
	rising.InnerLowerBitsPerSecond = 310e6 // Up to there no loss, though under overload less passes.
	bursts := *ceiling(1400, 300e6)
	bursts.InnerUpperBitsPerSecond = 290e6 // Loses earlier, in bursts.
	open := *ceiling(1400, 300e6)
	open.InnerUpperBitsPerSecond = 0
	unheld := *ceiling(1400, 300e6)
	unheld.InnerLowerBitsPerSecond = 0
	cpu := tunnel{ceilings: modelled(1e-5, 1e-8, 1400, 512, 256)}
	cpu.model = fitSizes(cpu.ceilings)
	for _, tt := range []struct {
		name              string
		tunnel            tunnel
		size              float64
		low, likely, high float64 // In Mbit/s.
		basis             string
	}{
		{"measured", tunnel{ceilings: []analysis.Ceiling{*ceiling(1400, 300e6)}}, 0, 299.4, 300, 300.9, "measured with 1400 B packets"},
		{"of another size", tunnel{ceilings: []analysis.Ceiling{*ceiling(1400, 300e6)}}, 640, 299.4, 300, 300.9, "measured with 1400 B packets; those of the demand have 640 B on average"},
		{"figure below its interval", tunnel{ceilings: []analysis.Ceiling{rising}}, 1400, 300, 300, 300.9, "measured with 1400 B packets"},
		{"figure above its interval", tunnel{ceilings: []analysis.Ceiling{bursts}}, 1400, 299.4, 300, 300, "measured with 1400 B packets"},
		{"no load failed", tunnel{ceilings: []analysis.Ceiling{open}}, 1400, 299.4, 300, 0, "measured with 1400 B packets"},
		{"no load passed", tunnel{ceilings: []analysis.Ceiling{unheld}}, 1400, 300, 300, 300.9, "measured with 1400 B packets"},
		{"modelled", cpu, 1000, 399.2, 400, 401.2, "by the model of what was measured with 256, 512, 1400 B packets, for 1000 B on average"},
		{"mean size not known", cpu, 0, 0.998 * 466.667, 466.667, 1.003 * 466.667, "measured with 1400 B packets"},
	} {
		got := tt.tunnel.capacity(tt.size)
		near := func(a, mbps float64) bool { return math.Abs(a/1e6-mbps) < 0.01 }
		if !near(got.LowBitsPerSecond, tt.low) || !near(got.LikelyBitsPerSecond, tt.likely) || !near(got.HighBitsPerSecond, tt.high) || got.Basis != tt.basis {
			t.Errorf("%s: got %+v, want %g, %g, %g Mbit/s, %q", tt.name, got, tt.low, tt.likely, tt.high, tt.basis)
		}
	}
	for size, want := range map[float64]bool{0: false, 255: true, 256: false, 1400: false, 1401: true} {
		if got := cpu.outside(size); got != want {
			t.Errorf("%g B outside of what was measured: got %v, want %v", size, got, want)
		}
	}
}

func TestModelWidensTheRange(t *testing.T) {
	bent := tunnel{ceilings: append(modelled(1e-5, 1e-8, 256, 1400), modelled(0, 2e-8, 700)...)}
	bent.model = fitSizes(bent.ceilings)
	got := bent.capacity(900)
	if up := got.HighBitsPerSecond/got.LikelyBitsPerSecond - 1; up < bent.model.Error || got.LikelyBitsPerSecond/got.LowBitsPerSecond-1 < bent.model.Error {
		t.Errorf("got %+v, want at least the model's error of %.3f on both sides", got, bent.model.Error)
	}
}

func TestNewTunnelGathersSizes(t *testing.T) {
	first := Measured{From: "a", To: "b", Setup: usual, Ceiling: ceiling(1400, 300e6)}
	cipher, available := usual, ceiling(256, 100e6)
	cipher.Suite, available.Meaning = "chacha20-poly1305", analysis.Available
	tun := newTunnel(first, []Measured{
		first,
		{From: "a", To: "b", Setup: usual, Ceiling: ceiling(512, 200e6)},
		{From: "b", To: "a", Setup: usual, Ceiling: ceiling(513, 200e6)},
		{From: "a", To: "b", Setup: cipher, Ceiling: ceiling(514, 200e6)},
		{From: "a", To: "b", Setup: usual, Ceiling: available},
		{From: "a", To: "b", Setup: usual},
	})
	if len(tun.ceilings) != 2 || tun.ceilings[0].InnerSize != 1400 || tun.ceilings[1].InnerSize != 512 || tun.model == nil {
		t.Errorf("got %+v, want the sizes 1400 and 512 alone", tun)
	}
}
