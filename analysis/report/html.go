package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"time"

	"tunnelmark/analysis"
)

//go:embed page/*.html page/style.css
var pageFiles embed.FS

// page is the template of the report. It decides nothing: all that it shows is
// a string by then, which html/template escapes for its place.
var pageTemplate = template.Must(template.ParseFS(pageFiles, "page/*.html", "page/style.css"))

// WriteHTML writes the result as one page that needs no network, no script and
// no font but the reader's.
func WriteHTML(w io.Writer, r Result) error {
	var out bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&out, "page.html", newPage(r)); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// page is what page/page.html shows, in its order.
type page struct {
	Title, Path, Scenario, Version string
	Started, Took                  string
	Headline                       headline
	Facts                          []fact // Of the headline, plateau, bucket and baseline.
	Notes                          []string
	Verdict                        *verdictView
	Truth                          *truthView
	Charts                         *chartsView
	Course                         *courseView
	Trials                         trialTable
	Tunnel                         string
	Layers                         []layerRow
	Ends                           endTable
	Method                         []string
	Command, YAML, Hash            string
}

func newPage(r Result) page {
	p := page{
		Path: clean(r.Path.From) + " → " + clean(r.Path.To), Scenario: clean(r.Scenario), Version: clean(r.ToolVersion),
		Started: r.Started.UTC().Format(time.DateTime + " UTC"), Took: formatDuration(r.Duration),
		Headline: r.headline(), Notes: cleanAll(r.Notes),
		Verdict: newVerdictView(r.Verdict), Truth: newTruthView(r.Truth),
		Trials: newTrialTable(r.steps()),
		Tunnel: r.Tunnel.describe(), Layers: layers(r), Ends: newEndTable(r.Environment),
		Method:  method(r),
		Command: cleanLines(r.Reproduce.CommandLine), YAML: cleanLines(r.Reproduce.Scenario), Hash: clean(r.Reproduce.InputsSHA256),
	}
	p.Title = p.Headline.Title + " of the tunnel " + p.Path
	if r.Kind == Run {
		p.Title = "Fixed loads through the tunnel " + p.Path
	}
	p.Facts = p.Headline.Facts
	for _, get := range []func() (fact, bool){r.plateauFact, r.bucketFact, r.baselineFact} {
		if f, ok := get(); ok {
			p.Facts = append(p.Facts, f)
		}
	}
	p.Charts, p.Course = newCharts(newPlots(r))
	return p
}

func cleanAll(texts []string) []string {
	var cleaned []string
	for _, t := range texts {
		cleaned = append(cleaned, clean(t))
	}
	return cleaned
}

// verdictView is the cause with the table of its evidence.
type verdictView struct {
	Cause, Class, Summary string
	Evidence              []evidenceRow
}

type evidenceRow struct {
	Signal, Value, Threshold, For string
	Holds                         bool
}

func newVerdictView(v *analysis.Verdict) *verdictView {
	if v == nil {
		return nil
	}
	view := &verdictView{Cause: clean(string(v.Cause)), Class: "plain", Summary: clean(v.Summary)}
	if v.Cause == analysis.Generator || v.Cause == analysis.Unknown {
		view.Class = "open"
	}
	for _, e := range v.Evidence {
		view.Evidence = append(view.Evidence, evidenceRow{
			Signal: clean(e.Signal), Value: formatEvidence(e), Threshold: clean(e.Threshold), For: clean(string(e.For)), Holds: e.Holds,
		})
	}
	return view
}

// truthView is what the lab knew beforehand.
type truthView struct {
	Met     bool
	Text    string
	Devices []deviceRow
}

type deviceRow struct {
	Name, Setting, Passed, Dropped, PassedBytes, DroppedBytes string
}

func newTruthView(t *Truth) *truthView {
	if t == nil {
		return nil
	}
	view := &truthView{Met: t.Met, Text: t.describe()}
	for _, d := range t.Devices {
		view.Devices = append(view.Devices, deviceRow{
			Name: clean(d.Kind) + " " + clean(d.Link) + " toward " + clean(d.Toward), Setting: d.setting(),
			Passed: formatCount(d.PassedPackets), Dropped: formatCount(d.DroppedPackets),
			PassedBytes: formatBytes(float64(d.PassedOuterBytes)), DroppedBytes: formatBytes(float64(d.DroppedOuterBytes)),
		})
	}
	return view
}

// chartsView are the charts over all trials. Wide and Narrow are the same chart
// for a desk and for a phone, where a shrunken one could not be read.
type chartsView struct {
	Legend       []legendEntry
	Wide, Narrow *chart
	Loss, Close  *chart
	HasCeiling   bool
	Ceiling      string
	Bursts       int // Not drawn.
}

type legendEntry struct{ Name, Class, Path string }

// courseView is one trial over time.
type courseView struct {
	Purpose, Offered, Plateau string
	Wide, Narrow              *chart
	WideDelay, NarrowDelay    *chart
}

// The widths of charts, in pixels: of the page at its widest, of half of it,
// and of a phone's screen less its margins.
const (
	wide   = 900
	half   = 438
	narrow = 350
)

