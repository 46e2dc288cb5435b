package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/cause"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
)

// Plan is a search from one end to the other.
type Plan struct {
	From, To End
	Spec     Spec
	Size     int // Inner IP length, in bytes.
	Search   search.Options
	// Baseline measures the same path without the tunnel first.
	Baseline bool
	// Reproduce says how to ask the same again.
	Reproduce report.Reproduce
	// Tell is told what is going on, one short line at a time.
	Tell func(string)
}

const (
	// baselineTraffic and baselineWidth: the baseline is for comparison, so it
	// is coarser and shorter than the search.
	baselineTraffic = 8 * time.Second
	baselineWidth   = 0.02
)

// Find searches the ceiling of a tunnel and judges its cause. With an error it
// returns what was found until then, in case there is something.
func Find(ctx context.Context, p Plan) (report.Result, error) {
	result, err := p.begin(ctx, report.Find)
	if err != nil {
		return result.Result, err
	}
	if p.Baseline {
		if result.Baseline, err = p.baseline(ctx); err != nil {
			return result.Result, err
		}
	}
	err = p.within(ctx, p.Spec, func(s *Session) error {
		if err := p.fits(s); err != nil {
			return err
		}
		s.describe(result, p.Size)
		p.Tell("searching the ceiling of the tunnel")
		ceiling, err := search.Find(ctx, func(ctx context.Context, load analysis.Load) (analysis.Trial, error) {
			return s.Trial(ctx, load, p.Size)
		}, p.Search)
		if len(ceiling.Steps) > 0 {
			verdict := cause.Judge(ceiling)
			result.Ceiling, result.Verdict = &ceiling, &verdict
		}
		return err
	})
	result.finish()
	return result.Result, err
}

// baseline searches the path without the tunnel, at the same packet size.
func (p Plan) baseline(ctx context.Context) (*report.Baseline, error) {
	p.Tell("measuring the path without the tunnel")
	var baseline *report.Baseline
	clear := Spec{Driver: "clear"}
	err := p.within(ctx, clear, func(s *Session) error {
		options := p.Search
		options.Traffic, options.Width = baselineTraffic, baselineWidth
		ceiling, err := search.Find(ctx, func(ctx context.Context, load analysis.Load) (analysis.Trial, error) {
			return s.Trial(ctx, load, p.Size)
		}, options)
		if err != nil {
			return fmt.Errorf("measure the path without the tunnel: %w", err)
		}
		baseline = &report.Baseline{
			InnerBitsPerSecond: ceiling.InnerBitsPerSecond,
			AtLeast:            ceiling.InnerUpperBitsPerSecond == 0,
		}
		return nil
	})
	return baseline, err
}

// within opens a session, does the work, and closes it whatever happens.
func (p Plan) within(ctx context.Context, spec Spec, work func(*Session) error) error {
	session, err := Open(ctx, p.From, p.To, spec, p.Tell)
	if err != nil {
		return err
	}
	return errors.Join(work(session), session.Close(ctx))
}

// fits refuses packets that the tunnel would have to fragment.
func (p Plan) fits(s *Session) error {
	if p.Size > s.InnerMTU {
		return fmt.Errorf("packets of %d B do not fit the tunnel: its MTU is %d B", p.Size, s.InnerMTU)
	}
	return nil
}

// pending is a result under way.
type pending struct {
	report.Result
	began time.Time // With its monotonic reading, which JSON does not keep.
}

// begin asks both ends what they are.
func (p Plan) begin(ctx context.Context, kind report.Kind) (*pending, error) {
	now := time.Now()
	r := &pending{began: now, Result: report.Result{
		ToolVersion: control.Version(), Kind: kind, Started: now,
		Path:      report.Path{From: p.From.Name, To: p.To.Name},
		Reproduce: p.Reproduce,
	}}
	r.Reproduce.InputsSHA256 = p.hash()
	for _, end := range []End{p.From, p.To} {
		description, err := end.Agent.Describe(ctx, &controlv1.DescribeRequest{})
		if err != nil {
			return r, control.Explain(end.Name, err)
		}
		r.Environment = append(r.Environment, environmentFrom(end.Name, p.Spec.Driver, description))
	}
	return r, nil
}

func (r *pending) finish() {
	r.Finished = time.Now()
	r.Duration = r.Finished.Sub(r.began)
}

// hash is over what was asked: equal hash, equal question.
func (p Plan) hash() string {
	question, err := json.Marshal(struct {
		From, To string
		Spec     Spec
		Size     int
		Baseline bool
		Scenario string
		Search   any
	}{p.From.Name, p.To.Name, p.Spec, p.Size, p.Baseline, p.Reproduce.Scenario, searchInputs(p.Search)})
	if err != nil {
		return "" // No field of it can fail.
	}
	sum := sha256.Sum256(question)
	return hex.EncodeToString(sum[:])
}

// searchInputs leaves out the callback, which is no input.
func searchInputs(o search.Options) map[string]any {
	return map[string]any{
		"manner": o.Manner, "loss_goal": o.LossGoal, "width": o.Width,
		"min": o.MinInnerBitsPerSecond, "max": o.MaxInnerBitsPerSecond, "traffic": o.Traffic,
		"start": o.StartInnerBitsPerSecond, "overload": o.Overload, "lossy": o.Lossy,
	}
}

// describe notes the tunnel that was built.
func (s *Session) describe(r *pending, size int) {
	r.Tunnel = report.Tunnel{
		Driver: s.Spec.Driver, Suite: s.Spec.Suite, Encapsulation: s.Spec.Encapsulation,
		Count: 1, InnerMTU: s.InnerMTU, OuterFamily: s.family(),
	}
	r.Size = report.Size{Inner: size, Outer: s.overhead.OuterLength(size)}
}
