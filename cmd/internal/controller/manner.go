package controller

import (
	"context"
	"errors"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
)

var errHurtsOthers = errors.New("an existing tunnel may carry production, which an overload would hurt: let the search climb (--manner climb), or assert that nothing else uses the tunnel (--idle)")

// ChooseManner fills in how a tunnel may be searched where that is not said: one
// that is not ours by a climb. An overload of such a tunnel is refused, unless it
// is asserted that nothing else uses it.
func ChooseManner(spec Spec, o search.Options) (search.Options, error) {
	switch {
	case o.Manner == "" && spec.IsExisting():
		o.Manner = analysis.Climb
	case o.Manner == "":
		o.Manner = analysis.Overload
	case o.Manner == analysis.Overload && spec.IsExisting() && !o.Idle:
		return o, errHurtsOthers
	}
	return o, nil
}

// wanted is what a search is for, as a user is told of it.
func (p FindPlan) wanted() string {
	if p.Search.Manner == analysis.Climb && !p.Search.Idle {
		return "searching what is available"
	}
	return "searching the ceiling"
}

// Forecast is the most that a plan may ask of the path.
type Forecast struct {
	Tunnel search.Forecast `json:"tunnel"`
	// Baseline is of the path without the tunnel, where that is measured too.
	Baseline *search.Forecast `json:"baseline,omitempty"`
}

// Forecast says what the plan would do at most. Where the plan gives no highest
// rate, both ends are asked what they allow; no session is opened, and nothing is
// sent.
func (p FindPlan) Forecast(ctx context.Context) (f Forecast, err error) {
	if p.Search, err = ChooseManner(p.Spec, p.Search); err != nil {
		return f, err
	}
	if p.Search.MaxInnerBitsPerSecond == 0 {
		r, err := p.begin(ctx, report.Find, p.question())
		if err != nil {
			return f, err
		}
		p.cap(r.mostInner)
	}
	if f.Tunnel, err = search.Plan(p.Search); err != nil || !p.hasBaseline() {
		return f, err
	}
	baseline, err := search.Plan(p.baselineOptions())
	f.Baseline = &baseline
	return f, err
}

// hasBaseline: whoever shares the path without the tunnel is spared as well.
func (p FindPlan) hasBaseline() bool {
	return p.Baseline && p.Search.Manner != analysis.Climb
}
