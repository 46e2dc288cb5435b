package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
	"tunnelmark/analysis/capacity"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/demand"
)

// planned runs plan in a directory with a result and a demand that grows.
func planned(ctx context.Context, t *testing.T, stdin io.Reader, arguments ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	demand := "timestamp,bits_per_second\n"
	for hour := range 24 * 60 {
		at := time.Date(2015, time.March, 1, hour, 0, 0, 0, time.UTC)
		demand += fmt.Sprintf("%s,%d\n", at.Format(time.RFC3339), 100_000_000+50_000*hour+1_000_000*(hour%24))
	}
	for name, text := range map[string][]byte{"today.json": written(t, found(1400)), "demand.csv": []byte(demand)} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, said bytes.Buffer
	code = Run(ctx, append([]string{"plan"}, arguments...), stdin, &out, &said)
	return code, out.String(), said.String()
}

func TestPlan(t *testing.T) {
	code, out, said := planned(t.Context(), t, nil, "today.json", "--demand", "demand.csv", "--demand-layer", "inner", "--html", "plan.html")
	if code != exitDone || said != "" || !strings.Contains(out, "dc-a to dc-b") || !strings.HasSuffix(out, "Report    plan.html\n") {
		t.Errorf("exit code %d, said %q, printed\n%s", code, said, out)
	}
	const caveat = "predicts neither an appliance nor the kernel"
	if !strings.Contains(out, caveat) {
		t.Errorf("it does not say that its ceiling %s:\n%s", caveat, out)
	}
	if page, err := os.ReadFile("plan.html"); err != nil || !bytes.Contains(page, []byte("</html>")) || !bytes.Contains(page, []byte(caveat)) {
		t.Errorf("a page of %d B, %v, or without the caveat", len(page), err)
	}
}

// What is wrong leaves nothing behind, neither on standard output nor as a page.
func TestPlanWritesAllOrNothing(t *testing.T) {
	for name, arguments := range map[string][]string{
		"demand":  {"today.json", "--demand", "today.json", "--demand-layer", "inner", "--html", "plan.html"},
		"result":  {"demand.csv", "--demand", "demand.csv", "--demand-layer", "inner", "--html", "plan.html"},
		"day":     {"today.json", "--demand", "demand.csv", "--demand-layer", "inner", "--at", "2014-01-01", "--html", "plan.html"},
		"options": {"today.json", "--demand", "demand.csv", "--demand-layer", "inner", "--option", "x=x.json", "--html", "plan.html"},
	} {
		code, out, said := planned(t.Context(), t, nil, arguments...)
		if code != exitUsage || out != "" || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit code %d, printed %q, said %q, want %d and one line", name, code, out, said, exitUsage)
		}
		if left, _ := filepath.Glob("*.html"); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

// The shares that the help tells are those of a plan.
func TestPlanShares(t *testing.T) {
	plan := func(arguments ...string) analysis.Plan {
		code, out, said := planned(t.Context(), t, nil, append([]string{"today.json", "--demand", "demand.csv", "--demand-layer", "inner", "--json"}, arguments...)...)
		var r report.PlanReport
		if err := json.Unmarshal([]byte(out), &r); code != exitDone || err != nil {
			t.Fatalf("exit code %d, said %q, %v", code, said, err)
		}
		return r.Plan
	}
	_, usual, found := strings.Cut(planCommand().Flag("share").Usage, "(default ")
	if diff := cmp.Diff(plan("--share", strings.TrimSuffix(usual, ")")), plan()); diff != "" || !found {
		t.Errorf("shares of %s (-said +used):\n%s", usual, diff)
	}
}

// All files together are bounded as one is.
func TestPlanOfTooManyResults(t *testing.T) {
	var many []report.Result
	for range report.MaxResults {
		many = append(many, found(1400))
	}
	stdin := bytes.NewReader(written(t, many...))
	code, out, said := planned(t.Context(), t, stdin, "today.json", "-", "--demand", "demand.csv", "--demand-layer", "inner")
	if code != exitUsage || out != "" || !strings.Contains(said, "standard input: more than 256 results in all files; give fewer") {
		t.Errorf("exit code %d, printed %q, said %q", code, out, said)
	}
}

// impatient stops the program that reads it.
type impatient struct {
	io.Reader
	stop func()
}

func (i impatient) Read(buffer []byte) (int, error) {
	i.stop()
	return i.Reader.Read(buffer)
}

// Whoever runs a plan and stops it while it waits for input is not told of wrong usage.
func TestPlanInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	waiting, end := io.Pipe()
	defer end.Close()
	code, out, said := planned(ctx, t, impatient{waiting, stop}, "today.json", "--demand", "-", "--demand-layer", "inner")
	if code != exitFailed || out != "" || said != "tunnelmark: interrupted\n" {
		t.Errorf("exit code %d, printed %q, said %q", code, out, said)
	}
}

// Demand until a day that is past is asked for until then, else until now.
func TestPlanDates(t *testing.T) {
	now := time.Date(2015, time.June, 15, 12, 0, 0, 0, time.UTC)
	for at, want := range map[string]time.Time{
		"":           now,
		"2015-06-01": time.Date(2015, time.June, 1, 0, 0, 0, 0, time.UTC),
		"2016-01-01": now,
	} {
		f := planFlags{at: at, demand: demandFlags{options: demand.Options{Location: time.UTC}}}
		var q capacity.Question
		if until, err := f.dates(&q, now); err != nil || !until.Equal(want) {
			t.Errorf("at %q: until %v, %v, want %v", at, until, err, want)
		}
	}
}

func TestWhoami(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := whoami(); !strings.HasSuffix(got, "@"+host) || strings.HasPrefix(got, "@") {
		t.Errorf("%q is not user@%s", got, host)
	}
}
