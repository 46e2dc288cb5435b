package demand

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tunnelmark/analysis"
)

var outer = Options{Layer: analysis.OuterLayer}

// sameRates compares bins: unknown ones are equal, others nearly so.
var sameRates = cmp.Options{cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-9, 0)}

var unknown = math.NaN()

func mustRead(t *testing.T, text string, o Options) Demands {
	t.Helper()
	d, err := ReadCSV(strings.NewReader(text), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return d
}

// backbone reads the demand of a national academic backbone, which tests of the plan share.
func backbone(t *testing.T) []byte {
	t.Helper()
	file, err := os.Open("../../../analysis/capacity/testdata/demand-uk-academic-5min.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Real demand is five minutes apart without a gap.
func TestReadRealDemand(t *testing.T) {
	content := backbone(t)
	d, err := ReadCSV(bytes.NewReader(content), Options{Layer: analysis.EthernetLayer, Scale: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(content)
	f := d.Forward
	if d.Samples != 19888 || len(f.BitsPerSecond) != 19888 || d.SHA256 != hex.EncodeToString(hash[:]) || f.Layer != analysis.EthernetLayer || d.Reverse != nil {
		t.Errorf("samples %d, bins %d, hash %s, layer %s", d.Samples, len(f.BitsPerSecond), d.SHA256, f.Layer)
	}
	if !f.Start.Equal(time.Date(2004, 11, 19, 9, 30, 0, 0, time.UTC)) || !f.End().Equal(time.Date(2005, 1, 27, 10, 50, 0, 0, time.UTC)) || f.Step != 5*time.Minute || f.Spacing != f.Step {
		t.Errorf("from %v to %v, step %v, spacing %v", f.Start, f.End(), f.Step, f.Spacing)
	}
	for bin := range f.BitsPerSecond {
		if !f.Known(bin) {
			t.Errorf("bin %d is unknown", bin)
		}
	}
	if f.BitsPerSecond[0] != 4838665000*0.5 || f.BitsPerSecond[19887] != 6511014000*0.5 || f.PeakBitsPerSecond != nil || f.PacketsPerSecond != nil {
		t.Errorf("first %v, last %v, peaks %v", f.BitsPerSecond[0], f.BitsPerSecond[19887], f.PeakBitsPerSecond)
	}
	want := []string{`Column 2 "bits_per_second" was read as the demand, in bits/s.`}
	if diff := cmp.Diff(want, d.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestReadForms(t *testing.T) {
	start := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	for name, text := range map[string]string{
		"plain":               "timestamp,bits_per_second\n2026-01-31T10:00:00Z,1000000\n2026-01-31T10:05:00Z,2500000\n",
		"mark, CRLF, no end":  "\ufefftime,bps\r\n2026-01-31T10:00:00Z,1000000\r\n2026-01-31T10:05:00Z,2500000",
		"decimal commas":      "time;Mbps\n2026-01-31 10:00:00;1,0\n2026-01-31 10:05:00;2,5\n",
		"tabs, minutes":       "Date\tTraffic (Mbit/s)\n2026-01-31 10:00\t1\n2026/01/31 10:05\t2.5\n",
		"comments and blanks": "# by hand\n\n_time,kbps\n2026-01-31T10:00:00Z,1e3\n  \n# more\n2026-01-31T10:05:00Z,2500\n",
		"backward":            "time,bps\n2026-01-31T10:05:00Z,2500000\n2026-01-31T10:00:00Z,1000000\n",
		"another zone":        "time,bps\n2026-01-31T11:00:00+01:00,1000000\n2026-01-31 11:05:00 +0100,2500000\n",
		"named zone":          "time,bps\n2026-01-31 10:00:00 UTC,1000000\n2026-01-31 10:05:00+00,2500000\n",
		"Unix seconds":        "ts,bps\n1769853600,1000000\n1769853900,2500000\n",
		"Unix milliseconds":   "ts,bps\n1769853600000,1000000\n1769853900000,2500000\n",
		"Unix nanoseconds":    "ts,bps\n1769853600000000000,1000000\n1769853900000000000,2500000\n",
		"units in cells":      "time,rate\n2026-01-31T10:00:00Z,1 Mbps\n2026-01-31T10:05:00Z,2.5 Mbps\n",
		"prefixes in cells":   "time,rate\n2026-01-31T10:00:00Z,1M\n2026-01-31T10:05:00Z,2.5M\n",
		"bytes":               "time,rate (MB/s)\n2026-01-31T10:00:00Z,0.125\n2026-01-31T10:05:00Z,0.3125\n",
		"quotes and sep=":     "sep=;\n\"time\";\"in \"\"bps\"\"\"\n\"2026-01-31T10:00:00Z\" ; \"1000000\"\n2026-01-31T10:05:00Z;\"2500000\"\n",
		"no header":           "2026-01-31T10:00:00Z,1000000 bps\n2026-01-31T10:05:00Z,2500000 bps\n",
		"twice":               "time,bps\n2026-01-31T10:00:00Z,1000000\n2026-01-31T10:00:00Z,1000000\n2026-01-31T10:05:00Z,2500000\n",
		"extremes beside":     "time,max bps,avg bps,errors\n2026-01-31T10:00:00Z,7,1000000,0\n2026-01-31T10:05:00Z,7,2500000,0\n",
	} {
		d, err := ReadCSV(strings.NewReader(text), outer)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := analysis.Demand{Layer: analysis.OuterLayer, Start: start, Step: 5 * time.Minute, Spacing: 5 * time.Minute, BitsPerSecond: []float64{1e6, 2.5e6}}
		if diff := cmp.Diff(want, d.Forward, sameRates); diff != "" || d.Samples != 2 {
			t.Errorf("%s: samples %d (-want +got):\n%s", name, d.Samples, diff)
		}
	}
}

// Whatever is wrong with a file, the message names where and what is allowed.
func TestReadRefuses(t *testing.T) {
	const head = "time,bps\n2026-01-31T10:00:00Z,1\n2026-01-31T10:05:00Z,2\n"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":                 {"", []string{"empty"}},
		"comments alone":        {"# nothing\n\n", []string{"empty"}},
		"header alone":          {"time,bps\n", []string{"fewer than 2 samples"}},
		"one sample":            {"time,bps\n2026-01-31T10:00:00Z,1\n", []string{"fewer than 2 samples"}},
		"gaps alone":            {"time,bps\n2026-01-31T10:00:00Z,\n2026-01-31T10:05:00Z,-\n", []string{`"bps"`, "fewer than 2 samples"}},
		"one column":            {"time\n2026-01-31T10:00:00Z\n", []string{"line 1", "one cell"}},
		"UTF-16":                {"\xff\xfet\x00i\x00", []string{"UTF-16", "UTF-8"}},
		"mixed units":           {"time,rate\n2026-01-31T10:00:00Z,350 Mbps\n2026-01-31T10:05:00Z,1.2 Gbps\n", []string{"line 3", "line 2", `"Gbps"`, `"Mbps"`}},
		"unit on some":          {"time,bps\n2026-01-31T10:00:00Z,350\n2026-01-31T10:05:00Z,1.2G\n", []string{"line 3", "line 2", `"G"`}},
		"unit of an amount":     {"time,rate\n2026-01-31T10:00:00Z,350 MB\n2026-01-31T10:05:00Z,1 MB\n", []string{"line 2", `"MB"`, "per second"}},
		"unit unknown":          {"time,rate\n2026-01-31T10:00:00Z,350\n2026-01-31T10:05:00Z,351\n", []string{"line 2", "--demand-unit", "Mbit/s"}},
		"unit of something":     {"time,rate\n2026-01-31T10:00:00Z,350 apples\n", []string{"line 2", `"apples"`, "Mbps"}},
		"unsorted":              {head + "2026-01-31T10:02:00Z,2\n", []string{"line 4", "line 3", "sort"}},
		"unsorted backward":     {"time,bps\n2026-01-31T10:05:00Z,1\n2026-01-31T10:00:00Z,2\n2026-01-31T10:01:00Z,2\n", []string{"line 4", "line 3", "after", "sort"}},
		"same time":             {head + "2026-01-31T10:05:00Z,3\n", []string{"line 3", "line 4", "same time", "one series"}},
		"negative":              {head + "2026-01-31T10:10:00Z,-5\n", []string{"line 4", `"bps"`, `"-5"`, "0 or more"}},
		"infinite":              {head + "2026-01-31T10:10:00Z,Inf\n", []string{"line 4", `"Inf"`, "not a number"}},
		"infinite by exponent":  {head + "2026-01-31T10:10:00Z,1e999\n", []string{"line 4", `"1e999"`}},
		"too high":              {head + "2026-01-31T10:10:00Z,1e16\n", []string{"line 4", "petabit"}},
		"hexadecimal":           {head + "2026-01-31T10:10:00Z,0x10\n", []string{"line 4", `"0x10"`}},
		"text":                  {head + "2026-01-31T10:10:00Z,fast\n", []string{"line 4", `"fast"`, "350 Mbps", "null"}},
		"time":                  {head + "tomorrow,5\n", []string{"line 4", `"tomorrow"`, "2026-01-31 15:04:05"}},
		"time missing":          {head + ",5\n", []string{"line 4", "time"}},
		"American time":         {head + "01/31/2026 10:10,5\n", []string{"line 4", "01/31/2026"}},
		"time of a child":       {head + "300,5\n", []string{"line 4", "1988"}},
		"cells missing":         {head + "2026-01-31T10:10:00Z\n", []string{"line 4", "1 cells", "2"}},
		"cells too many":        {head + "2026-01-31T10:10:00Z,1,5\n", []string{"line 4", "3 cells"}},
		"quote not closed":      {head + "2026-01-31T10:10:00Z,\"5\n6,7\n", []string{"line 4", "quote"}},
		"text after a quote":    {head + "2026-01-31T10:10:00Z,\"5\"6\n", []string{"line 4", "quote"}},
		"thousands apart":       {"time;bps\n2026-01-31T10:00:00Z;1.234,5\n", []string{"line 2", "decimal mark"}},
		"two decimal marks":     {"time;bps\n2026-01-31T10:00:00Z;1,5\n2026-01-31T10:05:00Z;1.5\n", []string{"line 3", "line 2", "decimal mark"}},
		"days apart":            {"date,bps\n2026-01-30,1\n2026-01-31,2\n", []string{"24h0m0s", "busy hour", "hour"}},
		"decades apart":         {"time,bps\n2006-01-31T10:00:00Z,1\n2026-01-31T10:05:00Z,2\n", []string{"line 3", "line 2", "ten years"}},
		"no time column":        {"when,bps\n1,2\n", []string{`1 "when"`, `2 "bps"`, "--time-column"}},
		"two time columns":      {"start time,end time,bps\n1,2,3\n", []string{`"start time"`, `"end time"`, "--time-column"}},
		"no rate column":        {"time,apples\n1,2\n", []string{`"apples"`, "--rate-column"}},
		"two rate columns":      {"time,wan1 bps,wan2 bps\n1,2,3\n", []string{`"wan1 bps"`, `"wan2 bps"`, "--rate-column"}},
		"no header, three":      {"2026-01-31T10:00:00Z,1,2\n", []string{"--rate-column", "1, 2, 3"}},
		"no header, no unit":    {"2026-01-31T10:00:00Z,1\n2026-01-31T10:05:00Z,1\n", []string{"line 1", "--demand-unit"}},
		"no packets' size":      {"time,bps,pps\n2026-01-31T10:00:00Z,1000,1000\n2026-01-31T10:05:00Z,1000,1000\n", []string{"0.125 B", `"pps"`}},
		"amounts for intervals": {amounts(), []string{"falls in 5 of 10", "ifHCInOctets", "--demand-unit B/s", "--scale"}},
		"long line":             {"time,bps\n" + strings.Repeat("x", mostLine) + "\n", []string{"line 2", "longer"}},
		"many cells":            {strings.Repeat(",", mostCells) + "\n", []string{"line 1", "cells"}},
		"counter of 128 bits":   {"time,bytes\n2026-01-31T10:00:00Z,1e30\n", []string{"line 2", "64-bit"}},
		"counter with a unit":   {"time,bytes\n2026-01-31T10:00:00Z,350 Mbps\n", []string{"line 2", "counter", "--demand-unit"}},
		"counter that leaps":    {"time,bytes\n2026-01-31T10:00:00Z,1\n2026-01-31T10:00:01Z,1e18\n", []string{"line 3", "petabit"}},
	} {
		_, err := ReadCSV(strings.NewReader(c.text), outer)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "internal") || len(err.Error()) > 500 {
			t.Errorf("%s: %d bytes of message: %v", name, len(err.Error()), err)
		}
	}
}

// amounts are bytes for each interval, which look like a counter by name.
func amounts() string {
	text := "time,bytes\n"
	for i := range 11 {
		text += fmt.Sprintf("%d,%d\n", 1769853600+300*i, 5000+i%2*100)
	}
	return text
}

func TestOptionsRefused(t *testing.T) {
	const text = "time,a,b\n2026-01-31T10:00:00Z,1,100\n2026-01-31T10:05:00Z,2,100\n"
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no layer":          {func(o *Options) { o.Layer = "" }, "inner, outer or l2"},
		"layer":             {func(o *Options) { o.Layer = "middle" }, "inner, outer or l2"},
		"unit":              {func(o *Options) { o.Unit = "apples" }, "Mbit/s"},
		"unit of an amount": {func(o *Options) { o.Unit = "Mbit" }, "Mbit/s"},
		"unit of a letter":  {func(o *Options) { o.Unit = "B" }, "bytes"},
		"long unit":         {func(o *Options) { o.Unit = strings.Repeat("x", 5000) }, `xxx..." is not one of`},
		"scale below zero":  {func(o *Options) { o.Scale = -1 }, "scale"},
		"scale infinite":    {func(o *Options) { o.Scale = math.Inf(1) }, "scale"},
		"scale no number":   {func(o *Options) { o.Scale = math.NaN() }, "scale"},
		"no such column":    {func(o *Options) { o.Columns.Rate = "c" }, `1 "time", 2 "a", 3 "b"`},
		"number too high":   {func(o *Options) { o.Columns.Rate = "4" }, `no column "4"`},
		"number zero":       {func(o *Options) { o.Columns.Rate = "0" }, `no column "0"`},
		"column twice":      {func(o *Options) { o.Columns.Rate, o.Columns.ReverseRate = "a", "2" }, "--reverse-column"},
		"time is the rate":  {func(o *Options) { o.Columns.Rate = "time" }, "--time-column"},
		"packets of none":   {func(o *Options) { o.Columns.Rate, o.Columns.ReversePackets = "a", "b" }, "--reverse-column"},
	} {
		o := outer
		c.change(&o)
		if _, err := ReadCSV(strings.NewReader(text), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// Reading fails as the file does.
func TestReadPassesOnErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := ReadCSV(iotest.ErrReader(broken), outer)
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the file", err)
	}
}

func TestGapsStayGaps(t *testing.T) {
	text := "time,bps,out_pps\n"
	for _, cell := range []string{"1000", "", "null", "NaN", "U", "-", "-nan", "N/A"} {
		text += fmt.Sprintf("%d,%s,\n", 1769853600+300*strings.Count(text, "\n"), cell)
	}
	text += "1769857200,2000,\n" // Four bins without a row before it.
	d := mustRead(t, text, outer)
	want := []float64{1000, unknown, unknown, unknown, unknown, unknown, unknown, unknown, unknown, unknown, unknown, 2000}
	if diff := cmp.Diff(want, d.Forward.BitsPerSecond, sameRates); diff != "" || d.Samples != 2 {
		t.Errorf("samples %d (-want +got):\n%s", d.Samples, diff)
	}
	if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, "83 % of the time holds no samples: gaps 1, the longest 50m0s from 2026-01-31 10:10") {
		t.Errorf("notes: %s", notes)
	}
}

func TestBothWaysAndPackets(t *testing.T) {
	text := "time,in_bps,out_bps,in_pps,out_pps\n1769853600,8000,16000,10,20\n1769853900,8000,,10,20\n1769854200,8000,16000,10,20\n"
	d := mustRead(t, text, outer)
	if diff := cmp.Diff([]float64{16000, unknown, 16000}, d.Forward.BitsPerSecond, sameRates); diff != "" {
		t.Errorf("forward (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{8000, 8000, 8000}, d.Reverse.BitsPerSecond); diff != "" {
		t.Errorf("reverse (-want +got):\n%s", diff)
	}
	if d.Forward.PacketsPerSecond[0] != 20 || d.Reverse.PacketsPerSecond[0] != 10 {
		t.Errorf("packets %v and %v", d.Forward.PacketsPerSecond, d.Reverse.PacketsPerSecond)
	}
	if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, `3 "out_bps" was taken as the demand and 2 "in_bps" as the way back`) || !strings.Contains(notes, "--reverse-column") {
		t.Errorf("notes: %s", notes)
	}

	o := outer
	o.Columns = Columns{Rate: "IN_BPS", ReverseRate: "3", Packets: "in_pps"}
	d = mustRead(t, text, o)
	if d.Forward.BitsPerSecond[0] != 8000 || d.Reverse.BitsPerSecond[0] != 16000 || d.Forward.PacketsPerSecond[0] != 10 {
		t.Errorf("named columns: %+v and %+v", d.Forward, d.Reverse)
	}
}

// Gaps of either way are told, each with its way.
func TestGapsOfBothWays(t *testing.T) {
	text := "time,out_bps,in_bps\n1769853600,8000,\n1769853900,,16000\n1769854200,8000,\n1769854500,8000,16000\n"
	d := mustRead(t, text, outer)
	notes := strings.Join(d.Notes, "\n")
	for _, want := range []string{
		"25 % of the time holds no samples: gaps 1, the longest 5m0s from 2026-01-31 10:05.",
		"50 % of the time holds no samples of the way back: gaps 2, the longest 5m0s from 2026-01-31 10:00.",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes do not say %q:\n%s", want, notes)
		}
	}
}

// A column that holds nothing is as good as none.
func TestEmptyColumns(t *testing.T) {
	d := mustRead(t, "time,in_bps,out_bps,out_pps\n1769853600,,16000,\n1769853900,,16000,\n", outer)
	if d.Reverse != nil || d.Forward.PacketsPerSecond != nil {
		t.Errorf("reverse %v, packets %v; want none", d.Reverse, d.Forward.PacketsPerSecond)
	}
	for _, want := range []string{`2 "in_bps": it holds no numbers`, `4 "out_pps": it holds no numbers`} {
		if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, want) {
			t.Errorf("notes %s do not say %s", notes, want)
		}
	}
}

// Files of one span take the same memory, however many rows they have.
func TestMemoryIsThatOfTheSpan(t *testing.T) {
	allocations := func(rows int) float64 {
		text := []byte("time,bps,pps\n")
		for i := range rows {
			text = fmt.Appendf(text, "%d,8000,10\n", 1769853600+i*100_000/rows)
		}
		return testing.AllocsPerRun(2, func() {
			if _, err := ReadCSV(bytes.NewReader(text), outer); err != nil {
				t.Fatal(err)
			}
		})
	}
	if few, many := allocations(2000), allocations(50_000); many > few+20 {
		t.Errorf("%v allocations for 2,000 rows, %v for 50,000", few, many)
	}
}

// Samples finer than a minute show bursts; a bin is their mean.
func TestFineSamplesKeepPeaks(t *testing.T) {
	text := "time,kbps\n"
	for i := range 60 {
		text += fmt.Sprintf("%d,%d\n", 1769853600+10*i, 100+i)
	}
	d := mustRead(t, text, Options{Layer: analysis.InnerLayer, Scale: 2}).Forward
	if diff := cmp.Diff([]float64{2 * 114.5e3, 2 * 144.5e3}, d.BitsPerSecond, sameRates); diff != "" {
		t.Errorf("means (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{2 * 129e3, 2 * 159e3}, d.PeakBitsPerSecond, sameRates); diff != "" || d.Spacing != 10*time.Second {
		t.Errorf("spacing %v, peaks (-want +got):\n%s", d.Spacing, diff)
	}
}

// Bins are as long as the samples are apart, and begin with the local hour.
func TestBinsFollowSpacing(t *testing.T) {
	zone := time.FixedZone("", 5*3600+1800)
	for spacing, want := range map[int]time.Duration{60: 5 * time.Minute, 302: 5 * time.Minute, 420: 10 * time.Minute, 3600: time.Hour} {
		text := "time,bps\n"
		for i := range 1500 {
			text += fmt.Sprintf("%d,1000\n", 1769853600+spacing*i)
		}
		d := mustRead(t, text, Options{Layer: analysis.OuterLayer, Location: zone}).Forward
		if d.Step != want || d.Spacing != time.Duration(spacing)*time.Second || d.Start.Sub(d.Start.Truncate(time.Hour)) != 30*time.Minute && want == time.Hour {
			t.Errorf("spacing %d s: step %v, spacing %v, start %v", spacing, d.Step, d.Spacing, d.Start)
		}
		for bin := range d.BitsPerSecond {
			// Seven minutes in bins of ten, 302 s in bins of 300: none is passed over.
			if d.BitsPerSecond[bin] != 1000 {
				t.Errorf("spacing %d s: bin %d is %v", spacing, bin, d.BitsPerSecond[bin])
			}
		}
	}
}

// Where clocks are put back, an hour comes twice without a zone to tell it; where they
// are put forward, one never comes.
func TestSummerTime(t *testing.T) {
	berlin := mustLoad(t, "Europe/Berlin")
	o := Options{Layer: analysis.OuterLayer, Location: berlin}
	var rows []string
	for at := time.Date(2025, 10, 26, 1, 0, 0, 0, berlin); len(rows) < 60; at = at.Add(5 * time.Minute) {
		rows = append(rows, fmt.Sprintf("%s,%d", at.Format("2006-01-02 15:04:05"), 1000+len(rows)))
	}
	want := mustRead(t, "time,bps\n"+strings.Join(rows, "\n"), o)
	if len(want.Forward.BitsPerSecond) != 60 || want.Forward.BitsPerSecond[59] != 1059 || !strings.Contains(strings.Join(want.Notes, ""), "Europe/Berlin") {
		t.Errorf("%d bins, notes %q", len(want.Forward.BitsPerSecond), want.Notes)
	}
	for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
		rows[i], rows[j] = rows[j], rows[i]
	}
	got := mustRead(t, "time,bps\n"+strings.Join(rows, "\n"), o)
	if diff := cmp.Diff(want.Forward, got.Forward, cmp.Comparer(func(a, b *time.Location) bool { return a == b })); diff != "" {
		t.Errorf("backward (-forward +backward):\n%s", diff)
	}

	_, err := ReadCSV(strings.NewReader("time,bps\n2026-03-29 02:30:00,1\n2026-03-29 03:00:00,1\n"), o)
	if err == nil || !strings.Contains(err.Error(), "does not exist in Europe/Berlin") {
		t.Errorf("a time that never came: error %v", err)
	}
}

// A row that is there twice in the hour that comes twice is that row, not one of an hour later;
// where rows are an hour apart it is the next one.
func TestRepeatedRowsInSummerTime(t *testing.T) {
	berlin := mustLoad(t, "Europe/Berlin")
	o := Options{Layer: analysis.OuterLayer, Location: berlin}
	for spacing, repeats := range map[time.Duration]bool{5 * time.Minute: true, 30 * time.Minute: true, time.Hour: false} {
		var rows []string
		for at := time.Date(2025, 10, 25, 23, 0, 0, 0, berlin); at.Before(time.Date(2025, 10, 26, 6, 0, 0, 0, berlin)); at = at.Add(spacing) {
			row := fmt.Sprintf("%s,%d", at.Format("2006-01-02 15:04:05"), at.Unix()%1e5)
			rows = append(rows, row)
			if repeats {
				rows = append(rows, row)
			}
		}
		for range 2 {
			d, err := ReadCSV(strings.NewReader("time,bps\n"+strings.Join(rows, "\n")), o)
			if want := int(8 * time.Hour / spacing); err != nil || len(d.Forward.BitsPerSecond) != want || d.Samples != want {
				t.Errorf("%v apart: %d bins, %d samples, %v; want %d", spacing, len(d.Forward.BitsPerSecond), d.Samples, err, want)
			}
			slices.Reverse(rows)
		}
	}
}

// Lord Howe Island puts its clocks back by half an hour, and forward by as much.
func TestHalfHourOfSummerTime(t *testing.T) {
	lordHowe := mustLoad(t, "Australia/Lord_Howe")
	o := Options{Layer: analysis.OuterLayer, Location: lordHowe}
	for _, begin := range []time.Time{time.Date(2025, 4, 6, 1, 0, 0, 0, lordHowe), time.Date(2025, 10, 5, 1, 0, 0, 0, lordHowe)} {
		text := "time,bps\n"
		for i := range 24 {
			text += fmt.Sprintf("%s,%d\n", begin.Add(time.Duration(i)*5*time.Minute).Format("2006-01-02 15:04:05"), 1000+i)
		}
		d, err := ReadCSV(strings.NewReader(text), o)
		if err != nil || len(d.Forward.BitsPerSecond) != 24 || !d.Forward.Start.Equal(begin) {
			t.Errorf("from %v: %d bins, %v", begin, len(d.Forward.BitsPerSecond), err)
		}
	}
	_, err := ReadCSV(strings.NewReader("time,bps\n2025-10-05 02:15:00,1\n2025-10-05 02:45:00,1\n"), o)
	if err == nil || !strings.Contains(err.Error(), "does not exist in Australia/Lord_Howe") {
		t.Errorf("a time that never came: error %v", err)
	}
}

// A zone without summer time shows each time once.
func TestNoSummerTime(t *testing.T) {
	for _, zone := range []*time.Location{mustLoad(t, "America/Panama"), mustLoad(t, "Asia/Kolkata"), time.FixedZone("", -5*3600), time.FixedZone("", 5*3600)} {
		d := mustRead(t, "time,bps\n2026-01-31 10:00:00,1000\n2026-01-31 10:05:00,2000\n", Options{Layer: analysis.OuterLayer, Location: zone})
		if want := time.Date(2026, 1, 31, 10, 0, 0, 0, zone); !d.Forward.Start.Equal(want) {
			t.Errorf("%v: from %v, want %v", zone, d.Forward.Start, want)
		}
	}
}

func mustLoad(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}
