package report

import (
	"fmt"
	"strings"
	"time"

	"tunnelmark/analysis"
)

// decision is what a plan asks of whoever signs; all formats show the same one.
type decision struct {
	Ask string // One sentence.
	// Urgency is "act", "wait" or "open": nothing can be decided yet.
	Urgency string
	// Because is what else bears on it, one sentence each, the gravest first.
	Because []string
}

const (
	act  = "act"
	wait = "wait"
	open = "open"
)

// decision rests on the outlook that is full first.
func (r PlanReport) decision() decision {
	p := r.Plan
	if len(p.Outlooks) == 0 {
		return decision{Ask: "Nothing can be decided: no demand was held against a ceiling.", Urgency: open}
	}
	o := p.Outlooks[0]
	d := decisionOf(p, o)
	if d.Urgency == wait && threatened(o) {
		d = redundancyDecision(p, o, d)
	} else {
		d.Because = append(d.Because, oneDown(p, o)...)
	}
	d.Because = append(d.Because, lateService(p, o)...)
	d.Because = append(d.Because, firstOption(p, o)...)
	if p.LeadTime == 0 && len(o.Crossings) > 0 {
		d.Because = append(d.Because, "No lead time was given, so the dates to order by leave none.")
	}
	return d
}

// decisionOf tells apart what cannot be dated, what is full, what will be, and what will not.
func decisionOf(p analysis.Plan, o analysis.Outlook) decision {
	c, dated := fullest(o.Crossings)
	subject, are := subjectOf(p, o)
	already := dated && reached(c.Likely, p.At)
	switch trend := o.Forecast.Trend; {
	case trend == analysis.AlreadyFull:
		return fullDecision(o, subject+" "+are)
	case already:
		return decision{Urgency: act, Ask: fmt.Sprintf("Order now: %s %s already.", subject, reaches(are, c.Share))}
	case trend == analysis.TooLittleData:
		return decision{Urgency: open, Ask: fmt.Sprintf("No date can be stated for %s: there is too little data.", subject),
			Because: []string{tooLittle(o)}}
	case trend == analysis.ClippedTrend:
		return clippedDecision(p, o, c)
	case !dated:
		return decision{Urgency: open, Ask: fmt.Sprintf("No date can be stated for %s.", subject)}
	case trend == analysis.NoTrend && soon(p, c):
		return noisyDecision(p, o, c)
	case c.Likely.IsZero():
		return unhurried(p, o, c)
	}
	return dueDecision(p, o, c)
}

// fullDecision is for what was at its capacity so often that nobody knows the demand.
func fullDecision(o analysis.Outlook, itIs string) decision {
	reason := fmt.Sprintf("In %s of the busy hours the capacity was reached, so what was counted then is the capacity, not the demand.", formatPercent(o.Forecast.ClippedShare))
	if !o.Forecast.GrowthKnown {
		reason += " No date and no size can be derived from it; relieve the tunnel, and plan again."
	}
	return decision{Urgency: act, Ask: fmt.Sprintf("Order now: %s full already, and the true demand is unknown.", itIs), Because: []string{reason}}
}

// clippedDecision is for what was at its capacity now and then, and does not show how
// it grows.
func clippedDecision(p analysis.Plan, o analysis.Outlook, c analysis.Crossing) decision {
	subject, _ := subjectOf(p, o)
	reason := fmt.Sprintf("In %s of the busy hours the capacity was reached.", formatPercent(o.Forecast.ClippedShare))
	return decision{
		Urgency: open, Ask: fmt.Sprintf("No date can be stated for %s: demand was cut off at the capacity, so its growth is not known.", subject),
		Because: append([]string{reason}, fastEnd(p, c)...),
	}
}

// soon says that the fast end asks for an order within a year: before a plan would be
// made again.
func soon(p analysis.Plan, c analysis.Crossing) bool {
	return !c.Earliest.IsZero() && c.Earliest.Before(p.At.AddDate(1, 0, 0))
}

