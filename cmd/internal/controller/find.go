package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/kind"
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
	// Watch looks after every load of the search.
	Watch Watch
	// Latency measures round trips without load and at shares of the ceiling, when
	// it is known.
	Latency bool
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
			return r.stopped(err)
		})
		if err != nil {
			return err
		}
		r.conclude(ceiling)
		if err := p.latencies(ctx, s, r); err != nil {
			return err
		}
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

// cap keeps the search within what both agents allow, less what the probe beside it
// takes of that, and says whether that narrows it.
func (p *FindPlan) cap(mostInner float64) bool {
	if mostInner == 0 {
		return false
	}
	return limit(&p.Search, max(1, mostInner-p.Watch.innerBitsPerSecond(p.Size)))
}

// limit keeps a search within most, in inner bit/s, and says whether that narrows it.
func limit(o *search.Options, most float64) bool {
	if o.MaxInnerBitsPerSecond != 0 && o.MaxInnerBitsPerSecond <= most {
		return false
	}
	o.MaxInnerBitsPerSecond = most
	return true
}

func (p FindPlan) search(ctx context.Context, s *Session, options search.Options) (analysis.Ceiling, error) {
	return search.Find(ctx, func(ctx context.Context, load analysis.Load) (analysis.Trial, error) {
		trial, err := s.guarded(ctx, load, p.Size, p.Watch)
		if err == nil && trial.Stopped != "" {
			err = stoppedError(trial.Stopped)
		}
		return trial, err
	}, options)
}

// stoppedError ends a search whose load a condition ended.
type stoppedError string

func (e stoppedError) Error() string { return string(e) }

// stopped makes a search that a condition ended one that knows less.
func (r *pending) stopped(err error) error {
	var why stoppedError
	if !errors.As(err, &why) {
		return err
	}
	r.halted, r.Notes = true, append(r.Notes, "the search was ended: "+why.Error())
	return nil
}

const (
	// latencyEvery is how often round trips are measured beside a load, and
	// latencyFor for how long.
	latencyEvery = 10 * time.Millisecond
	latencyFor   = 2 * time.Second
)

// latencyShares of the ceiling are loaded while round trips are measured.
var latencyShares = []float64{0.5, 0.8, 0.95}

// latencies measures round trips without load and under loads that the path
// carries.
func (p FindPlan) latencies(ctx context.Context, s *Session, r *pending) error {
	ceiling := r.Ceiling.InnerBitsPerSecond
	k, err := kind.Find(p.Spec.Driver)
	if !p.Latency || ceiling == 0 || r.halted || k.OneFlow || err != nil {
		return err
	}
	p.Tell("measuring the latency idle and under load")
	idle, err := s.Idle(ctx, latencyEvery, latencyFor)
	if err != nil {
		return err
	}
	r.Latencies = []analysis.Latency{idle}
	for _, share := range latencyShares {
		load := analysis.Load{InnerBitsPerSecond: share * ceiling, Duration: latencyFor, Idle: settleFor}
		trial, err := s.guarded(ctx, load, p.Size, Watch{Every: latencyEvery, StopIf: p.Watch.StopIf})
		if err != nil {
			return fmt.Errorf("measure the latency at %.0f %% of the ceiling: %w", 100*share, err)
		}
		if trial.Stopped != "" { // Higher shares would be stopped, too.
			r.Notes = append(r.Notes, fmt.Sprintf("the latency at %.0f %% of the ceiling is not known: %s", 100*share, trial.Stopped))
			return nil
		}
		latency := *trial.Latency
		latency.Share, latency.InnerBitsPerSecond = share, trial.InnerSentBitsPerSecond()
		r.Latencies = append(r.Latencies, latency)
	}
	return nil
}

// settleFor lets queues drain before a latency is measured.
const settleFor = 100 * time.Millisecond

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
		"idle": o.Idle, "overload": o.Overload, "lossy": o.Lossy, "stop_if": p.Watch.StopIf,
	}}
}
