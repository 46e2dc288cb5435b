package agent

import (
	"strings"
	"testing"
	"time"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe/latency"
)

func newTestWatch(t *testing.T, conditions ...string) (*watch, error) {
	t.Helper()
	probe := &controlv1.LatencyProbe{EveryNs: int64(10 * time.Millisecond)}
	return (&trial{work: &controlv1.Work{Latency: probe}}).newWatch(conditions)
}

// A load that is guarded ends with its guard; another does not.
func TestWatchEnds(t *testing.T) {
	w, err := newTestWatch(t, "rtt>30ms")
	if err != nil {
		t.Fatal(err)
	}
	w.see(latency.Sample{Answered: true})
	w.end()
	for name, closed := range map[string]chan struct{}{"answered": w.answered, "over": w.over, "stop": w.stop} {
		select {
		case <-closed:
		default:
			t.Errorf("%q is not said", name)
		}
	}
	if w.why != "" {
		t.Errorf("it was stopped: %s", w.why)
	}
	if w, err = newTestWatch(t); err != nil || w.stop != nil {
		t.Fatalf("a load without conditions can be stopped: %v", err)
	}
	w.end()
}

func TestTooManyConditions(t *testing.T) {
	if _, err := newTestWatch(t, make([]string, mostConditions+1)...); err == nil || !strings.Contains(err.Error(), "up to 16") {
		t.Errorf("error %v", err)
	}
}