// noisyDecision is for demand that shows no trend because it varies too much to show one.
func noisyDecision(p analysis.Plan, o analysis.Outlook, c analysis.Crossing) decision {
	subject, _ := subjectOf(p, o)
	reason := fmt.Sprintf("The demand shows no trend, but varies so much that growth of %s a month is not ruled out.", formatPercent(o.Forecast.GrowthPerMonthHigh))
	return decision{
		Urgency: open, Ask: fmt.Sprintf("No date can be stated for %s: whether its demand grows cannot be told yet.", subject),
		Because: append([]string{reason}, fastEnd(p, c)...),
	}
}

// dueDecision is for what will be full on the likely course.
func dueDecision(p analysis.Plan, o analysis.Outlook, c analysis.Crossing) decision {
	subject, are := subjectOf(p, o)
	full := fmt.Sprintf("%s %s in %s (%s)", subject, reaches(are, c.Share), quarter(c.Likely), spread(c, p.At))
	return decision{Urgency: act, Ask: "Order " + orderTime(c.OrderBy, p.At, longDate) + ": " + full + "."}
}

// unhurried is for what will not be full on the likely course.
func unhurried(p analysis.Plan, o analysis.Outlook, c analysis.Crossing) decision {
	subject, are := subjectOf(p, o)
	d := decision{Urgency: wait, Ask: fmt.Sprintf("No order is needed within the horizon: %s %s not expected to be full before %s.", subject, are, endName(horizon(o)))}
	if c.Share != 1 {
		d.Ask = fmt.Sprintf("No order is needed within the horizon: %s %s not expected to reach %s of the capacity before %s.", subject, are, formatGoal(c.Share), endName(horizon(o)))
	}
	if o.Forecast.Trend == analysis.NoTrend {
		d.Because = append(d.Because, "The demand so far shows no trend.")
	}
	d.Because = append(d.Because, fastEnd(p, c)...)
	return d
}

// fastEnd says when the worst case would be full that is not a likely one.
func fastEnd(p analysis.Plan, c analysis.Crossing) []string {
	if c.Earliest.IsZero() {
		return nil
	}
	full := "it " + reaches("is", c.Share)
	if p.Links > 1 {
		full = "they " + reaches("are", c.Share)
	}
	return []string{fmt.Sprintf("At the fast end of the 80"+nbsp+"%% interval %s %s, which would need an order %s.",
		full, inTime("on", c.Earliest, p.At), orderTime(c.OrderBy, p.At, isoDate))}
}

// threatened says that with one link down the rest will be full, or is.
func threatened(o analysis.Outlook) bool {
	c, ok := fullest(o.OneDown)
	return ok && !c.Likely.IsZero()
}

// redundancyDecision is for links that carry all, but not for one another.
func redundancyDecision(p analysis.Plan, o analysis.Outlook, otherwise decision) decision {
	c, _ := fullest(o.OneDown)
	when := "already"
	if !reached(c.Likely, p.At) {
		when = fmt.Sprintf("in %s (%s)", quarter(c.Likely), spread(c, p.At))
	}
	return decision{
		Urgency: act,
		Ask:     fmt.Sprintf("Order %s to stay redundant: with one link out of service the rest %s %s.", orderTime(c.OrderBy, p.At, longDate), reaches("is", c.Share), when),
		Because: append(otherwise.Because, strings.Replace(otherwise.Ask, "No order is needed within the horizon: ", "With all links no order is needed: ", 1)),
	}
}

// lateService says that what is ordered on the plan's day comes after the likely date.
func lateService(p analysis.Plan, o analysis.Outlook) []string {
	c, _ := fullest(o.Crossings)
	service := p.At.Add(p.LeadTime)
	if c.Likely.IsZero() || reached(c.Likely, p.At) || !service.After(c.Likely) {
		return nil
	}
	return []string{fmt.Sprintf("What is ordered on the plan's day is in service on %s: after the likely date.", isoDate(service))}
}

// oneDown says until when the links can stand in for one another.
func oneDown(p analysis.Plan, o analysis.Outlook) []string {
	c, ok := fullest(o.OneDown)
	if !ok {
		return nil
	}
	full := reaches("is", c.Share)
	switch {
	case reached(c.Likely, p.At):
		return []string{fmt.Sprintf("With one link out of service the rest %s already: the links no longer stand in for one another.", full)}
	case c.Likely.IsZero():
		return []string{fmt.Sprintf("With one link out of service the rest is not expected to be full before %s.", endName(horizon(o)))}
	}
	return []string{fmt.Sprintf("With one link out of service the rest %s in %s (%s); to stay redundant, order %s.",
		full, quarter(c.Likely), spread(c, p.At), orderTime(c.OrderBy, p.At, isoDate))}
}

