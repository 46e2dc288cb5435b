package main

import (
	"slices"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		only []string
		want int
	}{
		{nil, 4*3 + 2 + 3*5},
		{[]string{"udp"}, 12},
		{[]string{"udp/64"}, 3},
		{[]string{"udp/1400/gro", "tcp/4"}, 2},
		{[]string{"pacing/1400", "pacing/1400/2G"}, 5},
	} {
		rows, err := plan(tt.only)
		if err != nil || len(rows) != tt.want {
			t.Errorf("-only %q: got %d rows, error %v; want %d", tt.only, len(rows), err, tt.want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, only := range []string{"", "sctp", "udp/6", "tcp/1/", "udp/1400/gro/x"} {
		if _, err := plan([]string{"tcp", only}); err == nil || !strings.Contains(err.Error(), "udp/64/gro") {
			t.Errorf("-only tcp,%s: got error %v, want one that lists the names", only, err)
		}
	}
}

func TestRowsAreTold(t *testing.T) {
	rows, err := plan(nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, r := range rows {
		if seen[r.name] {
			t.Errorf("two rows are named %s", r.name)
		}
		seen[r.name] = true
		if r.ours.Tool != ours || r.theirs.Tool != iperf3 {
			t.Errorf("%s compares %s with %s", r.name, r.ours, r.theirs)
		}
	}
}

func TestJobs(t *testing.T) {
	rows, err := plan(nil)
	if err != nil {
		t.Fatal(err)
	}
	list := jobs(rows)
	// Three manners of ours and one of iperf3 at four sizes; TCP; pacing.
	if want := 4*4 + 2*2 + 3*5*2; len(list) != want {
		t.Errorf("got %d jobs, want %d", len(list), want)
	}
	told := make(map[string]bool)
	for i, j := range list {
		if slices.Contains(list[:i], j) || told[j.String()] {
			t.Errorf("job %q is there twice", j)
		}
		told[j.String()] = true
	}
}

// A share of the maximum can be offered once that is known, even where only the
// share is asked for.
func TestJobsMeasureMaximumFirst(t *testing.T) {
	for _, only := range [][]string{nil, {"pacing"}, {"pacing/64/80%"}} {
		rows, err := plan(only)
		if err != nil {
			t.Fatal(err)
		}
		list := jobs(rows)
		for i, j := range list {
			if j.ShareOfMaximum != 0 && !slices.Contains(list[:i], maximum(j.InnerSize)) {
				t.Errorf("-only %q: %q comes before its maximum", only, j)
			}
		}
	}
}
