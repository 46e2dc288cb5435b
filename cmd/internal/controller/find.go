package controller

import (
	"context"
	"fmt"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/unit"
)

// FindPlan is a search from one end to the other.
type FindPlan struct {
	Plan
	Size int // Inner IP length, in bytes.
	// Search is completed by ChooseManner.
	Search search.Options
	// Gateway proves that load passes through a tunnel that is not ours. Optional.
	Gateway GatewayCounter
	// Baseline measures the same path without the tunnel first, unless the search
	// is a climb.
	Baseline bool
}

const (
	// LeastSize and MostSize bound packets, inner IP lengths in bytes: the one holds
	// IPv4, UDP and a probe's header, the other is what an IP packet can be.
	LeastSize, MostSize = 64, 65535

	// baselineTraffic and baselineWidth: the baseline is for comparison, so it
	// is coarser and shorter than the search.
	baselineTraffic = 8 * time.Second
	baselineWidth   = 0.02
)

// Find searches the ceiling of a tunnel, or what it has available, and judges the
// cause.
func Find(ctx context.Context, p FindPlan) (report.Result, error) {
	var err error
	if p.Search, err = ChooseManner(p.Spec, p.Search); err != nil {
		return report.Result{}, err
	}
	r, err := p.begin(ctx, report.Find, p.question())
	if err != nil {
		return report.Result{}, err
	}
	capped := p.cap(r.mostInner)
	if p.hasBaseline() {
		if r.Baseline, err = p.measureBaseline(ctx); err != nil {
			return report.Result{}, err
		}
	}
	err = p.within(ctx, p.Spec, func(s *Session) error {
		if err := s.fits(p.Size); err != nil {
			return err
		}
		p.Tell(p.wanted() + " of the tunnel")
		var ceiling analysis.Ceiling
		evidence, err := p.Gateway.witness(ctx, s, func() (err error) {
			ceiling, err = p.search(ctx, s, p.Search)
			return err
		})
		if err != nil {
			return err
		}
		r.conclude(ceiling)
		s.describe(r, p.Size)
		if evidence != nil {
			r.Evidence = []report.Evidence{*evidence} // It knows, the ends can only guess.
		}
		return nil
	})
	if err != nil {
		return report.Result{}, err
	}
	if capped && r.Ceiling.InnerUpperBitsPerSecond == 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("the agents allow no more than %s inner, so no higher load was tried", unit.FormatBitRate(r.mostInner)))
	}
	return r.finish(), nil
}

// cap keeps the search within what both agents allow, and says whether that
// narrows it.
func (p *FindPlan) cap(mostInner float64) bool {
	most := p.Search.MaxInnerBitsPerSecond
	if mostInner == 0 || most != 0 && most <= mostInner {
		return false
	}
	p.Search.MaxInnerBitsPerSecond = mostInner
	return true
}

func (p FindPlan) search(ctx context.Context, s *Session, options search.Options) (analysis.Ceiling, error) {
	return search.Find(ctx, func(ctx context.Context, load analysis.Load) (analysis.Trial, error) {
		return s.Trial(ctx, load, p.Size)
	}, options)
}

// measureBaseline searches the path without the tunnel, at the same packet
// size. First it tries whether the tunnel can be had at all: if not, the user
// shall know before traffic is sent.
func (p FindPlan) measureBaseline(ctx context.Context) (*report.Baseline, error) {
	if err := p.within(ctx, p.Spec, func(s *Session) error { return s.fits(p.Size) }); err != nil {
		return nil, err
	}
	p.Tell("measuring the path without the tunnel")
	var baseline *report.Baseline
	err := p.within(ctx, ClearSpec(), func(s *Session) error {
		ceiling, err := p.search(ctx, s, p.baselineOptions())
		baseline = &report.Baseline{
			InnerBitsPerSecond: ceiling.InnerBitsPerSecond,
			AtLeast:            ceiling.InnerUpperBitsPerSecond == 0,
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("measure the path without the tunnel (--no-baseline leaves that out): %w", err)
	}
	return baseline, nil
}

func (p FindPlan) baselineOptions() search.Options {
	options := p.Search
	options.Traffic, options.Width = baselineTraffic, baselineWidth
	return options
}

// question is what the result depends on; the callback is no part of it.
func (p FindPlan) question() any {
	o := p.Search
	return struct {
		Size     int
		Baseline bool
		Search   map[string]any
	}{p.Size, p.Baseline, map[string]any{
		"manner": o.Manner, "loss_goal": o.LossGoal, "width": o.Width,
		"min": o.MinInnerBitsPerSecond, "max": o.MaxInnerBitsPerSecond, "traffic": o.Traffic,
		"idle": o.Idle, "overload": o.Overload, "lossy": o.Lossy,
	}}
}
