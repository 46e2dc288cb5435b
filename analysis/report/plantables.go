package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"tunnelmark/analysis"
)

// dateTable is when demand reaches shares of capacities.
type dateTable struct {
	ID, Caption, Layer string
	Several            bool // Directions.
	Rows               []dateRow
}

// dateRow is when demand reaches one share of a capacity.
type dateRow struct {
	Direction, Share, Rate            string
	Earliest, Likely, Latest, OrderBy string
	Error                             string // Of the back-test.
	Full                              bool   // The decision is about this share.
}

const fourInFive = "When demand reaches a share of the capacity. Four times in five the date lies between the earliest and the latest."

// firstDates are those of the outlook that is full first, and when the others are full.
func firstDates(p analysis.Plan) *dateTable {
	if len(p.Outlooks) == 0 {
		return nil
	}
	t := datesOf("dates", p, p.Outlooks[0])
	t.Several = len(p.Outlooks) > 1
	for _, o := range p.Outlooks[1:] {
		for _, row := range dateRows(p, o) {
			if row.Full {
				t.Rows = append(t.Rows, row)
			}
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

// datesOf has all dates of one outlook.
func datesOf(id string, p analysis.Plan, o analysis.Outlook) *dateTable {
	return &dateTable{ID: id, Caption: fourInFive + " " + backTestText(o.Forecast.BackTest), Layer: layerName(p.Layer), Rows: dateRows(p, o)}
}

// dateRows has the dates with all links first, then those with one down.
func dateRows(p analysis.Plan, o analysis.Outlook) []dateRow {
	var rows []dateRow
	links := max(1, p.Links)
	for _, c := range o.Crossings {
		rows = append(rows, newDateRow(p, o, c, links, linksName(links)))
	}
	for _, c := range o.OneDown {
		rows = append(rows, newDateRow(p, o, c, links-1, ", one link down"))
	}
	return rows
}

func linksName(links int) string {
	if links == 1 {
		return ""
	}
	return " of all links"
}

func newDateRow(p analysis.Plan, o analysis.Outlook, c analysis.Crossing, links int, which string) dateRow {
	when := crossed(p, o, c, o.Capacity)
	most, _ := fullest(o.Crossings)
	row := dateRow{
		Direction: Clean(o.Direction), Share: formatGoal(c.Share) + which, Full: c.Share == most.Share,
		Rate:     formatRough(o.Capacity.LikelyBitsPerSecond * float64(links) * c.Share),
		Earliest: when.earliest, Likely: when.likely, Latest: when.latest, OrderBy: none, Error: testedError(o.Forecast.BackTest),
	}
	switch past := reached(c.OrderBy, p.At); {
	case past && row.Full:
		row.OrderBy = "now"
	case past:
		row.OrderBy = "passed"
	case !c.OrderBy.IsZero():
		row.OrderBy = isoDate(c.OrderBy)
	}
	return row
}

// when is a crossing in words.
type when struct{ earliest, likely, latest string }

// crossed writes the dates of a crossing. One that is zero is not within the horizon, or
// not known where growth is not, or how much more there is.
func crossed(p analysis.Plan, o analysis.Outlook, c analysis.Crossing, capacity analysis.Capacity) when {
	never := "not before " + isoDate(horizon(o))
	switch {
	case !o.Forecast.GrowthKnown:
		never = notKnown
	case horizon(o).IsZero():
		never = "not within the horizon"
	}
	write := func(date time.Time) string {
		switch {
		case date.IsZero():
			return never
		case reached(date, p.At):
			return "already"
		}
		return isoDate(date)
	}
	w := when{write(c.Earliest), write(c.Likely), write(c.Latest)}
	if c.Latest.IsZero() && capacity.HighBitsPerSecond == 0 {
		w.latest = notKnown
	}
	return w
}

const notKnown = "not" + nbsp + "known"

// testedError is how far off the same method was on the same series.
func testedError(b *analysis.BackTest) string {
	if b == nil {
		return "not tested"
	}
	return formatPercent(b.Error)
}

// backTestText is what the errors beside the dates mean.
func backTestText(b *analysis.BackTest) string {
	if b == nil {
		return "The method could not be tested on this series, which is too short."
	}
	text := fmt.Sprintf("Tested on this series, a week ahead, %s times: repeat-last-week errs %s, this method %s",
		formatCount(b.Forecasts), formatPercent(b.RepeatError), formatPercent(b.Error))
	if b.Intervals > 0 {
		text += "; its 80" + nbsp + "% interval held " + formatPercent(b.Covered)
	}
	return text + "."
}

// optionRow is one remedy.
type optionRow struct {
	Rank, Name, Known, Capacity, Factor string
	Full, Earliest, Latest, Months      string
	PerMonth, ThreeYears, Price, Note   string
	Claimed                             bool
}

func optionRows(p analysis.Plan) []optionRow {
	var rows []optionRow
	for i := range p.Options {
		rows = append(rows, newOptionRow(p, i))
	}
	return rows
}

func newOptionRow(p analysis.Plan, i int) optionRow {
	o := p.Options[i]
	var full when
	if len(p.Outlooks) > 0 {
		full = crossed(p, p.Outlooks[0], o.Full, o.Capacity)
	}
	row := optionRow{
		Rank: formatCount(i + 1), Name: Clean(o.Name), Known: "measured", Claimed: o.Capacity.Claimed,
		Capacity: capacityRange(o.Capacity, ""), Factor: none,
		Full: full.likely, Earliest: full.earliest, Latest: full.latest,
		Months: monthsBought(o), PerMonth: none, ThreeYears: none, Price: none, Note: Clean(o.Note),
	}
	if o.Capacity.Claimed {
		row.Known = "vendor claim"
	}
	if o.Factor > 0 {
		row.Factor = trimmed(o.Factor, 2) + nbsp + "×"
	}
	if o.Price != nil {
		row.addPrice(*o.Price, o.AtLeast)
	}
	if full.likely == notKnown {
		row.Months, row.PerMonth = notKnown, none
	}
	return row
}

func (row *optionRow) addPrice(price analysis.Price, atLeast bool) {
	money := func(amount float64) string { return formatMoney(amount, price.Currency) }
	row.ThreeYears = money(price.ThreeYears)
	row.Price = money(price.Once) + " once"
	if price.Monthly > 0 {
		row.Price += ", " + money(price.Monthly) + " a month"
	}
	switch {
	case price.PerMonth > 0:
		row.PerMonth = money(price.PerMonth)
		if atLeast && price.Once > 0 {
			row.PerMonth = "at most " + row.PerMonth
		}
	case price.ThreeYears > 0:
		row.PerMonth = "buys no time"
	}
}

// monthsBought is "14", "2.5" or "36 or more".
func monthsBought(o analysis.Option) string {
	text := minus(trimmed(math.Round(o.Months), 0))
	if o.Months > 0 && o.Months < 3 {
		text = trimmed(math.Round(o.Months*2)/2, 1)
	}
	if o.AtLeast {
		text += " or more"
	}
	return text
}

// boughtWords is the same in a sentence.
func boughtWords(months string) string {
	number, more := strings.CutSuffix(months, " or more")
	switch number {
	case notKnown:
		return "the time that it buys is not known"
	case "0":
		number = "no month"
	case "1":
		number = "1 month"
	default:
		number += " months"
	}
	if more {
		number += " or more"
	}
	return number + " bought"
}

// capacityRange writes a capacity; layer may be empty where a column names it.
func capacityRange(c analysis.Capacity, layer string) string {
	switch low, high := formatRate(c.LowBitsPerSecond), formatRate(c.HighBitsPerSecond); {
	case c.HighBitsPerSecond == 0:
		return joined(" ", low, layer, "or more")
	case c.LowBitsPerSecond <= 0:
		return joined(" ", "at most", high, layer)
	case low == high:
		return joined(" ", low, layer)
	}
	return joined(" ", span(c.LowBitsPerSecond, c.HighBitsPerSecond), layer)
}

// layerName is what a layer is called on a page.
func layerName(l analysis.Layer) string {
	switch l {
	case analysis.InnerLayer, analysis.OuterLayer:
		return string(l)
	case analysis.EthernetLayer:
		return "L2"
	}
	return "layer unknown"
}

// optionLayer is what the capacities of options are told in.
func optionLayer(p analysis.Plan) string {
	if p.Links > 1 {
		return layerName(p.Layer) + ", all links"
	}
	return layerName(p.Layer)
}

// layerMeaning says what a layer counts.
func layerMeaning(l analysis.Layer) string {
	switch l {
	case analysis.InnerLayer:
		return "inner: IP packets as they enter the tunnel"
	case analysis.OuterLayer:
		return "outer: IP packets as they leave the tunnel, all its headers included"
	case analysis.EthernetLayer:
		return "L2: Ethernet frames that carry the tunnel’s packets, header and check sequence included"
	}
	return "of an unknown layer"
}

// planFacts are the figures of one outlook, in the order in which they are understood.
func planFacts(p analysis.Plan, o analysis.Outlook) []fact {
	facts := []fact{capacityFact(p, o), busyFact(p, o), growthFact(o), burstFact(o.Forecast)}
	if o.Forecast.ClippedShare > 0 {
		facts = append(facts, fact{Name: "Clipped", Value: formatPercent(o.Forecast.ClippedShare) + " of the busy hours", Note: "the capacity was reached, demand may have been higher"})
	}
	return facts
}

func capacityFact(p analysis.Plan, o analysis.Outlook) fact {
	f := fact{Name: "Ceiling", Value: capacityRange(o.Capacity, layerName(p.Layer)), Note: Clean(o.Direction)}
	if p.Links > 1 {
		f.Note += ", of each of " + linksWord(p.Links)
	}
	f.Note += ", " + Clean(o.Capacity.Basis)
	if o.Capacity.Claimed {
		f.Note += ", vendor claim"
	}
	return f
}

func busyFact(p analysis.Plan, o analysis.Outlook) fact {
	return fact{
		Name: "Busy hour", Value: formatPercent(o.Use) + " used",
		Note: formatRough(o.BusyHourBitsPerSecond) + " " + layerName(p.Layer) + " in the busiest hour of the last four weeks",
	}
}

func growthFact(o analysis.Outlook) fact {
	trend, perMonth := Clean(string(o.Forecast.Trend)), formatSigned(o.Forecast.GrowthPerMonth)+" a month"
	interval := fmt.Sprintf("80"+nbsp+"%% interval %s to %s a month", formatSigned(o.Forecast.GrowthPerMonthLow), formatSigned(o.Forecast.GrowthPerMonthHigh))
	f := fact{Name: "Growth"}
	switch {
	case o.Forecast.Trend == analysis.ClippedTrend:
		f.Value, f.Note = notKnown, "demand was cut off at the capacity"
	case !o.Forecast.GrowthKnown:
		f.Value, f.Note = notKnown, trend
	case o.Forecast.Trend == analysis.NoTrend:
		f.Value, f.Note = "no trend", interval
	case o.Forecast.Trend == analysis.AlreadyFull:
		f.Value, f.Note = perMonth+" or more", interval+", "+trend
	default:
		f.Value, f.Note = perMonth, interval+", "+trend
	}
	return f
}

func burstFact(f analysis.Forecast) fact {
	switch {
	case f.BurstsUnknown:
		return fact{Name: "Bursts", Value: "bursts unknown", Note: "no samples finer than a minute"}
	case f.BurstRatio > 0:
		return fact{Name: "Bursts", Value: trimmed(f.BurstRatio, 1) + nbsp + "× the mean", Note: "highest fine sample in a day’s busiest minutes, median of the days"}
	}
	return fact{Name: "Bursts", Value: "not known"}
}

// shortfallRow is a week of doing nothing; Sentence tells of it without a table.
type shortfallRow struct{ At, Hours, Excess, Sentence string }

func shortfallRows(o analysis.Outlook) []shortfallRow {
	var rows []shortfallRow
	for _, s := range o.DoingNothing {
		row := shortfallRow{At: isoDate(s.At), Hours: formatHours(s.Hours), Excess: formatPercent(s.Excess)}
		row.Sentence = fmt.Sprintf("Week of %s: %s of 168 hours above the capacity, %s of their demand does not fit.", row.At, row.Hours, row.Excess)
		if s.Hours == 0 {
			row.Sentence = fmt.Sprintf("Week of %s: the expected demand stays below the capacity.", row.At)
		}
		rows = append(rows, row)
	}
	return rows
}

// missingRow is what was not measured.
type missingRow struct{ What, Command string }

func missingRows(p analysis.Plan) []missingRow {
	var rows []missingRow
	for _, m := range p.Missing {
		rows = append(rows, missingRow{What: Clean(m.What), Command: Clean(m.Command)})
	}
	return rows
}

// inputTable is all that a plan is made from.
type inputTable struct {
	ID   string
	Rows []inputRow
}

// inputRow is one thing that the plan is made from.
type inputRow struct{ Name, What, Hash string }

func inputRows(inputs []Input) []inputRow {
	var rows []inputRow
	for _, i := range inputs {
		rows = append(rows, inputRow{Name: Clean(i.Name), What: Clean(i.What), Hash: Clean(i.SHA256)})
	}
	return rows
}
