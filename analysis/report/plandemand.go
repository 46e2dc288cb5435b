package report

import (
	"fmt"
	"time"

	"tunnelmark/analysis"
)

// demandView is what a page shows of the demand in one direction.
type demandView struct {
	ID, Direction string
	Chart         *futureView
	BackTest      string
	Steps         string // Days since which the level is another.
	Facts         []fact
	Dates         *dateTable // Nil where there are none.
	Nothing       []shortfallRow
	Periods       []periodTable
}

// periodTable is the demand of each week, or of each month.
type periodTable struct {
	ID, Caption, Name string
	Rows              []periodRow
}

type periodRow struct{ Start, P95, BusyHour, Known string }

func newDemandView(p analysis.Plan, i int) demandView {
	o := p.Outlooks[i]
	id := fmt.Sprintf("demand-%d", i+1)
	view := demandView{
		ID: id, Direction: Clean(o.Direction), Chart: newFutureView(p, o, id, 400),
		BackTest: backTestText(o.Forecast.BackTest), Facts: planFacts(p, o), Nothing: shortfallRows(o),
	}
	var steps []string
	for _, s := range o.Forecast.Steps[:min(len(o.Forecast.Steps), maxSteps)] {
		steps = append(steps, isoDate(s))
	}
	view.Steps = listed(steps...)
	if len(o.Crossings)+len(o.OneDown) > 0 {
		view.Dates = datesOf(id+"-dates", p, o)
	}
	view.addPeriods("week", "Week from", o.Forecast.Weeks, isoDate, layerName(p.Layer))
	view.addPeriods("month", "Month", o.Forecast.Months, isoMonth, layerName(p.Layer))
	return view
}

// maxSteps bounds a list in a sentence.
const maxSteps = 12

func (v *demandView) addPeriods(unit, name string, periods []analysis.Period, write func(time.Time) string, layer string) {
	if len(periods) == 0 {
		return
	}
	t := periodTable{ID: v.ID + "-" + unit, Name: name, Caption: fmt.Sprintf("Demand %s by %s, %s. Known is the share of the time of which there is a rate.", v.Direction, unit, layer)}
	for _, p := range periods {
		row := periodRow{Start: write(p.Start), P95: none, BusyHour: none, Known: formatPercent(p.Known)}
		if p.Known > 0 {
			row.P95, row.BusyHour = formatRough(p.P95BitsPerSecond), formatRough(p.BusyHourBitsPerSecond)
		}
		t.Rows = append(t.Rows, row)
	}
	v.Periods = append(v.Periods, t)
}
