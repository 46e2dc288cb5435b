package demand

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
)

// Whatever a file holds, it is refused or every bin is sound, and there are no more of
// them than ten years have.
func FuzzReadCSV(f *testing.F) {
	for _, seed := range []string{
		"timestamp,bits_per_second\n2026-01-31T10:00:00Z,1000000\n2026-01-31T10:05:00Z,2500000\n",
		"sep=;\ntime;in (Mb/s);out (Mb/s)\n2026-01-31 10:00;1,5;2\n2026-01-31 10:05;-;3\n",
		counted("time,ifInOctets,ifInUcastPkts", wrap-10, 5, 3, 900),
		"ts\tpps\tbps\n1769853600\t1\t8000\n1769853610\t\t8000\n",
		"1769853600000,1 kB/s\n1769853000000,2 kB/s\n",
		"#\n\"time\",\"a \"\"rate\"\"\"\n2025-10-26 02:30:00,350 Mbps\n2025-10-26 02:30:00,350 Mbps\n",
	} {
		f.Add(seed, "", "")
		f.Add(seed, "bytes", "2")
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, unit, column string) {
		o := Options{Layer: analysis.OuterLayer, Unit: unit, Columns: Columns{Rate: column}, Location: berlin}
		d, err := ReadCSV(strings.NewReader(text), o)
		if err != nil {
			if strings.Contains(err.Error(), "internal error") || len(err.Error()) > 2000 {
				t.Errorf("message of %d bytes: %.2000s", len(err.Error()), err)
			}
			return
		}
		sound(t, d.Forward)
		if d.Reverse != nil {
			sound(t, *d.Reverse)
			if !d.Reverse.Start.Equal(d.Forward.Start) || len(d.Reverse.BitsPerSecond) != len(d.Forward.BitsPerSecond) {
				t.Errorf("the ways have other bins: %v and %v", d.Forward, *d.Reverse)
			}
		}
		if d.Samples < 2 || d.Samples > strings.Count(text, "\n")+1 || len(d.SHA256) != 64 {
			t.Errorf("%d samples, hash %q", d.Samples, d.SHA256)
		}
	})
}

func sound(t *testing.T, d analysis.Demand) {
	t.Helper()
	bins := len(d.BitsPerSecond)
	if bins == 0 || bins > int(mostSpan/d.Step)+2 || d.Step < 5*time.Minute || d.Step > time.Hour || d.Spacing <= 0 || d.Layer != analysis.OuterLayer {
		t.Errorf("%d bins of %v, spacing %v, layer %s", bins, d.Step, d.Spacing, d.Layer)
	}
	if d.PacketsPerSecond != nil && len(d.PacketsPerSecond) != bins || d.PeakBitsPerSecond != nil && len(d.PeakBitsPerSecond) != bins {
		t.Errorf("%d bins, packets %d, peaks %d", bins, len(d.PacketsPerSecond), len(d.PeakBitsPerSecond))
	}
	for _, values := range [][]float64{d.BitsPerSecond, d.PacketsPerSecond, d.PeakBitsPerSecond} {
		for bin, value := range values {
			if !(value >= 0 && value <= mostRate*(1+1e-9)) && !math.IsNaN(value) {
				t.Errorf("bin %d: %v", bin, value)
			}
		}
	}
	for bin, peak := range d.PeakBitsPerSecond {
		if d.Known(bin) && peak < d.BitsPerSecond[bin]*(1-1e-9) {
			t.Errorf("bin %d: peak %v below mean %v", bin, peak, d.BitsPerSecond[bin])
		}
	}
}

// A series that is written reads back as it was, as a rate, as a counter, forward and
// backward.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0, 255, 255, 0, 9}, uint32(1769853600), false)
	f.Add([]byte{9, 8, 7}, uint32(700000000), true)
	f.Fuzz(func(t *testing.T, rates []byte, start uint32, backward bool) {
		const least, step = 600_000_000, 300
		begin := int64(max(start, least)) / step * step
		if len(rates) < 3 || len(rates) > 5000 || rates[0] == 0 || rates[len(rates)-1] == 0 {
			return
		}
		var gauge, counter []string
		total := 0
		for i, rate := range rates { // Zero stands for a gap.
			at := begin + int64(i)*step
			gauge = append(gauge, fmt.Sprintf("%d,%s", at, map[bool]string{true: "", false: fmt.Sprint(8 * int(rate))}[rate == 0]))
			counter = append(counter, fmt.Sprintf("%d,%d", at, total))
			total += int(rate) * step
		}
		counter = append(counter, fmt.Sprintf("%d,%d", begin+int64(len(rates))*step, total))
		if backward {
			reverseText(gauge)
			reverseText(counter)
		}
		g, err := ReadCSV(strings.NewReader("time,bps\n"+strings.Join(gauge, "\n")), outer)
		if known := len(rates) - bytes.Count(rates, []byte{0}); err != nil || g.Samples != known || g.Forward.Start.Unix() != begin {
			t.Fatalf("rates: %v, %d samples of %d", err, g.Samples, known)
		}
		c, err := ReadCSV(strings.NewReader("time,bytes\n"+strings.Join(counter, "\n")), outer)
		if err != nil || c.Forward.Start.Unix() != begin {
			t.Fatalf("counter: %v, from %v", err, c.Forward.Start)
		}
		for bin, rate := range rates {
			if want := 8 * float64(rate); rate > 0 && g.Forward.BitsPerSecond[bin] != want || rate == 0 && g.Forward.Known(bin) || math.Abs(c.Forward.BitsPerSecond[bin]-want) > 1e-6 {
				t.Errorf("bin %d: rate %v, counter %v, want %v", bin, g.Forward.BitsPerSecond[bin], c.Forward.BitsPerSecond[bin], want)
			}
		}
	})
}

func reverseText(lines []string) {
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
}

// Cells are those that encoding/csv finds in the same line.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`a,b`, `"a ""b""",c`, `,,`, `"a"b,c`, `a"b,c`, ` "a" ,b`, `"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") || strings.TrimSpace(line) == "" {
			return
		}
		cells, err := split(nil, []byte(line), ',')
		r := csv.NewReader(strings.NewReader(line))
		want, wantErr := r.Read()
		if wantErr != nil || strings.ContainsFunc(line, isSpace) || len(want) > mostCells {
			return // Ours allows space around quotes, and quotes inside of a cell.
		}
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if got := texts(cells); strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	})
}

func isSpace(r rune) bool { return strings.TrimSpace(string(r)) == "" }
