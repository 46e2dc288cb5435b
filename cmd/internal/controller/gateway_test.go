package controller

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tunnelmark/analysis/report"
)

func TestJudgeCounter(t *testing.T) {
	for name, c := range map[string]struct {
		before, after, arrived uint64
		proven                 bool
		wantError              string
	}{
		"all":               {10, 1010, 1000, true, ""},
		"more":              {10, 5010, 1000, true, ""},
		"a little late":     {10, 1000, 1000, true, ""},
		"too few":           {10, 990, 1000, false, ""},
		"none":              {10, 10, 1000, false, ""},
		"nothing arrived":   {10, 1010, 0, false, ""},
		"reset in between":  {1010, 10, 1000, false, "it fell from 1010 to 10"},
		"largest of either": {0, 1<<64 - 1, 1<<64 - 1, true, ""},
	} {
		evidence, err := judgeCounter(c.before, c.after, c.arrived)
		if c.wantError != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantError) {
				t.Errorf("%s: got %v, want an error with %q", name, err, c.wantError)
			}
			continue
		}
		if err != nil || evidence.Proven != c.proven {
			t.Errorf("%s: got %+v, %v, want proven: %v", name, evidence, err, c.proven)
		}
	}
}

// A counter that cannot be read is told before any load, or instead of a result.
func TestWitness(t *testing.T) {
	broken := errors.New("no route to host")
	var worked bool
	work := func() error { worked = true; return nil }
	fails := GatewayCounter(func(context.Context) (uint64, error) { return 0, broken })
	if _, err := fails.witness(t.Context(), &Session{}, work); !errors.Is(err, broken) || worked {
		t.Errorf("got %v, worked: %v", err, worked)
	}
	var none GatewayCounter
	if evidence, err := none.witness(t.Context(), &Session{}, work); evidence != nil || err != nil || !worked {
		t.Errorf("without a counter: %v, %v, worked: %v", evidence, err, worked)
	}
	count := uint64(0)
	counts := GatewayCounter(func(context.Context) (uint64, error) { return count, nil })
	s := &Session{}
	evidence, err := counts.witness(t.Context(), s, func() error { count = 100; s.received.Store(100); return nil })
	want := report.Evidence{Site: "gateway", Proven: true, How: "it encrypted 100 packets while 100 of the load arrived"}
	if err != nil || *evidence != want {
		t.Errorf("got %+v, %v, want %+v", evidence, err, want)
	}
}
