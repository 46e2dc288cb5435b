package unit

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestBitRate(t *testing.T) {
	for text, want := range map[string]float64{
		"350Mbps": 350e6, "350M": 350e6, "350m": 350e6, "1.2G": 1.2e9, "1.2Gbit/s": 1.2e9,
		"350 Mbps": 350e6, "1000": 1000, "1e6": 1e6, "64Kibps": 65536,
	} {
		if got, err := BitRate(text); err != nil || math.Abs(got-want) > 1e-6 {
			t.Errorf("BitRate(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fast", "-1M", "0", "350MB", "350pps", "1e99", "NaN", "Inf", "350Mbps@outer", "0x10"} {
		if got, err := BitRate(text); err == nil {
			t.Errorf("BitRate(%q) = %v, want an error", text, got)
		} else if !strings.Contains(err.Error(), "350Mbps") {
			t.Errorf("BitRate(%q): %v, which does not say what is allowed", text, err)
		}
	}
}

func TestOtherQuantities(t *testing.T) {
	if got, err := Bytes("64KiB"); err != nil || got != 65536 {
		t.Errorf("Bytes(64KiB) = %v, %v", got, err)
	}
	if got, err := Bytes("625kB"); err != nil || got != 625000 {
		t.Errorf("Bytes(625kB) = %v, %v", got, err)
	}
	if got, err := PacketRate("30kpps"); err != nil || got != 30000 {
		t.Errorf("PacketRate(30kpps) = %v, %v", got, err)
	}
	if _, err := PacketRate("30Mbps"); err == nil {
		t.Error("PacketRate(30Mbps): want an error")
	}
	if got, err := Ratio("0.5%"); err != nil || got != 0.005 {
		t.Errorf("Ratio(0.5%%) = %v, %v", got, err)
	}
	if _, err := Ratio("101%"); err == nil {
		t.Error("Ratio(101%): want an error")
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"30": 30 * time.Second, "0.5": 500 * time.Millisecond, "5ms": 5 * time.Millisecond, "0": 0} {
		if got, err := Duration(text); err != nil || got != want {
			t.Errorf("Duration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1s", "NaN", "1e300"} {
		if got, err := Duration(text); err == nil {
			t.Errorf("Duration(%q) = %v, want an error", text, got)
		}
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"60d": 60 * day, "8w": 56 * day, "36h": 36 * time.Hour, "1.5d": 36 * time.Hour, "0": 0, "0d": 0, "1h30m": 90 * time.Minute, "36500d": MostSpan,
	} {
		if got, err := Span(text); err != nil || got != want {
			t.Errorf("Span(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "60", "-1d", "60 months", "1y", "NaNd", "36501d", "5300w", "1e99w", "1d12h"} {
		if got, err := Span(text); err == nil {
			t.Errorf("Span(%q) = %v, want an error", text, got)
		} else if !strings.Contains(err.Error(), "60d, 8w or 36h") {
			t.Errorf("Span(%q): %v, which does not say what is allowed", text, err)
		}
	}
}

func TestLayeredBitRate(t *testing.T) {
	rate, layer, err := LayeredBitRate("350M@outer", Goodput)
	if err != nil || rate != 350e6 || layer != Outer {
		t.Errorf("350M@outer = %v, %v, %v", rate, layer, err)
	}
	if _, layer, _ := LayeredBitRate("350M", Goodput); layer != Goodput {
		t.Errorf("layer of 350M = %v, want goodput", layer)
	}
	if _, _, err := LayeredBitRate("350M@middle", Goodput); err == nil {
		t.Error("350M@middle: want an error")
	}
}

func TestFormatBitRate(t *testing.T) {
	for value, want := range map[float64]string{
		350.1e6: "350.1 Mbit/s", 1.2e9: "1.200 Gbit/s", 40.02e6: "40.02 Mbit/s", 999.99e6: "1.000 Gbit/s", 12: "12 bit/s", 0: "0 bit/s",
	} {
		if got := FormatBitRate(value); got != want {
			t.Errorf("FormatBitRate(%v) = %q, want %q", value, got, want)
		}
	}
}

func FuzzQuantities(f *testing.F) {
	for _, seed := range []string{"350Mbps", "64KiB", "5ms", "60d", "0.5%", "1e9", "350M@outer"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if rate, err := BitRate(text); err == nil && !(rate > 0 && rate <= 100e12) {
			t.Errorf("BitRate(%q) = %v is out of range", text, rate)
		}
		if size, err := Bytes(text); err == nil && size < 0 {
			t.Errorf("Bytes(%q) = %v is negative", text, size)
		}
		if d, err := Duration(text); err == nil && d < 0 {
			t.Errorf("Duration(%q) = %v is negative", text, d)
		}
		if d, err := Span(text); err == nil && (d < 0 || d > MostSpan) {
			t.Errorf("Span(%q) = %v is out of range", text, d)
		}
		if r, err := Ratio(text); err == nil && !(r >= 0 && r <= 1) {
			t.Errorf("Ratio(%q) = %v is out of range", text, r)
		}
	})
}

// K, M and G of iperf3's -l and -w are powers of 1024.
func TestBinaryBytes(t *testing.T) {
	for text, want := range map[string]int{"1372": 1372, "128K": 128 << 10, "128k": 128 << 10, "2M": 2 << 20, "1.5m": 3 << 19, "1G": 1 << 30, "64KiB": 64 << 10} {
		if got, err := BinaryBytes(text); got != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "K", "-1K", "0M", "1X", "1KK"} {
		if got, err := BinaryBytes(text); err == nil || !strings.Contains(err.Error(), "such as") {
			t.Errorf("%q: %d, %v; want an error that says what is allowed", text, got, err)
		}
	}
}
