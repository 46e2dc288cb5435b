package iperf

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis/report"
)

// event is one line of a stream.
type event struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

func eventsOf(t *testing.T, text string) []event {
	t.Helper()
	var events []event
	for line := range strings.Lines(text) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

func namesOf(events []event) string {
	var names []string
	for _, e := range events {
		names = append(names, e.Event)
	}
	return strings.Join(names, " ")
}

// The stream tells the same as the object, but for what is not yet known at its start.
func TestStreamAgreesWithJSON(t *testing.T) {
	for _, l := range loads() {
		t.Run(l.name, func(t *testing.T) {
			var out bytes.Buffer
			play(t, NewStream(&out), l)
			events := eventsOf(t, out.String())
			whole := written(t, l).(map[string]any)
			intervals := whole["intervals"].([]any)
			if got, want := namesOf(events), "start"+strings.Repeat(" interval", len(intervals))+" result end"; got != want {
				t.Fatalf("got events %q, want %q", got, want)
			}
			for i, want := range intervals {
				sameJSON(t, want, events[1+i])
			}
			sameJSON(t, whole["end"], events[len(events)-1])
			got, err := report.Read(bytes.NewReader(events[len(events)-2].Data))
			if diff := cmp.Diff(l.result, got); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func sameJSON(t *testing.T, want any, got event) {
	t.Helper()
	var data any
	if err := json.Unmarshal(got.Data, &data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, data); diff != "" {
		t.Errorf("event %s (-want +got):\n%s", got.Event, diff)
	}
}

// Each line is there when its method returns.
func TestStreamWritesAtOnce(t *testing.T) {
	l := tcpLoad("", 1, false)
	var out bytes.Buffer
	w := NewStream(&out)
	for i, step := range []func() error{
		func() error { return w.Start(l.setup) },
		func() error { return w.Interval(l.intervals[0]) },
		func() error { return w.Fail(errors.New("line one\nline two\u2028\x1b[2J")) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(out.String(), "\n"); lines < i+1 {
			t.Errorf("%d lines after step %d", lines, i+1)
		}
	}
	events := eventsOf(t, out.String())
	if got := namesOf(events); got != "start interval error end" {
		t.Errorf("got events %q", got)
	}
	if strings.ContainsAny(out.String(), "\x1b\u2028") {
		t.Errorf("written %q", out.String())
	}
}

// FuzzStrings holds that what an agent says breaks neither object nor line.
func FuzzStrings(f *testing.F) {
	f.Add("cubic", "b")
	f.Add("\"},\n{\"event\":\"end\"", "</script>\x00\xff\u2029")
	f.Fuzz(func(t *testing.T, said, name string) {
		l := tcpLoad("", 1, false)
		l.setup.To, l.setup.System, l.setup.ToolVersion = name, said, said
		l.result.TCP[0].Stopped, l.result.TCP[0].PerFlow[0].Congestion = said, said
		var stream, object bytes.Buffer
		play(t, NewStream(&stream), l)
		play(t, NewJSON(&object), l)
		if got := namesOf(eventsOf(t, stream.String())); got != "start interval interval result end" {
			t.Errorf("got events %q", got)
		}
		if !json.Valid(object.Bytes()) {
			t.Errorf("not JSON: %q", object.String())
		}
	})
}