// firstOption names the remedy that is ranked first.
func firstOption(p analysis.Plan, o analysis.Outlook) []string {
	c, _ := fullest(o.Crossings)
	switch {
	case len(p.Options) == 0:
		return nil
	case o.Forecast.GrowthKnown && !c.Likely.IsZero() && p.Options[0].Months == 0:
		return []string{fmt.Sprintf("Of %s none buys time.", optionCount(len(p.Options)))}
	}
	row := newOptionRow(p, 0)
	cost := ""
	if row.ThreeYears != none {
		cost = ", " + row.ThreeYears + " in three years"
	}
	return []string{fmt.Sprintf("Ranked first of %s: %s (%s), %s%s.", optionCount(len(p.Options)), row.Name, row.Known, boughtWords(row.Months), cost)}
}

func optionCount(n int) string {
	if n == 1 {
		return "one option"
	}
	return formatCount(n) + " options"
}

func tooLittle(o analysis.Outlook) string {
	days := 0
	for _, d := range o.Forecast.Days {
		if !d.Partial {
			days++
		}
	}
	return fmt.Sprintf("Demand is known of %s; in the busiest hour it took %s of the capacity.", formatDays(time.Duration(days)*24*time.Hour), formatPercent(o.Use))
}

// subjectOf is "the tunnel a to b" with its verb.
func subjectOf(p analysis.Plan, o analysis.Outlook) (subject, are string) {
	subject, are = "the tunnel", "is"
	if p.Links > 1 {
		subject, are = "the "+linksWord(p.Links), "are"
	}
	if o.Capacity.Shared {
		return fmt.Sprintf("%s between %s and %s", subject, Clean(p.From), Clean(p.To)), are
	}
	return subject + " " + Clean(o.Direction), are
}

// reaches is "is full", or how much of the capacity is reached.
func reaches(are string, share float64) string {
	switch {
	case share == 1:
		return are + " full"
	case are == "are":
		return "reach " + formatGoal(share) + " of the capacity"
	}
	return "reaches " + formatGoal(share) + " of the capacity"
}

// fullest is the crossing of the highest share.
func fullest(crossings []analysis.Crossing) (most analysis.Crossing, ok bool) {
	for _, c := range crossings {
		if c.Share > most.Share {
			most = c
		}
	}
	return most, most.Share > 0
}

// reached says that a date is not after the plan's own day; zero is no date.
func reached(date, at time.Time) bool { return !date.IsZero() && !date.After(at) }

// horizon is where a forecast ends; zero: it does not say.
func horizon(o analysis.Outlook) time.Time {
	if len(o.Forecast.Ahead) == 0 {
		return time.Time{}
	}
	return o.Forecast.Ahead[len(o.Forecast.Ahead)-1].Date
}

// spread is "2015-10-28 to 2015-12-30, likely 2015-11-26".
func spread(c analysis.Crossing, at time.Time) string {
	earliest, likely := isoDate(c.Earliest), "likely "+isoDate(c.Likely)
	if reached(c.Earliest, at) {
		earliest = "now"
	}
	switch {
	case c.Earliest.IsZero():
		return likely
	case c.Latest.IsZero(): // Beyond the horizon, or the capacity is open upwards.
		return earliest + " at the earliest, " + likely
	}
	return earliest + " to " + isoDate(c.Latest) + ", " + likely
}

func endName(end time.Time) string {
	if end.IsZero() {
		return "the end of the forecast"
	}
	return isoDate(end)
}

func inTime(on string, date, at time.Time) string {
	if reached(date, at) {
		return "already"
	}
	return on + " " + isoDate(date)
}

func orderTime(date, at time.Time, write func(time.Time) string) string {
	switch {
	case date.IsZero():
		return "in time"
	case reached(date, at):
		return "now"
	}
	return "by " + write(date)
}
