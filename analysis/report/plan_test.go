package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
)

func planOutput(t *testing.T, write func(io.Writer, PlanReport) error, r PlanReport) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out, r); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func plainPlanText(w io.Writer, r PlanReport) error { return WritePlanText(w, r, TextOptions{}) }

func TestWritePlanTextGolden(t *testing.T) {
	for _, f := range planFixtures {
		t.Run(f.name, func(t *testing.T) {
			got := planOutput(t, plainPlanText, f.report())
			golden(t, fixtureName("plan-"+f.name, "txt"), got)
			if lines := bytes.Count(got, []byte("\n")); lines > 60 {
				t.Errorf("got %d lines, want at most 60", lines)
			}
			if bytes.ContainsAny(got, "\x1b\x00\u202e") {
				t.Error("text carries control characters")
			}
		})
	}
}

func TestWritePlanTextColor(t *testing.T) {
	escape := regexp.MustCompile("\x1b\\[[0-9]+m")
	got := planOutput(t, func(w io.Writer, r PlanReport) error { return WritePlanText(w, r, TextOptions{Color: true}) }, growPlan())
	if !escape.Match(got) {
		t.Error("no colour")
	}
	if diff := cmp.Diff(string(planOutput(t, plainPlanText, growPlan())), escape.ReplaceAllString(string(got), "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWritePlanHTMLGolden(t *testing.T) {
	golden(t, fixtureName("plan-grow", "html"), planOutput(t, WritePlanHTML, growPlan()))
}

func TestWritePlanHTMLIsSound(t *testing.T) {
	for _, f := range planFixtures {
		t.Run(f.name, func(t *testing.T) {
			text := planOutput(t, WritePlanHTML, f.report())
			if err := sound(text); err != nil {
				t.Error(err)
			}
			accessible(t, text)
		})
	}
}

func TestWritePlanHTMLShows(t *testing.T) {
	tests := []struct {
		name         string
		report       func() PlanReport
		has, without []string
	}{
		{"all that there is", growPlan, []string{
			`id="sheet-wide-title"`, `id="demand-1-narrow-title"`, `id="verdict"`, `id="latency"`, `id="packet-sizes"`, `id="scaling"`, `id="remedies"`, `id="ends"`,
			"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "nadia@noc-2.example.net", "0.6\u00a0% at most", "83\u00a0%",
			"repeat-last-week errs 9.3\u00a0%, this method 8.1\u00a0%; its 80\u00a0% interval held 79\u00a0%",
			`<span class="known claimed">vendor claim</span>`, `<span class="known">measured</span>`, "45,400\u00a0USD",
		}, []string{"one link down"}},
		{"policy", growPlan, []string{`content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"`}, []string{"http://", "https://", "@import", "url(", "<script"}},
		{"two links", redundantPlan, []string{"<h1>Capacity plan of the 2 links a to b</h1>", "of each of 2 links", "Carries, inner, all links", "Capacity, inner, all links", "one link down", `id="demand-2-wide-title"`, "links no longer stand in for one another"}, []string{"2 tunnels"}},
		{"all reasons", fiveReasons, []string{"so the dates to order by leave none"}, nil},
		{"part of a day", partOfADay, nil, []string{`class="mark outlier"`}},
		{"no hash of all inputs", growPlan, nil, []string{"SHA-256 of all inputs"}},
		{"no more than there is", steadyPlan, []string{"no trend", "before <span class=\"nowrap\">2017-02-27</span>"}, []string{`id="latency"`, `id="packet-sizes"`, `id="scaling"`, `id="remedies"`, `id="options"`, `id="nothing"`, "USD"}},
		{"full", fullPlan, []string{"the true demand is unknown", "bursts unknown", `class="mark clipped"`}, []string{"expected on busy weekdays", "then the expected level", "area forecast"}},
		{"brief", briefPlan, []string{"there is too little data", "inner or more", "not tested"}, []string{"not before", "line likely"}},
		{"nothing", emptyPlan, []string{"Nothing can be decided"}, []string{`id="demand"`, `id="headline"`}},
		{"many", manyPlan, []string{"And 39 more, under Remedies", "All that was not measured", "All notes", `id="inputs-all"`}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := string(planOutput(t, WritePlanHTML, test.report()))
			_, body, _ := strings.Cut(text, "</style>")
			for _, part := range test.has {
				if !strings.Contains(text, part) {
					t.Errorf("page has no %q", part)
				}
			}
			for _, part := range test.without {
				if strings.Contains(body, part) {
					t.Errorf("page has %q", part)
				}
			}
		})
	}
}

func TestWritePlanJSON(t *testing.T) {
	text := planOutput(t, WritePlanJSON, growPlan())
	var got struct {
		Schema   int    `json:"schema_version"`
		Kind     Kind   `json:"kind"`
		Decision string `json:"decision"`
		Plan     analysis.Plan
		Inputs   []Input
		Results  []Result
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := growPlan()
	if got.Schema != SchemaVersion || got.Kind != Planning || got.Decision != plain(want.decision().Ask) {
		t.Errorf("schema version %d, kind %q, decision %q", got.Schema, got.Kind, got.Decision)
	}
	if diff := cmp.Diff(want.Plan, got.Plan); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Inputs, got.Inputs); diff != "" || got.Results != nil {
		t.Errorf("%d results, inputs (-want +got):\n%s", len(got.Results), diff)
	}
	if _, err := Read(bytes.NewReader(text)); err == nil || !strings.Contains(err.Error(), `kind is "plan"`) {
		t.Errorf("read as a result: %v, want it refused for its kind", err)
	}
}

func TestWritePlanReportsItsError(t *testing.T) {
	for name, write := range map[string]func(io.Writer, PlanReport) error{"json": WritePlanJSON, "text": plainPlanText, "html": WritePlanHTML} {
		t.Run(name, func(t *testing.T) {
			if err := write(fullDisk{}, growPlan()); !errors.Is(err, errFull) {
				t.Errorf("got error %v, want %v", err, errFull)
			}
		})
	}
	r := growPlan()
	r.Plan.Outlooks[0].Use = math.NaN()
	if err := WritePlanJSON(io.Discard, r); err == nil || !strings.Contains(err.Error(), "write plan: ") {
		t.Errorf("a figure that is none: got error %v", err)
	}
}

func TestDecision(t *testing.T) {
	horizon := []analysis.Ahead{{Date: planDate(2016, time.June, 12)}}
	crossing := func(share float64, dates ...time.Time) []analysis.Crossing {
		c := analysis.Crossing{Share: share}
		for i, to := range []*time.Time{&c.Earliest, &c.Likely, &c.Latest} {
			if i < len(dates) {
				*to = dates[i]
			}
		}
		if !c.Earliest.IsZero() {
			c.OrderBy = c.Earliest.AddDate(0, 0, -26)
		}
		return []analysis.Crossing{{Share: share / 2, Likely: planAt}, c}
	}
	october, november, december := planDate(2015, time.October, 28), planDate(2015, time.November, 26), planDate(2015, time.December, 30)
	june := planDate(2015, time.June, 20)
	none := time.Time{}
	tests := []struct {
		name    string
		outlook analysis.Outlook
		links   int
		ask     string
		because string // Of the first sentence.
		urgency string
	}{
		{"to be ordered", analysis.Outlook{Crossings: crossing(1, october, november, december)}, 1,
			"Order by 2 October 2015: the tunnel a to b is full in Q4 2015 (2015-10-28 to 2015-12-30, likely 2015-11-26).", "", act},
		{"several links", analysis.Outlook{Crossings: crossing(1, october, november, december)}, 3,
			"Order by 2 October 2015: the 3 links a to b are full in Q4 2015 (2015-10-28 to 2015-12-30, likely 2015-11-26).", "", act},
		{"no latest date", analysis.Outlook{Crossings: crossing(1, october, november)}, 1,
			"Order by 2 October 2015: the tunnel a to b is full in Q4 2015 (2015-10-28 at the earliest, likely 2015-11-26).", "", act},
		{"a part of the capacity", analysis.Outlook{Crossings: crossing(0.8, october, november, december)}, 1,
			"Order by 2 October 2015: the tunnel a to b reaches 80 % of the capacity in Q4 2015 (2015-10-28 to 2015-12-30, likely 2015-11-26).", "", act},
		{"a part of several", analysis.Outlook{Crossings: crossing(0.8, october, november, december)}, 2,
			"Order by 2 October 2015: the 2 links a to b reach 80 % of the capacity in Q4 2015 (2015-10-28 to 2015-12-30, likely 2015-11-26).", "", act},
		{"both directions", analysis.Outlook{Capacity: analysis.Capacity{Shared: true}, Crossings: crossing(1, october, november, december)}, 1,
			"Order by 2 October 2015: the tunnel between a and b is full in Q4 2015 (2015-10-28 to 2015-12-30, likely 2015-11-26).", "", act},
		{"lead time has passed", analysis.Outlook{Crossings: crossing(1, june, november, december)}, 1,
			"Order now: the tunnel a to b is full in Q4 2015 (2015-06-20 to 2015-12-30, likely 2015-11-26).", "", act},
		{"full now at the earliest", analysis.Outlook{Crossings: crossing(1, planAt, november, december)}, 1,
			"Order now: the tunnel a to b is full in Q4 2015 (now to 2015-12-30, likely 2015-11-26).", "", act},
		{"full", analysis.Outlook{Crossings: crossing(1, planAt, planAt, december)}, 1, "Order now: the tunnel a to b is full already.", "", act},
		{"full of too little data", analysis.Outlook{Forecast: analysis.Forecast{Trend: analysis.TooLittleData}, Crossings: crossing(1, planAt, planAt, planAt)}, 1,
			"Order now: the tunnel a to b is full already.", "", act},
		{"clipped", analysis.Outlook{Forecast: analysis.Forecast{Trend: analysis.AlreadyFull, ClippedShare: 0.12}, Crossings: crossing(1, planAt, planAt, planAt)}, 2,
			"Order now: the 2 links a to b are full already, and the true demand is unknown.",
			"In 12 % of the busy hours the capacity was reached, so what was counted then is the capacity, not the demand. No date", act},
		{"clipped, growth known", analysis.Outlook{Forecast: analysis.Forecast{Trend: analysis.AlreadyFull, GrowthKnown: true, ClippedShare: 0.12}, Crossings: crossing(1, planAt, planAt, planAt), OneDown: crossing(1, planAt, planAt)}, 2,
			"Order now: the 2 links a to b are full already, and the true demand is unknown.",
			"In 12 % of the busy hours the capacity was reached, so what was counted then is the capacity, not the demand. With one link", act},
		{"no date to order by", analysis.Outlook{Crossings: []analysis.Crossing{{Share: 1, Likely: november}}, OneDown: []analysis.Crossing{{Share: 1, Likely: october}}}, 2,
			"Order in time: the 2 links a to b are full in Q4 2015 (likely 2015-11-26).",
			"With one link out of service the rest is full in Q4 2015 (likely 2015-10-28); to stay redundant, order in time.", act},
		{"clipped now and then", analysis.Outlook{Forecast: analysis.Forecast{Trend: analysis.ClippedTrend, ClippedShare: 0.03}, Crossings: crossing(1)}, 1,
			"No date can be stated for the tunnel a to b: demand was cut off at the capacity, so its growth is not known.", "In 3 % of the busy hours", open},
		{"clipped, maybe soon full", analysis.Outlook{Forecast: analysis.Forecast{Trend: analysis.ClippedTrend, ClippedShare: 0.03}, Crossings: crossing(1, october)}, 1,
			"No date can be stated for the tunnel a to b: demand was cut off at the capacity, so its growth is not known.",
			"In 3 % of the busy hours the capacity was reached. At the fast end of the 80 % interval it is full on 2015-10-28, which would need an order by 2015-10-02.", open},
		{"too little data", analysis.Outlook{Use: 0.4, Forecast: analysis.Forecast{Trend: analysis.TooLittleData, Days: []analysis.Day{{P95BitsPerSecond: 1}, {P95BitsPerSecond: 1, Partial: true}}}, Crossings: crossing(1)}, 1,
			"No date can be stated for the tunnel a to b: there is too little data.", "Demand is known of 1 day; in the busiest hour it took 40 % of the capacity.", open},
		{"too few days", analysis.Outlook{Use: 0.4, Forecast: analysis.Forecast{Trend: analysis.TooLittleData, Days: make([]analysis.Day, 30)}, Crossings: crossing(1)}, 1,
			"No date can be stated for the tunnel a to b: there is too little data.", "Demand is known of 30 days; in the busiest hour it took 40 % of the capacity.", open},
		{"no crossing asked for", analysis.Outlook{}, 1, "No date can be stated for the tunnel a to b.", "", open},
		{"no trend", analysis.Outlook{Forecast: analysis.Forecast{Trend: analysis.NoTrend, Ahead: horizon}, Crossings: crossing(1)}, 1,
			"No order is needed within the horizon: the tunnel a to b is not expected to be full before 2016-06-12.", "The demand so far shows no trend.", wait},
		{"too noisy for a trend", analysis.Outlook{Forecast: analysis.Forecast{Trend: analysis.NoTrend, GrowthPerMonthHigh: 0.31, Ahead: horizon}, Crossings: crossing(1, october, none, none)}, 1,
			"No date can be stated for the tunnel a to b: whether its demand grows cannot be told yet.",
			"The demand shows no trend, but varies so much that growth of 31 % a month is not ruled out.", open},
		{"no horizon", analysis.Outlook{Crossings: crossing(1)}, 1,
			"No order is needed within the horizon: the tunnel a to b is not expected to be full before the end of the forecast.", "", wait},
		{"no part of it", analysis.Outlook{Forecast: analysis.Forecast{Ahead: horizon}, Crossings: crossing(0.8)}, 2,
			"No order is needed within the horizon: the 2 links a to b are not expected to reach 80 % of the capacity before 2016-06-12.", "", wait},
		{"full on the fast course", analysis.Outlook{Forecast: analysis.Forecast{Ahead: horizon}, Crossings: crossing(1, october, none, none)}, 1,
			"No order is needed within the horizon: the tunnel a to b is not expected to be full before 2016-06-12.",
			"At the fast end of the 80 % interval it is full on 2015-10-28, which would need an order by 2015-10-02.", wait},
		{"links, on the fast course", analysis.Outlook{Forecast: analysis.Forecast{Ahead: horizon}, Crossings: crossing(1, october, none, none)}, 2,
			"No order is needed within the horizon: the 2 links a to b are not expected to be full before 2016-06-12.",
			"At the fast end of the 80 % interval they are full on 2015-10-28, which would need an order by 2015-10-02.", wait},
		{"one down, later", analysis.Outlook{Forecast: analysis.Forecast{Ahead: horizon}, Crossings: crossing(1), OneDown: crossing(1, october, november, december)}, 2,
			"Order by 2 October 2015 to stay redundant: with one link out of service the rest is full in Q4 2015 (2015-10-28 to 2015-12-30, likely 2015-11-26).",
			"With all links no order is needed: the 2 links a to b are not expected to be full before 2016-06-12.", act},
		{"one down, never", analysis.Outlook{Forecast: analysis.Forecast{Ahead: horizon}, Crossings: crossing(1), OneDown: crossing(1)}, 2,
			"No order is needed within the horizon: the 2 links a to b are not expected to be full before 2016-06-12.",
			"With one link out of service the rest is not expected to be full before 2016-06-12.", wait},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.outlook.Direction = "a to b"
			d := PlanReport{Plan: analysis.Plan{At: planAt, From: "a", To: "b", Links: test.links, LeadTime: time.Hour, Outlooks: []analysis.Outlook{test.outlook}}}.decision()
			because := strings.Join(d.Because, " ")
			if got := plain(d.Ask); got != test.ask || d.Urgency != test.urgency || !strings.HasPrefix(plain(because), test.because) || test.because == "" && because != "" {
				t.Errorf("%s: %q\nbecause %q\nwant %s: %q\nbecause %q", d.Urgency, got, because, test.urgency, test.ask, test.because)
			}
		})
	}
}

