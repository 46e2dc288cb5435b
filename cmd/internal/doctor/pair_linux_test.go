package doctor

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel/overhead"
)

// pairOf changes two reports that have nothing to complain of, and compares them.
func pairOf(t *testing.T, change func(a, b *Report)) Pair {
	t.Helper()
	a, b := testReport(t, "metal"), testReport(t, "metal")
	a.Name, b.Name, b.Outer = "dc-a", "dc-b", "2001:db8::2"
	if change != nil {
		change(&a, &b)
	}
	pair := Compare(a, b)
	checkFindings(t, pair.Findings)
	return pair
}

// set puts another figure in a finding's place.
func set(r *Report, topic, subject, figure string) {
	for i, f := range r.Findings {
		if f.Topic == topic && f.Subject == subject {
			r.Findings[i].Figure = figure
		}
	}
}

func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(a, b *Report)
		subject string
		want    State
		says    string
	}{
		"same versions":       {nil, "tunnelmark-agent", OK, "v0.3.0 at both"},
		"two versions":        {func(_, b *Report) { b.Version = "v0.2.0" }, "tunnelmark-agent", Note, "v0.3.0 at dc-a, v0.2.0 at dc-b"},
		"addresses":           {nil, "outer addresses", OK, "2001:db8::1 and 2001:db8::2"},
		"two IP versions":     {func(_, b *Report) { b.Outer = "192.0.2.5" }, "outer addresses", Missing, "2001:db8::1 and 192.0.2.5"},
		"one address":         {func(_, b *Report) { b.Outer = "2001:db8::1" }, "outer addresses", Missing, "2001:db8::1"},
		"no address":          {func(_, b *Report) { b.Outer = "" }, "outer addresses", Note, "not known"},
		"drivers":             {nil, "drivers at both", OK, "esp, clear"},
		"no driver":           {func(_, b *Report) { b.Drivers = nil }, "drivers at both", Missing, "none"},
		"one MTU":             {nil, "path MTU", OK, "1500 bytes"},
		"two MTUs":            {func(a, _ *Report) { set(a, "path", "MTU", "1400 bytes") }, "path MTU", Warning, "1400 bytes at dc-a, 1500 bytes at dc-b"},
		"MTU of no number":    {func(a, _ *Report) { set(a, "path", "MTU", "large"); set(a, "nic", "MTU", "0 bytes") }, "path MTU", Note, "not known"},
		"links":               {nil, "links", OK, "25.00 Gbit/s at both"},
		"two links":           {func(_, b *Report) { set(b, "nic", "speed", "1.000 Gbit/s") }, "links", Note, "25.00 Gbit/s at dc-a, 1.000 Gbit/s at dc-b"},
		"clocks":              {nil, "clocks", OK, "dc-b is 0s ahead of dc-a, give or take 9ms"},
		"clock is ahead":      {func(_, b *Report) { set(b, "clock", "time", "2026-11-22T12:00:01.5Z") }, "clocks", Note, "dc-b is 1.5s ahead of dc-a"},
		"clock is far behind": {func(_, b *Report) { set(b, "clock", "time", "2026-11-22T11:57:00Z") }, "clocks", Missing, "dc-b is 3m0s behind"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, f := range pairOf(t, c.change).Findings {
				if f.Subject != c.subject {
					continue
				}
				if f.State != c.want || !strings.Contains(f.Figure, c.says) {
					t.Errorf("%s: %s: %s, want %s: %s", f.Subject, f.State, f.Figure, c.want, c.says)
				}
				return
			}
			t.Errorf("there is no finding of %s", c.subject)
		})
	}
}

// What is not known is not compared.
func TestCompareUnknown(t *testing.T) {
	pair := pairOf(t, func(a, b *Report) {
		set(a, "nic", "speed", "the driver does not tell")
		set(b, "clock", "time", "noon")
	})
	for _, f := range pair.Findings {
		if f.Subject == "links" || f.Subject == "clocks" {
			t.Errorf("%s: %s: want nothing said", f.Subject, f.Figure)
		}
	}
	if len(pair.Carries) == 0 || pair.Carries[0].InnerMTU != 1418 || pair.Carries[0].InnerBitsPerSecond != 0 {
		t.Errorf("carries %+v: want the largest packets without a rate", pair.Carries)
	}
	a := testReport(t, "metal")
	a.Asked = Asked{From: noon, To: noon.Add(time.Microsecond)}
	if _, _, known := a.ahead(); known {
		t.Error("a clock is known from an examination that took longer than the answer")
	}
}

