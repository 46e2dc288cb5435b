package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/search"
)

func TestNumbered(t *testing.T) {
	for want, c := range map[string]struct {
		path   string
		number int
	}{
		"report.html":    {"report.html", 0},
		"report-2.html":  {"report.html", 1},
		"a.b/report-3":   {"a.b/report", 2},
		"a/b.c/r-2.html": {"a/b.c/r.html", 1},
	} {
		if got := numbered(c.path, c.number); got != want {
			t.Errorf("numbered(%q, %d) = %q, want %q", c.path, c.number, got, want)
		}
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.html")
	write := func(text string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	}
	if err := writeFile(path, write("first")); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, write("second")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no more")
	if err := writeFile(path, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("writeFile: %v, want %v", err, broken)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "second" {
		t.Errorf("the file holds %q, %v, want what was written whole last", got, err)
	}
	if err := writeFile(filepath.Join(dir, "none", "r.html"), write("x")); err == nil {
		t.Error("a folder that there is not is written to")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("something is left beside the report: %v", entries)
	}
}

// A report that could not be written is refused before the measurement.
func TestOutputCheck(t *testing.T) {
	dir := t.TempDir()
	for html, want := range map[string]string{
		"":                                 "",
		filepath.Join(dir, "r.html"):       "",
		filepath.Join(dir, "no", "r.html"): "no report can be written to " + filepath.Join(dir, "no") + ": no such file",
		dir:                                "is not a file that can be replaced",
		"/dev/null":                        "is not a file that can be replaced",
	} {
		err := (&outputFlags{html: html}).check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("check of --html %q: %v, want %q", html, err, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("the check has left %v", entries)
	}
}

// Remote text cannot steer a terminal.
func TestPrintable(t *testing.T) {
	if got, want := printable("one\x1b[2J\r\a two\nthree\u202e é"), "one\uFFFD[2J\uFFFD\uFFFD two\nthree\uFFFD é"; got != want {
		t.Errorf("printable = %q, want %q", got, want)
	}
	if got, want := cell("Linux\t6.1\nx\x1b"), "Linux 6.1 x\uFFFD"; got != want {
		t.Errorf("cell = %q, want %q", got, want)
	}
	if got := cell(""); got != "-" {
		t.Errorf("cell of nothing = %q", got)
	}
}

func TestProgress(t *testing.T) {
	trial := search.Progress{Purpose: analysis.Explore, Load: analysis.Load{InnerBitsPerSecond: 10e6, Duration: time.Second}}
	for name, c := range map[string]struct {
		shown progress
		want  string
	}{
		"terminal":        {progress{width: 80}, " 0.0s explore  10.00 Mbit/s for 1s; bounds not known yet\r\x1b[Kone line\n"},
		"narrow terminal": {progress{width: 12}, " 0.0s explo\r\x1b[Kone line\n"},
		"no terminal":     {progress{}, "one line\n"},
		"quiet":           {progress{width: 80, quiet: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c.shown.to = &out
			c.shown.trial(trial)
			c.shown.tell("one line")
			done := trial
			done.Trial = &analysis.Trial{}
			c.shown.trial(done) // Only what runs is shown.
			c.shown.done()
			if got := out.String(); got != c.want {
				t.Errorf("shown %q, want %q", got, c.want)
			}
		})
	}
}

func TestDescribeTrial(t *testing.T) {
	load := analysis.Load{InnerBitsPerSecond: 345.16e6, Duration: 1500 * time.Millisecond}
	for want, s := range map[string]search.Progress{
		"12.3s bisect   345.2 Mbit/s for 1.5s; bounds 344.1 Mbit/s to 346.2 Mbit/s inner": {
			Purpose: analysis.Bisect, Load: load, Sent: 12300 * time.Millisecond,
			InnerLowerBitsPerSecond: 344.1e6, InnerUpperBitsPerSecond: 346.2e6,
		},
		" 1.0s explore  345.2 Mbit/s for 1.5s; bounds > 10.00 Mbit/s inner": {
			Purpose: analysis.Explore, Load: load, Sent: time.Second, InnerLowerBitsPerSecond: 10e6,
		},
		" 1.0s burst    345.2 Mbit/s for 1.5s; bounds < 1.000 Gbit/s inner": {
			Purpose: analysis.Burst, Load: load, Sent: time.Second, InnerUpperBitsPerSecond: 1e9,
		},
	} {
		got := describeTrial(s)
		if got != want {
			t.Errorf("describeTrial\n got %q\nwant %q", got, want)
		}
		if len(got) > 80 {
			t.Errorf("%q is wider than a terminal", got)
		}
	}
}

func TestLayeredRate(t *testing.T) {
	var r layeredRate
	for text, want := range map[string]string{
		"350M@outer": "350000000 outer", "1.2G": "1200000000 goodput", "5M@inner": "5000000 inner", "5M@wire": "5000000 wire",
		"0": "0 goodput", // iperf3's word for no limit.
	} {
		if err := r.Set(text); err != nil || fmt.Sprintf("%.0f %s", r.bitsPerSecond, r.layer) != want || r.String() != text {
			t.Errorf("Set(%q): %v, %.0f %s, want %s", text, err, r.bitsPerSecond, r.layer, want)
		}
	}
	for _, text := range []string{"", "fast", "350M@", "350M@middle", "-1M", "@outer", "0@outer"} {
		if err := r.Set(text); err == nil {
			t.Errorf("Set(%q) takes %.0f %s", text, r.bitsPerSecond, r.layer)
		}
	}
}
