package bench

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type testJob string

func (j testJob) String() string { return string(j) }

type testOutcome int

func (testOutcome) Brief() string { return "done" }

// A job that fails is told, and the others have their turn in every round.
func TestRun(t *testing.T) {
	var turns []string
	do := func(_ context.Context, j testJob, round map[testJob]testOutcome) (testOutcome, error) {
		turns = append(turns, string(j))
		if j == "bad" {
			return 0, errors.New("no route")
		}
		return testOutcome(len(round)), nil
	}
	got, err := Run(t.Context(), Options{Rounds: 2}, []testJob{"first", "bad", "last"}, do, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	round := map[testJob]testOutcome{"first": 0, "last": 1}
	want := Rounds[testJob, testOutcome]{
		Outcomes: []map[testJob]testOutcome{round, round},
		Failures: []string{"round 1: bad: no route", "round 2: bad: no route"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if order := strings.Join(turns, " "); order != "first bad last first bad last" {
		t.Errorf("the turns were %s", order)
	}
}

func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	do := func(context.Context, testJob, map[testJob]testOutcome) (testOutcome, error) {
		cancel(why)
		return 0, nil
	}
	if _, err := Run(ctx, Options{Rounds: 2}, []testJob{"one"}, do, io.Discard); !errors.Is(err, why) {
		t.Errorf("got error %v, want %v", err, why)
	}
}
