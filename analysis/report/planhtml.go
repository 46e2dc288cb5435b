package report

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"time"

	"tunnelmark/analysis"
)

// WritePlanHTML writes the plan as one page that needs no network, no script and no
// font but the reader's. Its first sheet on paper is for whoever signs.
func WritePlanHTML(w io.Writer, r PlanReport) error {
	var out bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&out, "plan.html", newPlanPage(r)); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// Bounds of the first sheet's lists; the sections after it show all.
const (
	maxSheetDates   = 8
	maxSheetOptions = 4
	maxSheetMissing = 3
	maxSheetNotes   = 2
	maxSheetInputs  = 3
	manyLines       = 16 // From here on the sheet is printed smaller.
)

// planPage is what page/plan.html shows, in its order.
type planPage struct {
	Title, At, Links         string
	Layer, OptionLayer       string
	Written, Author, Version string
	Contents                 []anchor
	Decision                 decision
	Facts                    []fact
	Chart                    *futureView
	Dates                    *dateTable
	Nothing                  []shortfallRow
	Options                  []optionRow
	Missing                  []missingRow
	Notes                    []string
	Inputs                   inputTable
	More                     sheetMore
	Crowded                  bool
	All                      sheetLists
	Result                   *page // How today's ceiling came about.
	Sizes                    *sizesView
	Scaling                  []scalingRow
	Derating                 string
	Demand                   []demandView
	Method                   []string
	Command                  string
}

// sheetLists are the lists that the first sheet shortens, in full.
type sheetLists struct {
	Options []optionRow
	Missing []missingRow
	Notes   []string
	Inputs  inputTable
}

// sheetMore is how much of each the first sheet leaves out.
type sheetMore struct{ Dates, Options, Missing, Notes, Inputs int }

// anchor is a section to jump to.
type anchor struct{ ID, Name string }

func newPlanPage(r PlanReport) planPage {
	p := r.Plan
	page := planPage{
		Title: planTitle(p), At: isoDate(p.At), Links: linksWord(p.Links),
		Layer: layerMeaning(p.Layer), OptionLayer: optionLayer(p),
		Written: r.Written.UTC().Format(time.DateTime + " UTC"), Author: Clean(r.Author), Version: Clean(r.ToolVersion),
		Decision: r.decision(), Dates: firstDates(p), All: newSheetLists(r), Sizes: newSizesView(p),
		Method: planMethod(p), Command: cleanLines(r.Reproduce.CommandLine),
	}
	if p.Derating > 0 {
		page.Derating = formatPercent(p.Derating)
	}
	page.addResult(r)
	page.addOutlooks(p)
	page.shorten()
	if len(p.Outlooks) > 0 {
		page.Chart = newFutureView(p, p.Outlooks[0], "sheet", page.chartHeight())
	}
	page.Contents = page.contents()
	return page
}

func planTitle(p analysis.Plan) string {
	what := "tunnel"
	if p.Links > 1 {
		what = linksWord(p.Links)
	}
	return fmt.Sprintf("Capacity plan of the %s %s to %s", what, Clean(p.From), Clean(p.To))
}

func newSheetLists(r PlanReport) sheetLists {
	return sheetLists{
		Options: optionRows(r.Plan), Missing: missingRows(r.Plan), Notes: cleanAll(r.Plan.Notes),
		Inputs: inputTable{"inputs-all", inputRows(r.Inputs)},
	}
}

// addResult shows how today's ceiling came about.
func (p *planPage) addResult(r PlanReport) {
	if len(r.Results) == 0 {
		return
	}
	result := newPage(r.Results[0])
	p.Result = &result
	p.Scaling = r.scalingRows()
	p.Method = append(p.Method, result.Method...)
}

// addOutlooks has a section for each; the sheet is about the one that is full first.
func (p *planPage) addOutlooks(plan analysis.Plan) {
	if len(plan.Outlooks) == 0 {
		return
	}
	p.Facts, p.Nothing = sheetFacts(plan), shortfallRows(plan.Outlooks[0])
	for i := range plan.Outlooks {
		p.Demand = append(p.Demand, newDemandView(plan, i))
	}
}

// sheetFacts leave bursts to the section about demand, unless nobody knows them.
func sheetFacts(p analysis.Plan) []fact {
	o := p.Outlooks[0]
	facts := []fact{capacityFact(p, o), busyFact(p, o), growthFact(o)}
	if o.Forecast.BurstsUnknown {
		facts = append(facts, burstFact(o.Forecast))
	}
	if p.LeadTime > 0 {
		facts = append(facts, fact{Name: "Lead time", Value: formatDays(p.LeadTime), Note: "from an order to service"})
	}
	return facts
}

