package demand

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// counted writes a file of totals, five minutes apart.
func counted(head string, totals ...uint64) string {
	text := head + "\n"
	for i, total := range totals {
		text += fmt.Sprintf("%d,%d\n", 1769853600+300*i, total)
	}
	return text
}

func TestCounters(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []float64
		note string
	}{
		"bytes":            {counted("time,bytes_total", 100, 37600, 112600), []float64{1000, 2000}, `a counter of bytes`},
		"octets":           {counted("time,ifHCInOctets", 1<<60, 1<<60+37632), []float64{37632 * 8 / 300.}, `a counter of Octets`},
		"reset":            {counted("time,bytes", 100_000, 137_500, 500, 38_000), []float64{1000, unknown, 1000}, "reset once; each is a gap"},
		"reset of 64 bits": {counted("time,bytes", 1<<40, 1<<40+37632, 0, 37632), []float64{37632 * 8 / 300., unknown, 37632 * 8 / 300.}, "reset once"},
		"wrap":             {counted("time,ifInOctets", wrap-37500-2000, wrap-2000, 35500, 73000), []float64{1000, 1000, 1000}, "wrapped at 2^32 once"},
		// What was counted since the wrap would be ten times what ever was: no wrap.
		"reset near the end": {counted("time,ifInOctets", wrap-37500-2000, wrap-2000, 375_000, 412_500), []float64{1000, unknown, 1000}, "reset once"},
		"standing still":     {counted("time,bytes", 5, 5, 5), []float64{0, 0}, ""},
	} {
		d := mustRead(t, c.text, outer)
		if diff := cmp.Diff(c.want, d.Forward.BitsPerSecond, sameRates); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, c.note) {
			t.Errorf("%s: notes %s, want %q", name, notes, c.note)
		}
		lines := strings.Split(strings.TrimSpace(c.text), "\n")
		slices.Reverse(lines[1:])
		back := mustRead(t, strings.Join(lines, "\n"), outer)
		if diff := cmp.Diff(c.want, back.Forward.BitsPerSecond, sameRates); diff != "" {
			t.Errorf("%s, backward (-want +got):\n%s", name, diff)
		}
	}
}

// A difference is spread over all bins between its times, a long interval is a gap, and
// an unknown value makes the interval around it longer.
func TestCounterIsSpread(t *testing.T) {
	text := "time,bytes,packets_total\n" +
		"1769853750,0,0\n" + // 2.5 min into a bin.
		"1769854050,75000,750\n" + // 2000 bit/s.
		"1769854350,,\n" +
		"1769854650,375000,3750\n" + // 4000 bit/s for 10 min.
		"1769858250,999999,9999\n" + // An hour.
		"1769858550,1074999,10749\n"
	d := mustRead(t, text, outer)
	u := unknown
	want := []float64{2000, 3000, 4000, 4000, u, u, u, u, u, u, u, u, u, u, u, 2000, 2000}
	if diff := cmp.Diff(want, d.Forward.BitsPerSecond, sameRates); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := d.Forward.PacketsPerSecond[0]; got != 2.5 {
		t.Errorf("packets %v, want 2.5", got)
	}
	if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, "one interval is longer than 3 times the usual 5m0s") {
		t.Errorf("notes: %s", notes)
	}
}

// Packets whose name does not say whether they are a rate or a total are what the bits
// beside them are.
func TestPacketsFollowBits(t *testing.T) {
	rate := mustRead(t, "time,bps,packets\n1769853600,8000,10\n1769853900,8000,10\n", outer)
	if got := rate.Forward.PacketsPerSecond[0]; got != 10 {
		t.Errorf("beside a rate: %v packets/s, want 10", got)
	}
	total := mustRead(t, "time,octets,pkts\n1769853600,0,0\n1769853900,300000,3000\n", outer)
	if got := total.Forward.PacketsPerSecond[0]; got != 10 {
		t.Errorf("beside a counter: %v packets/s, want 10", got)
	}
}

// A counter of 32 bits that wraps in most intervals cannot be read.
func TestCounterThatWrapsTooOften(t *testing.T) {
	var totals []uint64
	for i := range 50 {
		totals = append(totals, uint64(i)*3_000_000_000%wrap)
	}
	_, err := ReadCSV(strings.NewReader(counted("time,ifInOctets", totals...)), outer)
	if err == nil || !strings.Contains(err.Error(), "ifHCInOctets") {
		t.Errorf("error %v, want the counter of 64 bits named", err)
	}
}

func TestBinsAreAsLongAsSpans(t *testing.T) {
	g := newGrid(time.Hour, time.Unix(1769853600, 0).In(time.FixedZone("", -9000)), true)
	if at := g.begin(g.origin); at.Minute() != 30 || g.slot(at.Add(-time.Nanosecond)) != 1 {
		t.Errorf("origin begins at %v", at)
	}
}
