package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"tunnelmark/analysis"
)

//go:embed page/*.html page/*.css
var pageFiles embed.FS

// pageTemplate decides nothing: all that it shows is a string by then, which
// html/template escapes for its place.
var pageTemplate = template.Must(template.New("pages").Funcs(template.FuncMap{"pieces": pieces}).ParseFS(pageFiles, "page/*.html", "page/*.css"))

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
	TCP                            []tcpRow
	Seen                           []observation // Of fixed loads, beside rate and loss.
	Latency                        *latencyView
	PathMTU                        []pathMTURow
	Tunnel, Most                   string
	Proven, Unproven               string // What is known of the path, if there is a question.
	Tunnels                        []countRow
	Counters                       endTable // What each half counted.
	Layers                         []layerRow
	Ends                           endTable
	Method                         []string
	Command, YAML, Hash            string
}

// ListsTrials says whether there is a table of trials, or has to be word that there is none.
func (p page) ListsTrials() bool { return p.Trials.Rows != nil || len(p.TCP) == 0 }

func newPage(r Result) page {
	headline := r.headline()
	p := page{
		Path: r.direction(false), Scenario: Clean(r.Scenario), Version: Clean(r.ToolVersion),
		Started: r.Started.UTC().Format(time.DateTime + " UTC"), Took: formatDuration(r.Duration),
		Headline: headline, Notes: cleanAll(r.Notes),
		Verdict: newVerdictView(r.Verdict), Truth: newTruthView(r.Truth),
		Trials: newTrialTable(r.steps()), TCP: r.tcpRows(), Seen: r.observations(), Latency: newLatencyView(r.Latencies), PathMTU: r.pathMTURows(),
		Tunnel: r.Tunnel.describe(), Most: r.Tunnel.Most.describe(), Tunnels: r.Tunnel.countRows(), Counters: r.countTable(), Layers: layers(r.Size, headline.inner), Ends: newEndTable(r.Environment),
		Method:  method(r),
		Command: cleanLines(r.Reproduce.CommandLine), YAML: cleanLines(r.Reproduce.Scenario), Hash: Clean(r.Reproduce.InputsSHA256),
	}
	p.Title = headline.Title + " of the tunnel " + p.Path
	if r.Ceiling != nil && r.Ceiling.IsAvailable() {
		p.Title = "Capacity available through the tunnel " + p.Path
	}
	if r.Kind == Run {
		p.Title = "Fixed loads through the tunnel " + p.Path
	}
	p.Facts = headline.Facts
	for _, get := range []func() (fact, bool){r.plateauFact, r.bucketFact, r.baselineFact} {
		if f, ok := get(); ok {
			p.Facts = append(p.Facts, f)
		}
	}
	if proven, known := r.pathEvidence(); proven {
		p.Proven = known
	} else {
		p.Unproven = strings.TrimPrefix(known, "path not proven: ")
	}
	p.Charts, p.Course = newCharts(newPlots(r))
	return p
}

func cleanAll(texts []string) []string {
	var cleaned []string
	for _, t := range texts {
		cleaned = append(cleaned, Clean(t))
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
	view := &verdictView{Cause: Clean(string(v.Cause)), Class: "plain", Summary: Clean(v.Summary)}
	if v.Cause == analysis.Generator || v.Cause == analysis.Unknown {
		view.Class = "open"
	}
	for _, e := range tellingFirst(*v) {
		view.Evidence = append(view.Evidence, evidenceRow{
			Signal: Clean(e.Signal), Value: formatEvidence(e), Threshold: Clean(e.Threshold), For: Clean(string(e.For)), Holds: e.Holds,
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
			Name: Clean(d.Kind) + " " + Clean(d.Link) + " toward " + Clean(d.Toward), Setting: d.setting(),
			Passed: formatCount(d.PassedPackets), Dropped: formatCount(d.DroppedPackets),
			PassedBytes: formatBytes(float64(d.PassedOuterBytes)), DroppedBytes: formatBytes(float64(d.DroppedOuterBytes)),
		})
	}
	return view
}
