package report

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"tunnelmark/analysis"
)

// Routers that pin each flow to one of several ways show in flows that differ, not
// in chance.
func TestPinned(t *testing.T) {
	even := analysis.Flow{Port: 1, Sent: 1000, Received: 998}
	for _, test := range []struct {
		name  string
		flows []analysis.Flow
		want  string
	}{
		{"one flow", nil, ""},
		{"alike", []analysis.Flow{even, {Port: 2, Sent: 1000, Received: 996, MinDelay: 80 * time.Microsecond}}, ""},
		{"one of few packets", []analysis.Flow{even, {Port: 2, Sent: 1, Received: 0}}, ""},
		{"a lossy way", []analysis.Flow{even, {Port: 2, Sent: 1000, Received: 900}}, "of 2, the one from port 2 lost 10.0 %, all together 5.10 %"},
		{"a long way", []analysis.Flow{even, {Port: 2, Sent: 1000, Received: 998, MinDelay: 2 * time.Millisecond}}, "of 2, the one from port 2 took at least 2.00 ms longer than the fastest"},
	} {
		t.Run(test.name, func(t *testing.T) {
			trial := analysis.Trial{PerFlow: test.flows}
			for _, f := range test.flows {
				trial.Sent, trial.Received = trial.Sent+f.Sent, trial.Received+f.Received
			}
			if got := strings.ReplaceAll(pinned(trial), nbsp, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Nothing is said of what is not known.
func TestObservationsOfLittle(t *testing.T) {
	r := Result{Trials: []analysis.Trial{{Sent: 10, Received: 9}}, TCP: []analysis.TCPTrial{{}}}
	if got := r.observations(); len(got) > 0 {
		t.Errorf("got %q, want none", got)
	}
}

func TestWriteObservations(t *testing.T) {
	got := string(output(t, func(w io.Writer, r Result) error { return WriteObservations(w, r, TextOptions{}) }, mixedResult()))
	for _, want := range []string{
		"Layers    a → b: 334.5 Mbit/s inner, 349.8 Mbit/s outer arrived\n",
		"Layers    b → a: 200.0 Mbit/s inner, 209.1 Mbit/s outer arrived\n",
		"CPU       a → b: sender 14,005 ns per packet, busiest core 90.0 %; receiver 27,903 ns per packet, busiest core 98.0 %\n",
		"Notes     Both ends run on one machine",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
	hostile := output(t, func(w io.Writer, r Result) error { return WriteObservations(w, r, TextOptions{}) }, hostileResult())
	if bytes.ContainsAny(hostile, "\x1b\x00\u202e") {
		t.Error("text carries control characters")
	}
}

func TestDescribeMSS(t *testing.T) {
	for _, test := range []struct {
		mss  analysis.MSS
		want string
	}{
		{analysis.MSS{}, none},
		{analysis.MSS{Sent: 1398, Received: 1398}, "1,398 B"},
		{analysis.MSS{Sent: 1398, Received: 1320}, "1,398 B clamped to 1,320 B"},
		{analysis.MSS{Sent: 1398}, "1,398 B, removed on the way"},
	} {
		if got := strings.ReplaceAll(describeMSS(test.mss), nbsp, " "); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.mss, got, test.want)
		}
	}
}
