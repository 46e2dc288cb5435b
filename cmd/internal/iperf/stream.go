package iperf

import (
	"encoding/json"
	"fmt"
	"io"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

// Stream writes a JSON object a line, each at once, as iperf3's --json-stream does.
// Beside its events "start", "interval", "end" and "error" there is "result" before
// the end: the result's own keys, as report.WriteJSON writes them.
type Stream struct {
	to     io.Writer
	setup  Setup
	joiner joiner
}

var _ Writer = (*Stream)(nil)

// NewStream writes to w.
func NewStream(w io.Writer) *Stream { return &Stream{to: w} }

// Start writes the event "start".
func (s *Stream) Start(setup Setup) error {
	s.setup, s.joiner = setup, joiner{bidirectional: setup.Bidirectional}
	return s.event("start", setup.start(nil))
}

// Interval writes the event "interval" once all directions of it are known.
func (s *Stream) Interval(i analysis.Interval) error { return s.interval(s.joiner.add(i)) }

func (s *Stream) interval(halves []analysis.Interval) error {
	if len(halves) == 0 {
		return nil
	}
	return s.event("interval", s.setup.interval(halves))
}

// End writes the events "result" and "end".
func (s *Stream) End(r report.Result) error {
	document, err := report.NewDocument(r)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if err := s.interval(s.joiner.rest()); err != nil {
		return err
	}
	if err := s.event("result", document); err != nil {
		return err
	}
	return s.event("end", newSummaries(s.setup.directions(r)))
}

// Fail writes the events "error" and, as iperf3 does then too, an empty "end".
func (s *Stream) Fail(why error) error {
	if err := s.interval(s.joiner.rest()); err != nil {
		return err
	}
	if err := s.event("error", why.Error()); err != nil {
		return err
	}
	return s.event("end", struct{}{})
}

// event writes one line. No string can break it: JSON escapes line ends.
func (s *Stream) event(name string, data any) error {
	line := struct {
		Event string `json:"event"`
		Data  any    `json:"data"`
	}{name, data}
	if err := json.NewEncoder(s.to).Encode(line); err != nil {
		return fmt.Errorf("write event %q: %w", name, err)
	}
	return nil
}
