package report

import (
	"math"
	"strconv"
	"time"
)

// A calendar is a step between the ticks of an axis of dates: so many days or months,
// and how a date is written then.
type calendar struct {
	days, months int
	write        func(time.Time) string
}

// calendars are the steps that people count in, the shortest first.
var calendars = []calendar{
	{days: 1, write: isoDate}, {days: 2, write: isoDate}, {days: 7, write: isoDate}, {days: 14, write: isoDate},
	{months: 1, write: isoMonth}, {months: 3, write: quarter}, {months: 6, write: isoMonth},
	{months: 12, write: isoYear}, {months: 24, write: isoYear}, {months: 60, write: isoYear}, {months: 120, write: isoYear},
}

func isoMonth(t time.Time) string { return t.Format("2006-01") }
func isoYear(t time.Time) string  { return strconv.Itoa(t.Year()) }

// dateTicks are the starts of days, months, quarters or years, at least so many
// pixels apart.
func (a axis) dateTicks(zone *time.Location, apart float64) []tick {
	const day = 24 * 60 * 60
	step := calendars[len(calendars)-1]
	perDay := a.Across() / (a.max - a.min) * day
	for _, c := range calendars {
		if (float64(c.days)+float64(c.months)*30)*perDay >= math.Max(apart, charWidth*(1+float64(len(c.write(time.Time{}))))) {
			step = c
			break
		}
	}
	var ticks []tick
	for i, date := 0, step.first(dateAt(a.min, zone)); i < maxTicks && dateValue(date) <= a.max; i, date = i+1, step.next(date) {
		at, text := a.at(dateValue(date)), step.write(date)
		if a.covers(dateValue(date)) && at+charWidth*float64(len(text))/2 <= a.End+marginRight {
			ticks = append(ticks, tick{At: at, Text: text})
		}
	}
	return ticks
}

// first is the step that a time is in: months count from January, weeks from Monday.
func (c calendar) first(t time.Time) time.Time {
	year, month, day := t.Date()
	if c.months > 0 {
		months := year*12 + int(month) - 1
		months -= months % c.months
		return time.Date(months/12, time.Month(months%12+1), 1, 0, 0, 0, 0, t.Location())
	}
	if c.days%7 == 0 {
		day -= (int(t.Weekday()) + 6) % 7
	}
	return time.Date(year, month, day, 0, 0, 0, 0, t.Location())
}

func (c calendar) next(t time.Time) time.Time { return t.AddDate(0, c.months, c.days) }

// dateValue is where a date stands on an axis.
func dateValue(t time.Time) float64 { return float64(t.Unix()) }

func dateAt(value float64, zone *time.Location) time.Time {
	return time.Unix(int64(value), 0).In(zone)
}
