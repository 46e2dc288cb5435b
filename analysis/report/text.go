package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tunnelmark/analysis"
)

// TextOptions says how text is written.
type TextOptions struct {
	// Color marks verdict and check marks with terminal escapes. Files want none.
	Color bool
}

// The widths of the text's columns, in characters.
const (
	labelWidth = 10
	valueWidth = 12
)

// Bounds of what the text shows of lists; the other formats show all.
const (
	maxEvidence  = 16
	maxTextTrial = 8
	maxTunnels   = 4
	maxDetails   = 6
	maxNotes     = 4
	maxSeen      = 12 // Observations.
)

// WriteText writes what an engineer wants to see at the end of a measurement:
// ceiling, verdict with evidence, and what they rest on, in some 25 lines.
func WriteText(w io.Writer, r Result, options TextOptions) error {
	t := &text{color: options.Color}
	t.opening(r)
	t.headline(r.headline())
	t.trials(r)
	t.observations(r)
	t.verdict(r.Verdict)
	t.facts(r)
	t.latencies(r.Latencies)
	t.pathMTU(r)
	t.tunnels(r.Tunnel)
	t.counts(r)
	t.truth(r.Truth)
	t.ends(r.Environment)
	t.notes(r)
	return t.flush(w)
}

// flush writes all out, with spaces that a terminal knows.
func (t *text) flush(w io.Writer) error {
	if _, err := io.WriteString(w, strings.ReplaceAll(t.out.String(), nbsp, " ")); err != nil {
		return fmt.Errorf("write text: %w", err)
	}
	return nil
}

type text struct {
	out   bytes.Buffer
	color bool
}

// line writes a label and what belongs to it; an empty label continues the
// one above.
func (t *text) line(label, format string, args ...any) {
	line := pad(label, labelWidth) + fmt.Sprintf(format, args...)
	t.out.WriteString(strings.TrimRight(line, " ") + "\n")
}

func (t *text) gap() { t.out.WriteByte('\n') }

func (t *text) opening(r Result) {
	t.line("Path", "%s", t.paint(bold, r.pathName()))
	t.evidence(r)
	tunnel := r.Tunnel.describe()
	if r.Size.Inner > 0 {
		tunnel += "; " + r.Size.describe()
	}
	t.line("Tunnel", "%s", tunnel)
	if most := r.Tunnel.Most.describe(); most != "" {
		t.line("", "%s", most)
	}
	t.line("Time", "%s, took %s, tunnelmark %s", r.Started.UTC().Format(time.DateTime+" UTC"), formatDuration(r.Duration), Clean(r.ToolVersion))
	t.gap()
}

// evidence says whether the load is known to have passed through the tunnel.
func (t *text) evidence(r Result) {
	switch proven, known := r.pathEvidence(); {
	case !proven:
		t.line("", "%s", t.paint(yellow, "! "+known))
	case known != "":
		t.line("", "%s", known)
	}
}

func (t *text) headline(h headline) {
	when := ""
	if h.When != "" {
		when = h.When + ": "
	}
	if h.Rate == "" {
		t.line(h.Title, "%s%s", when, t.paint(bold, "not measured"))
	} else {
		rate := strings.TrimSpace(h.Bound + " " + h.Rate + " " + h.Layer)
		outer := ""
		if h.Outer != "" {
			outer = h.Outer + " outer   "
		}
		t.line(h.Title, "%s%s   %s%s", when, t.paint(bold, rate), outer, h.Packets)
	}
	if h.Aside != "" {
		t.line("", "(%s)", h.Aside)
	}
	for _, f := range h.Facts {
		t.fact(f)
	}
	if h.Caution != "" {
		t.line("", "%s", t.paint(yellow, "! "+h.Caution))
	}
	t.gap()
}

func (t *text) fact(f fact) {
	if f.Note == "" {
		t.line(f.Name, "%s", f.Value)
		return
	}
	t.line(f.Name, "%s (%s)", f.Value, f.Note)
}

// trials lists fixed loads; the steps of a search are left to the other formats.
func (t *text) trials(r Result) {
	for i, trial := range r.Trials[:min(len(r.Trials), maxTextTrial)] {
		t.line(label("Trials", i), "%s %s %s %s", pad(offered(trial)+" offered", 26),
			pad(formatRate(trial.InnerReceivedBitsPerSecond())+" inner", 20),
			pad(outerRate(trial, trial.InnerReceivedBitsPerSecond())+" outer", 20), listed(formatShare(trial.LossRatio())+" loss", reverse(trial.Reverse)))
	}
	t.more(len(r.Trials))
	rows := r.tcpRows()
	for i, row := range rows[:min(len(rows), maxTextTrial)] {
		t.line(label("TCP", i), "%s", row.describe())
	}
	t.more(len(rows))
	if len(r.Trials)+len(rows) > 0 {
		t.gap()
	}
}

// more says how many trials are not shown.
func (t *text) more(trials int) {
	if more := trials - maxTextTrial; more > 0 {
		t.line("", "and %d more", more)
	}
}

