package report

import (
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
)

func TestFormat(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"rate", formatRate(350.14e6), "350.1 Mbit/s"},
		{"rate below ten", formatRate(9.5e6), "9.500 Mbit/s"},
		{"rate that rounds up a unit", formatRate(999.96e6), "1.000 Gbit/s"},
		{"rate that rounds up a digit", formatRate(9.9997e6), "10.00 Mbit/s"},
		{"rate below one", formatRate(0.5), "0.500 bit/s"},
		{"no rate", formatRate(0), "0 bit/s"},
		{"enormous rate", formatRate(2.5e15), "2,500 Tbit/s"},
		{"bytes", formatBytes(1464), "1.43 KiB"},
		{"few bytes", formatBytes(999), "999 B"},
		{"bucket", formatBytes(65536), "64.0 KiB"},
		{"memory", formatBytes(8 << 30), "8.00 GiB"},
		{"microseconds", formatDuration(512 * time.Microsecond), "512 µs"},
		{"milliseconds", formatDuration(1480 * time.Microsecond), "1.48 ms"},
		{"seconds", formatDuration(41200 * time.Millisecond), "41.2 s"},
		{"minutes", formatDuration(3 * time.Minute), "3m0s"},
		{"no time", formatDuration(0), "0 s"},
		{"shrinking delay", formatDuration(-10 * time.Microsecond), "−10.0 µs"},
		{"no share", formatShare(0), "0 %"},
		{"tiny share", formatShare(1e-6), "< 0.001 %"},
		{"small share", formatShare(0.00021), "0.021 %"},
		{"share", formatShare(0.2306), "23.1 %"},
		{"whole share", formatShare(1), "100 %"},
		{"goal", formatGoal(0.001), "0.1 %"},
		{"more", formatDifference(0.0003), "+0.03 %"},
		{"less", formatDifference(-0.012), "−1.20 %"},
		{"equal", formatDifference(0), "±0 %"},
		{"almost equal", formatDifference(-0.00001), "±0 %"},
		{"count", formatCount(uint64(29893)), "29,893"},
		{"large count", formatCount(1234567), "1,234,567"},
		{"negative count", formatCount(-1234), "-1,234"},
		{"small count", formatCount(7), "7"},
		{"ratio", formatEvidence(analysis.Evidence{Value: 0.99962, Unit: "ratio"}), "0.9996"},
		{"tiny ratio", formatEvidence(analysis.Evidence{Value: 0.0000021, Unit: "ratio"}), "2.1e-06"},
		{"signal in seconds", formatEvidence(analysis.Evidence{Value: 12e-6, Unit: "s"}), "12.0 µs"},
		{"signal in packets", formatEvidence(analysis.Evidence{Value: 1200, Unit: "packets"}), "1,200"},
		{"signal in a new unit", formatEvidence(analysis.Evidence{Value: 1.5, Unit: "cores"}), "1.5 cores"},
		{"span in one unit", span(334.5e6, 335.7e6), "334.5 to 335.7 Mbit/s"},
		{"span in two units", span(999e6, 1.01e9), "999.0 Mbit/s to 1.010 Gbit/s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := strings.ReplaceAll(test.got, nbsp, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestClean(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"plain", " gw-a.example.net ", "gw-a.example.net"},
		{"terminal escape", "a\x1b[2Jb", "a\uFFFD[2Jb"},
		{"line break", "a\nb\tc", "a b c"},
		{"direction of writing", "a\u202eb", "a\uFFFDb"},
		{"not UTF-8", "a\xffb", "a\uFFFDb"},
		{"too long", strings.Repeat("x", maxText+1), strings.Repeat("x", maxText) + "…"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := Clean(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestAxisTicks(t *testing.T) {
	tests := []struct {
		name string
		of   domain
		want string
	}{
		{"from zero", domain{max: 455e6, unit: scale{"Mbit/s", 1e6}}, "0 100 200 300 400"},
		{"far from zero", domain{min: 325e6, max: 345e6, unit: scale{"Mbit/s", 1e6}}, "325 330 335 340 345"},
		{"below one", domain{max: 0.0111, unit: scale{"%", 0.01}}, "0.0 0.5 1.0"},
		{"empty range", domain{unit: scale{"s", 1}}, "0.0 0.2 0.4 0.6 0.8 1.0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, tick := range newAxis(test.of, 0, 500, 100).Ticks {
				got = append(got, tick.Text)
			}
			if got := strings.Join(got, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