func TestPlanFormat(t *testing.T) {
	option := func(months float64, more bool) string {
		return monthsBought(analysis.Option{Months: months, AtLeast: more})
	}
	tests := []struct{ name, got, want string }{
		{"whole months", option(13.6, false), "14"},
		{"few months", option(2.3, false), "2.5"},
		{"a sliver", option(0.2, false), "0"},
		{"beyond the horizon", option(36.2, true), "36 or more"},
		{"time lost", option(-4, false), "−4"},
		{"one month in words", boughtWords("1"), "1 month bought"},
		{"many in words", boughtWords("36 or more"), "36 months or more bought"},
		{"none in words", boughtWords("0"), "no month bought"},
		{"no per cent", formatPercent(0), "0 %"},
		{"hardly a per cent", formatPercent(0.0001), "< 0.1 %"},
		{"some per cent", formatPercent(0.0814), "8.1 %"},
		{"many per cent", formatPercent(0.388), "39 %"},
		{"rounded to ten", formatPercent(0.0996), "10 %"},
		{"growth", formatSigned(0.042), "+4.2 %"},
		{"decline", formatSigned(-0.15), "−15 %"},
		{"neither", formatSigned(0.0001), "±0 %"},
		{"money", formatMoney(40000, "USD"), "40,000 USD"},
		{"cents", formatMoney(12.5, "EUR"), "12.50 EUR"},
		{"no cents of thousands", formatMoney(1234.56, "EUR"), "1,235 EUR"},
		{"no currency", formatMoney(7, ""), "7"},
		{"a day", formatDays(24 * time.Hour), "1 day"},
		{"days", formatDays(60 * 24 * time.Hour), "60 days"},
		{"no hours", formatHours(0), "0"},
		{"some minutes", formatHours(0.1), "less than 1"},
		{"hours", formatHours(29.8), "30"},
		{"quarter", quarter(planDate(2015, time.December, 31)), "Q4 2015"},
		{"first quarter", quarter(planDate(2016, time.January, 1)), "Q1 2016"},
		{"range", capacityRange(policedCapacity, "inner"), "334.5 to 335.7 Mbit/s inner"},
		{"open range", capacityRange(analysis.Capacity{LowBitsPerSecond: 1e9}, "outer"), "1.000 Gbit/s outer or more"},
		{"range without a low end", capacityRange(analysis.Capacity{HighBitsPerSecond: 1e9}, "L2"), "at most 1.000 Gbit/s L2"},
		{"no range", capacityRange(analysis.Capacity{LowBitsPerSecond: 8e8, HighBitsPerSecond: 8e8}, ""), "800.0 Mbit/s"},
		{"tested", backTestText(&analysis.BackTest{Forecasts: 1204, RepeatError: 0.093, Error: 0.0814, Intervals: 1155, Covered: 0.79}),
			"Tested on this series, a week ahead, 1,204 times: repeat-last-week errs 9.3 %, this method 8.1 %; its 80 % interval held 79 %."},
		{"tested without intervals", backTestText(&analysis.BackTest{Forecasts: 12, RepeatError: 0.093, Error: 0.0814}),
			"Tested on this series, a week ahead, 12 times: repeat-last-week errs 9.3 %, this method 8.1 %."},
		{"growth that was cut off", growthFact(analysis.Outlook{Forecast: analysis.Forecast{Trend: analysis.AlreadyFull, GrowthKnown: true, GrowthPerMonth: 0.04}}).Value, "+4 % a month or more"},
		{"one link", linksWord(0), "1 link"},
		{"links", linksWord(2), "2 links"},
		{"layer", layerName(analysis.EthernetLayer), "L2"},
		{"long hash", shortHash(strings.Repeat("ab", 32)), "abababababababab…"},
		{"short hash", shortHash("ab"), "ab"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := plain(test.got); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// The model may be of the way back, which the first result is not.
func TestSizesAreThoseOfTheModel(t *testing.T) {
	r := redundantPlan()
	r.Plan.Outlooks[0].Direction = "b to a"
	r.Plan.SizeModel = &analysis.SizeModel{PerByte: 80e-9, Points: []analysis.SizePoint{{InnerSize: 512, InnerBitsPerSecond: 99e6}, {InnerSize: 512, InnerBitsPerSecond: 101e6}, {InnerSize: 1400, InnerBitsPerSecond: 100e6}}}
	view := newPlanPage(r).Sizes
	want := []sizeRow{
		{"512", "100 Mbit/s", "24,414", "99.0 Mbit/s"}, {"512", "100 Mbit/s", "24,414", "101 Mbit/s"},
		{"812", "100 Mbit/s", "15,394", none}, {"1,400", "100 Mbit/s", "8,929", "100 Mbit/s"},
	}
	for i := range view.Rows {
		view.Rows[i].Rate, view.Rows[i].Measured = plain(view.Rows[i].Rate), plain(view.Rows[i].Measured)
	}
	if diff := cmp.Diff(want, view.Rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(view.Caption, ", b to a") {
		t.Errorf("the caption %q does not say which way", view.Caption)
	}
	if marks := len(view.Chart.Marks); marks != 3 {
		t.Errorf("the chart has %d marks, want 3", marks)
	}
}

// A date that is not there means different things.
func TestCrossed(t *testing.T) {
	end := analysis.Forecast{GrowthKnown: true, Ahead: []analysis.Ahead{{Date: planDate(2016, time.June, 12)}}}
	cutOff := end
	cutOff.Trend = analysis.AlreadyFull
	closed, november := analysis.Capacity{HighBitsPerSecond: 1}, planDate(2015, time.November, 26)
	tests := []struct {
		name     string
		forecast analysis.Forecast
		crossing analysis.Crossing
		capacity analysis.Capacity
		want     when
	}{
		{"dates", end, analysis.Crossing{Earliest: planAt, Likely: november, Latest: november}, closed, when{"already", "2015-11-26", "2015-11-26"}},
		{"beyond the horizon", end, analysis.Crossing{Earliest: november}, closed, when{"2015-11-26", "not before 2016-06-12", "not before 2016-06-12"}},
		{"open upwards", end, analysis.Crossing{Earliest: november, Likely: november}, analysis.Capacity{}, when{"2015-11-26", "2015-11-26", notKnown}},
		{"no forecast", analysis.Forecast{GrowthKnown: true}, analysis.Crossing{}, closed, when{"not within the horizon", "not within the horizon", "not within the horizon"}},
		{"growth not known", analysis.Forecast{}, analysis.Crossing{Earliest: planAt}, closed, when{"already", notKnown, notKnown}},
		{"full, growth known", cutOff, analysis.Crossing{Earliest: november}, closed, when{"2015-11-26", "not before 2016-06-12", "not before 2016-06-12"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := crossed(analysis.Plan{At: planAt}, analysis.Outlook{Forecast: test.forecast}, test.crossing, test.capacity)
			if got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestDateTicks(t *testing.T) {
	tests := []struct {
		name     string
		from, to time.Time
		across   float64
		want     string
	}{
		{"days", planDate(2015, time.June, 1), planDate(2015, time.June, 10), 860, "2015-06-01 2015-06-02 2015-06-03 2015-06-04 2015-06-05 2015-06-06 2015-06-07 2015-06-08 2015-06-09"},
		{"weeks from Monday", planDate(2015, time.June, 3), planDate(2015, time.July, 16), 860, "2015-06-08 2015-06-15 2015-06-22 2015-06-29 2015-07-06 2015-07-13"},
		{"months", planDate(2015, time.January, 15), planDate(2015, time.October, 20), 860, "2015-02 2015-03 2015-04 2015-05 2015-06 2015-07 2015-08 2015-09 2015-10"},
		{"quarters", planDate(2014, time.December, 1), planDate(2016, time.March, 1), 860, "Q1 2015 Q2 2015 Q3 2015 Q4 2015 Q1 2016"},
		{"half years on a phone", planDate(2014, time.December, 1), planDate(2016, time.December, 1), 284, "2015-01 2015-07 2016-01 2016-07"},
		{"years", planDate(2010, time.May, 1), planDate(2015, time.May, 1), 340, "2011 2012 2013 2014 2015"},
		{"a century", planDate(1930, time.May, 1), planDate(2030, time.May, 1), 860, "1940 1950 1960 1970 1980 1990 2000 2010 2020 2030"},
		{"one day", planDate(2015, time.June, 1), planDate(2015, time.June, 2), 284, "2015-06-01"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, tick := range newAxis(domain{min: dateValue(test.from), max: dateValue(test.to), zone: time.UTC}, 0, test.across, 60).Ticks {
				got = append(got, plain(tick.Text))
			}
			if got := strings.Join(got, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Names of dates close to one another stand below one another.
func TestNameDate(t *testing.T) {
	c := newChart("c", 350, 380, domain{max: 1, unit: scale{"", 1}}, domain{max: 1, unit: scale{"", 1}})
	var taken []words
	for _, at := range []struct {
		x    float64
		name string
	}{{100, "made for"}, {130, "order by"}, {200, "likely full"}, {330, "likely full"}} {
		taken = append(taken, c.nameDate(at.x, at.name, taken))
	}
	want := []words{{100, 161, 0}, {130, 191, 1}, {200, 282, 0}, {248, 330, 1}}
	if diff := cmp.Diff(want, taken, cmp.AllowUnexported(words{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Texts[3].Anchor != "end" {
		t.Error("a name at the right edge does not end at its line")
	}
}