func newCharts(p plots) (*chartsView, *courseView) {
	if len(p.paced) == 0 {
		return nil, nil
	}
	view := &chartsView{
		Legend: legend(p.paced),
		Wide:   p.delivered("delivered-wide", wide, 420),
		Narrow: p.delivered("delivered-narrow", narrow, 330),
		Loss:   p.loss("loss", "Loss over all loads", half, 270, 0, p.most*1.05),
		Close:  p.closeLoss("loss-close", half, 270),
		Bursts: len(p.result.steps()) - len(p.paced),
	}
	if ceiling := p.ceiling(); ceiling > 0 {
		view.HasCeiling, view.Ceiling = true, formatRate(ceiling)
	}
	overload, ok := p.overload()
	if !ok {
		return view, nil
	}
	t := overload.Trial
	course := &courseView{
		Purpose: clean(string(overload.Purpose)), Offered: formatRate(t.InnerSentBitsPerSecond()),
		Wide: p.course("course-wide", wide, 280, t), Narrow: p.course("course-narrow", narrow, 260, t),
		WideDelay: p.delays("delay-wide", wide, 170, t), NarrowDelay: p.delays("delay-narrow", narrow, 170, t),
	}
	if c := p.result.Ceiling; c != nil && c.Plateau != nil {
		course.Plateau = formatRate(c.Plateau.InnerBitsPerSecond)
	}
	return view, course
}

// legend lists the looks that occur.
func legend(steps []analysis.Step) []legendEntry {
	seen := map[string]bool{}
	for _, s := range steps {
		seen[lookOf(s.Purpose).Name] = true
	}
	var entries []legendEntry
	for _, l := range looks {
		if seen[l.Name] {
			entries = append(entries, legendEntry{Name: l.Name, Class: l.Class, Path: l.shape(8, 8)})
		}
	}
	return entries
}

// trialTable has one scale for all its rates, so that a column can be read
// downwards.
type trialTable struct {
	Unit string
	Rows []trialRow
}

type trialRow struct {
	Number                                   int
	Purpose, Offered, Sent, Inner, Outer     string
	Loss, Duration, Skipped, Growth, Remarks string
	Valid                                    bool
}

func newTrialTable(steps []analysis.Step) trialTable {
	most := 0.0
	for _, s := range steps {
		if s.Trial.Load.Packets == 0 {
			most = max(most, s.Trial.Load.InnerBitsPerSecond, s.Trial.Outer(s.Trial.InnerReceivedBitsPerSecond()))
		}
	}
	unit := scaleFor(most, bitRates)
	table := trialTable{Unit: unit.name}
	for i, s := range steps {
		table.Rows = append(table.Rows, newTrialRow(i+1, s, unit, most))
	}
	return table
}

func newTrialRow(number int, s analysis.Step, unit scale, most float64) trialRow {
	t := s.Trial
	row := trialRow{
		Number: number, Purpose: clean(string(s.Purpose)), Loss: formatShare(t.LossRatio()), Valid: t.Valid(),
		Duration: formatDuration(t.Elapsed), Skipped: formatDuration(t.Skipped), Growth: none, Remarks: remarks(t),
		Sent: none, Inner: none, Outer: none,
	}
	if growth, ok := delayGrowth(t); ok {
		row.Growth = formatDuration(growth)
	}
	if t.Load.Packets > 0 {
		row.Offered = formatCount(t.Load.Packets) + " packets"
		return row
	}
	column := func(rate float64) string {
		decimals := max(0, 3-int(math.Floor(math.Log10(math.Max(1, most/unit.size)))))
		return group(strconv.FormatFloat(rate/unit.size, 'f', decimals, 64))
	}
	received := t.InnerReceivedBitsPerSecond()
	row.Offered, row.Sent = column(t.Load.InnerBitsPerSecond), column(t.InnerSentBitsPerSecond())
	row.Inner, row.Outer = column(received), column(t.Outer(received))
	return row
}

// layerRow is the headline in one layer.
type layerRow struct{ Name, Counts, Bytes, Overhead, Rate string }

// wireOverhead is what Ethernet adds to an IP packet: 14 B header, 4 B check
// sequence, 8 B preamble, 12 B gap (IEEE 802.3).
const wireOverhead = 14 + 4 + 8 + 12

func layers(r Result) []layerRow {
	inner := 0.0
	if r.Ceiling != nil {
		inner = r.Ceiling.InnerBitsPerSecond
	}
	row := func(name, counts string, bytes int) layerRow {
		l := layerRow{Name: name, Counts: counts, Bytes: formatCount(bytes), Overhead: none, Rate: none}
		if r.Size.Inner > 0 && bytes != r.Size.Inner {
			l.Overhead = formatShare(float64(bytes)/float64(r.Size.Inner) - 1)
		}
		if inner > 0 && r.Size.Inner > 0 {
			l.Rate = formatRate(inner * float64(bytes) / float64(r.Size.Inner))
		}
		return l
	}
	return []layerRow{
		row("inner", "IP packets that enter the tunnel", r.Size.Inner),
		row("outer", "IP packets that leave it, all headers included", r.Size.Outer),
		row("wire", "outer packets in Ethernet frames, preamble and gap included", r.Size.Outer+wireOverhead),
	}
}

// endTable has a column for each end.
type endTable struct {
	Sites []string
	Rows  []endRow
}

type endRow struct {
	Name   string
	Values []string
}

func newEndTable(ends []End) endTable {
	var table endTable
	add := func(name string, value func(End) string) {
		row, known := endRow{Name: name}, false
		for _, e := range ends {
			text := value(e)
			if known = known || text != ""; text == "" {
				text = none
			}
			row.Values = append(row.Values, text)
		}
		if known {
			table.Rows = append(table.Rows, row)
		}
	}
	for _, e := range ends {
		table.Sites = append(table.Sites, clean(e.Site))
	}
	add("Host", func(e End) string { return clean(e.Hostname) })
	add("Kernel", func(e End) string { return clean(e.Kernel) })
	add("CPU", func(e End) string { return clean(e.CPU) })
	add("Cores", End.cores)
	add("Memory", End.memory)
	add("Tunnel driver", func(e End) string { return clean(e.Driver) })
	add("Agent", func(e End) string { return clean(e.AgentVersion) })
	add("Go", func(e End) string { return clean(e.GoVersion) })
	return table
}