// shorten makes the lists fit one sheet.
func (p *planPage) shorten() {
	p.Options, p.More.Options = shortened(p.All.Options, maxSheetOptions)
	p.Missing, p.More.Missing = shortened(p.All.Missing, maxSheetMissing)
	p.Notes, p.More.Notes = shortened(p.All.Notes, maxSheetNotes)
	p.Inputs.ID = "inputs"
	p.Inputs.Rows, p.More.Inputs = shortened(p.All.Inputs.Rows, maxSheetInputs)
	lines := len(p.Options) + len(p.Missing) + len(p.Notes) + len(p.Inputs.Rows) + len(p.Nothing) + len(p.Decision.Because)
	if p.Dates != nil {
		p.Dates.Rows, p.More.Dates = shortened(p.Dates.Rows, maxSheetDates)
		lines += len(p.Dates.Rows)
	}
	p.Crowded = lines > manyLines
}

// chartHeight leaves room for the lists.
func (p *planPage) chartHeight() float64 {
	if p.Crowded {
		return 200
	}
	return 240
}

// shortened is the beginning of a list, and how much more there is.
func shortened[T any](all []T, most int) ([]T, int) {
	shown := all[:min(len(all), most)]
	return shown, len(all) - len(shown)
}

// contents are the sections that there are, after the first.
func (p *planPage) contents() []anchor {
	all := []anchor{{"decision", "Decision"}}
	add := func(there bool, id, name string) {
		if there {
			all = append(all, anchor{id, name})
		}
	}
	add(p.Result != nil, "headline", "Ceiling")
	if p.Result != nil {
		add(p.Result.Verdict != nil, "verdict", "Verdict")
		add(p.Result.ListsTrials(), "trials", "Trials")
		add(p.Result.Latency != nil, "latency", "Latency")
	}
	add(p.Sizes != nil, "packet-sizes", "Packet sizes")
	add(p.Scaling != nil, "scaling", "Several tunnels")
	add(p.All.Options != nil, "remedies", "Remedies")
	add(p.Demand != nil, "demand", "Demand")
	add(p.Result != nil && p.Result.Ends.Rows != nil, "ends", "Environment")
	add(true, "method", "Method")
	add(true, "reproduce", "How to reproduce")
	return all
}

// planMethod says in a few sentences how the dates came about and what they do not say.
func planMethod(p analysis.Plan) []string {
	return []string{
		"Demand is the 95th percentile of each day’s rates by nearest rank, as transit is billed. " +
			"A trend, straight or exponential as the data ask for, runs through the days robustly, so that holidays and outages do not bend it, " +
			"and follows steps of the level; each weekday has its own season, and the last days’ deviation fades over some weeks. " +
			"Days at 95" + nbsp + "% of the capacity or above count as lower bounds: the capacity, not the demand, set them. Where the growth cannot be told from none, no trend is stated.",
		"A date is where the expected level of the busiest weekdays meets a share of the capacity. " +
			"The earliest is where the upper end of the forecast’s 80" + nbsp + "% interval meets the lower end of the capacity’s, the latest the reverse. " +
			"The order has to be placed the lead time before the earliest. " +
			"The error beside each date is of the same method on the same series a week ahead, with each day of the latest half year in turn taken as the last, after three weeks to learn from; " +
			"it says how good the method is on this demand, not how far off a date years away may be.",
		"All rates of the plan are in one layer, the one in which the demand was counted (" + layerMeaning(p.Layer) + "); ceilings were converted to it. " +
			"What a vendor claims was not measured here" + derated(p) + ".",
	}
}

func derated(p analysis.Plan) string {
	if p.Derating <= 0 {
		return ""
	}
	return " and counts only in so far as today’s device reached its own data sheet: " + formatPercent(p.Derating)
}

// piece is a part of a sentence; one that is whole, a date, is not broken over lines.
type piece struct {
	Text  string
	Whole bool
}

var wholeDate = regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}`)

// pieces cuts a sentence at its dates.
func pieces(text string) []piece {
	var all []piece
	from := 0
	for _, at := range wholeDate.FindAllStringIndex(text, -1) {
		all = append(all, piece{Text: text[from:at[0]]}, piece{Text: text[at[0]:at[1]], Whole: true})
		from = at[1]
	}
	return append(all, piece{Text: text[from:]})
}