func (t *text) observations(r Result) {
	seen := r.observations()
	for _, o := range seen[:min(len(seen), maxSeen)] {
		t.observation(o)
	}
	if more := len(seen) - maxSeen; more > 0 {
		t.line("", "and %d more, in the report", more)
	}
	if len(seen) > 0 {
		t.gap()
	}
}

func (t *text) observation(o observation) { t.line(o.Name, "%s", o.Text) }

func (t *text) latencies(latencies []analysis.Latency) {
	rows := latencyRows(latencies)
	for i, row := range rows[:min(len(rows), maxTextTrial)] {
		t.line(label("Latency", i), "%s", row.describe())
	}
	t.more(len(rows))
}

func (t *text) pathMTU(r Result) {
	for i, row := range r.pathMTURows() {
		t.line(label("Path MTU", i), "%s", row.describe())
	}
}

func (t *text) verdict(v *analysis.Verdict) {
	if v == nil {
		return
	}
	t.line("Verdict", "%s: %s", t.paint(bold, Clean(string(v.Cause))), Clean(v.Summary))
	shown := telling(*v)
	for _, e := range shown {
		t.line("", "%s %s  %s: %s", t.mark(e, v.Cause), padLeft(formatEvidence(e), valueWidth), Clean(e.Signal), Clean(e.Threshold))
	}
	if more := len(v.Evidence) - len(shown); more > 0 {
		t.line("", "and %d more, about other causes, in the report", more)
	}
	t.gap()
}

// tellingFirst is all evidence, that for the verdict's cause first: signals of
// other causes, which do not hold, must not read as if something was wrong.
func tellingFirst(v analysis.Verdict) []analysis.Evidence {
	sorted := slices.Clone(v.Evidence)
	rank := func(e analysis.Evidence) int {
		if e.For == v.Cause {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(sorted, func(a, b analysis.Evidence) int { return rank(a) - rank(b) })
	return sorted
}

// telling is the evidence for the verdict's cause; where none is known, all of it.
func telling(v analysis.Verdict) []analysis.Evidence {
	var shown []analysis.Evidence
	for _, e := range v.Evidence {
		if e.For == v.Cause || v.Cause == analysis.Unknown {
			shown = append(shown, e)
		}
	}
	return shown[:min(len(shown), maxEvidence)]
}

// mark says whether a signal holds; red is kept for one that the verdict's own
// cause would need.
func (t *text) mark(e analysis.Evidence, cause analysis.Cause) string {
	switch {
	case e.Holds:
		return t.paint(green, "✓")
	case e.For == cause:
		return t.paint(red, "✗")
	}
	return "✗"
}

func (t *text) facts(r Result) {
	for _, get := range []func() (fact, bool){r.bucketFact, r.baselineFact} {
		if f, ok := get(); ok {
			t.fact(f)
		}
	}
}

// tunnels lists how the load was spread.
func (t *text) tunnels(tunnel Tunnel) {
	rows := tunnel.countRows()
	for i, row := range rows[:min(len(rows), maxTunnels)] {
		t.line(label("Tunnels", i), "%s: %s packets sent (%s), %s received", row.Number, row.Sent, row.Share, row.Received)
	}
	if more := len(rows) - maxTunnels; more > 0 {
		t.line("", "and %d more", more)
	}
}

// counts says what each half counted, and why it dropped what.
func (t *text) counts(r Result) {
	for i, c := range r.counts() {
		t.line(label("Counters", i), "%s", c.describe())
	}
}

func (t *text) truth(truth *Truth) {
	if truth == nil {
		return
	}
	answer := t.paint(red, "not met")
	if truth.Met {
		answer = t.paint(green, "met")
	}
	t.line("Truth", "%s: %s", answer, truth.describe())
	for _, d := range truth.Devices[:min(len(truth.Devices), 2)] {
		t.line("", "%s", d.describe())
	}
}

func (t *text) ends(ends []End) {
	for i, end := range ends[:min(len(ends), 2)] {
		t.line(label("Ends", i), "%s", end.describe())
		if details := end.Details; len(details) > 0 {
			t.line("", "   %s", describeDetails(details[:min(len(details), maxDetails)]))
		}
	}
}

func (t *text) notes(r Result) {
	for i, note := range r.Notes[:min(len(r.Notes), maxNotes)] {
		t.line(label("Notes", i), "%s", t.paint(yellow, Clean(note)))
	}
	if more := len(r.Notes) - maxNotes; more > 0 {
		t.line("", "and %d more", more)
	}
}

// label names the first line of a list.
func label(name string, i int) string {
	if i > 0 {
		return ""
	}
	return name
}

// A paint is a terminal's attribute (ECMA-48, Section 8.3.117).
type paint string

const (
	bold   paint = "1"
	red    paint = "31"
	green  paint = "32"
	yellow paint = "33"
)

func (t *text) paint(p paint, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + string(p) + "m" + s + "\x1b[0m"
}

// pad fills up to a width in characters, which is not one in bytes: "µs".
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

func padLeft(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s))) + s
}