// The pair has the smaller MTU and the slower link.
func TestCompareCarries(t *testing.T) {
	pair := pairOf(t, func(a, b *Report) {
		a.Outer, b.Outer = "192.0.2.1", "192.0.2.5"
		set(a, "path", "MTU", "1400 bytes")
		set(b, "nic", "speed", "1.000 Gbit/s")
	})
	if diff := cmp.Diff(Carries(1e9, 1400, overhead.IPv4), pair.Carries); diff != "" {
		t.Errorf("carries (-want +got)\n%s", diff)
	}
}

// The figures of methodology.md, section 5: full-size packets over 1 Gbit/s.
func TestCarries(t *testing.T) {
	const gigabit, tolerance = 1e9, 0.05e6
	want := map[string]struct {
		mtu                        int
		innerMegabits, udpMegabits float64
	}{
		"esp":       {1438, 934.98, 916.8},
		"wireguard": {1440, 936.3, 918.1},
		"clear":     {1500, 975.3, 957.1},
	}
	for _, c := range Carries(gigabit, 1500, overhead.IPv4) {
		for _, driver := range c.Drivers {
			w, known := want[driver]
			if !known {
				continue
			}
			delete(want, driver)
			near := func(got, megabits float64) bool { return max(got-megabits*1e6, megabits*1e6-got) < tolerance }
			if c.InnerMTU != w.mtu || !near(c.InnerBitsPerSecond, w.innerMegabits) || !near(c.GoodputBitsPerSecond, w.udpMegabits) {
				t.Errorf("%s: %+v, want %+v", driver, c, w)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not reckoned: %v", want)
	}
	if got := Carries(gigabit, 20, overhead.IPv4); len(got) > 1 {
		t.Errorf("a path of 20 bytes carries %+v", got)
	}
}

// Both ends and what they are to each other, as text and as JSON.
func TestDocument(t *testing.T) {
	a, b := testReport(t, "gateway"), testReport(t, "container")
	silent := Report{Name: "dc-c", Address: "dc-c.example:4600", Error: "agent dc-c: it did not answer in time; the path to it may be overloaded"}
	pair := Compare(a, b)
	a.Findings, b.Findings = a.Findings[:2], b.Findings[:2]
	document := Document{Ends: []Report{a, b, silent}, Pair: &pair}
	var text, packed bytes.Buffer
	if err := WriteText(&text, document); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&packed, document); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "pair.golden", text.Bytes())
	compareGolden(t, "pair.json", packed.Bytes())
	var read Document
	if err := json.Unmarshal(packed.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	document.SchemaVersion = SchemaVersion
	for i := range document.Ends {
		document.Ends[i].Asked = Asked{}
	}
	if diff := cmp.Diff(document, read); diff != "" {
		t.Errorf("read back (-want +got)\n%s", diff)
	}
}

func TestRules(t *testing.T) {
	a := Report{Name: "dc-a", Address: "dc-a.example:4600", Outer: "192.0.2.1", FirstPort: 4500, LastPort: 4510}
	b := Report{Name: "dc-b", Address: "198.51.100.7:4601", Outer: "192.0.2.5", FirstPort: 14500, LastPort: 14500}
	var text bytes.Buffer
	if err := WriteRules(&text, Rules(a, b)); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "rules.golden", text.Bytes())
}

func TestRulesIPv6(t *testing.T) {
	a := Report{Name: "dc-a", Address: "[2001:db8::1]:4600", Outer: "2001:db8::1", FirstPort: 4500, LastPort: 4510}
	b := Report{Name: "dc-b", Address: "unix:/run/agent", Outer: "2001:db8::2", FirstPort: 4500, LastPort: 4510}
	var text bytes.Buffer
	if err := WriteRules(&text, Rules(a, b)); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "rules6.golden", text.Bytes())
}

// Of an end that is silent the control is known: its firewall may be why.
func TestRulesOfSilentEnd(t *testing.T) {
	rules := Rules(Report{Name: "dc-a", Address: "dc-a.example:4600"}, Report{Name: "dc-b", Address: "dc-b.example:4600", Outer: "192.0.2.5"})
	for _, r := range rules {
		if !strings.Contains(r.About, "control") {
			t.Errorf("rule %q is made of what is not known", r.About)
		}
	}
	if len(rules) != 2 {
		t.Errorf("%d rules, want one at each end", len(rules))
	}
}
