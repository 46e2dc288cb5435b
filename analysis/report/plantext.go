package report

import (
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"tunnelmark/analysis"
)

// Bounds of what the text shows of a plan's lists; the page shows all.
const (
	maxTextOutlooks = 2
	maxTextDates    = 12
	maxTextOptions  = 6
	maxTextMissing  = 4
	maxTextInputs   = 4
	maxTextName     = 32 // Characters.
)

// dateColumn is as wide as "not before 2006-01-02", in characters.
const dateColumn = 22

// WritePlanText writes the decision that a plan asks for and what it rests on, on
// about one screen.
func WritePlanText(w io.Writer, r PlanReport, options TextOptions) error {
	t := &text{color: options.Color}
	t.decision(r.decision())
	t.planned(r)
	for _, o := range r.Plan.Outlooks[:min(len(r.Plan.Outlooks), maxTextOutlooks)] {
		t.outlook(r.Plan, o)
	}
	t.options(r.Plan)
	t.missing(r.Plan)
	t.planNotes(r.Plan.Notes)
	t.inputs(r)
	return t.flush(w)
}

func (t *text) decision(d decision) {
	t.line("Decision", "%s", t.paint(bold, d.Ask))
	for _, because := range d.Because {
		t.line("", "%s", because)
	}
	t.gap()
}

func (t *text) planned(r PlanReport) {
	p := r.Plan
	lead := ""
	if p.LeadTime > 0 {
		lead = "lead time " + formatDays(p.LeadTime)
	}
	t.line("Plan", "%s", listed(Clean(p.From)+" to "+Clean(p.To), linksWord(p.Links), "made for "+isoDate(p.At), lead))
	t.line("", "rates are %s", layerMeaning(p.Layer))
	t.gap()
}

func linksWord(links int) string {
	if links > 1 {
		return formatCount(links) + " links"
	}
	return "1 link"
}

// outlook shows the ceiling, its use and trend, and the dates.
func (t *text) outlook(p analysis.Plan, o analysis.Outlook) {
	for _, f := range planFacts(p, o) {
		t.fact(f)
	}
	t.line("Back-test", "%s", backTestText(o.Forecast.BackTest))
	t.dates(p, dateRows(p, o))
	t.nothing(o)
	t.gap()
}

func (t *text) dates(p analysis.Plan, rows []dateRow) {
	if len(rows) == 0 {
		return
	}
	cells := func(share, rate, earliest, likely, latest, order, wrong string) string {
		return cell(share, 22) + cell(rate, 18) + cell(earliest, dateColumn) + cell(likely, dateColumn) + cell(latest, dateColumn) + cell(order, 12) + wrong
	}
	t.line("Dates", "%s", cells("share of capacity", "that is, "+layerName(p.Layer), "earliest", "likely", "latest", "order by", "method errs"))
	for _, r := range rows[:min(len(rows), maxTextDates)] {
		t.line("", "%s", cells(r.Share, r.Rate, r.Earliest, r.Likely, r.Latest, r.OrderBy, r.Error))
	}
	t.moreOf(len(rows), maxTextDates)
}

// cell is pad with a space at least.
func cell(s string, width int) string { return pad(s+" ", width) }

// nothing says what comes if nothing is done.
func (t *text) nothing(o analysis.Outlook) {
	for i, r := range shortfallRows(o) {
		t.line(label("No action", i), "%s", r.Sentence)
	}
}

func (t *text) options(p analysis.Plan) {
	rows := optionRows(p)
	if len(rows) == 0 {
		return
	}
	rows = rows[:min(len(rows), maxTextOptions)]
	carries := "carries, " + optionLayer(p)
	name, rate := 0, utf8.RuneCountInString(carries)
	for _, r := range rows {
		name, rate = max(name, utf8.RuneCountInString(r.Name)), max(rate, utf8.RuneCountInString(r.Capacity))
	}
	name, rate = min(name, maxTextName), min(rate, maxTextName)
	cells := func(option, known, carries, full, months, perMonth, cost string) string {
		return cell(option, name+5) + cell(known, 14) + cell(carries, rate+2) + cell(full, dateColumn) + cell(months, 12) + cell(perMonth, 21) + cost
	}
	t.line("Options", "%s", cells("best first", "known by", carries, "likely full", "months", "per month", "three years"))
	for _, r := range rows {
		t.line("", "%s", cells(r.Rank+". "+r.Name, r.Known, r.Capacity, r.Full, r.Months, r.PerMonth, r.ThreeYears))
	}
	t.moreOf(len(p.Options), maxTextOptions)
	t.gap()
}

func (t *text) missing(p analysis.Plan) {
	rows := missingRows(p)
	for i, r := range rows[:min(len(rows), maxTextMissing)] {
		t.line(label("Missing", i), "%s", joined(" ", r.What, r.Command))
	}
	t.moreOf(len(rows), maxTextMissing)
}

func (t *text) planNotes(notes []string) {
	for i, note := range notes[:min(len(notes), maxNotes)] {
		t.line(label("Notes", i), "%s", t.paint(yellow, Clean(note)))
	}
	t.moreOf(len(notes), maxNotes)
}

func (t *text) inputs(r PlanReport) {
	rows := inputRows(r.Inputs)
	for i, row := range rows[:min(len(rows), maxTextInputs)] {
		t.line(label("Inputs", i), "%s", listed(row.What, row.Name, "SHA-256 "+shortHash(row.Hash)))
	}
	t.moreOf(len(rows), maxTextInputs)
	t.line("Written", "%s", listed(r.Written.UTC().Format(time.DateTime+" UTC"), Clean(r.Author), "tunnelmark "+Clean(r.ToolVersion)))
}

// shortHash is enough to compare by eye.
func shortHash(hash string) string {
	if runes := []rune(hash); len(runes) > 16 {
		return string(runes[:16]) + "…"
	}
	return hash
}

// moreOf says how much of a list is not shown.
func (t *text) moreOf(all, shown int) {
	if more := all - shown; more > 0 {
		t.line("", "%s", fmt.Sprintf("and %d more, in the report", more))
	}
}
