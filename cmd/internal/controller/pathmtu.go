package controller

import (
	"context"
	"fmt"
	"time"

	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/control/controlv1"
)

// pathMTUFor bounds a search of a path's MTU, both ways, with its SYNs.
const pathMTUFor = 20 * time.Second

// PathMTUPlan asks which packets a tunnel takes.
type PathMTUPlan struct {
	Plan
	// Least and Most are the inner sizes between which is searched, in bytes; zero:
	// what IP must carry, and what the ends' interfaces take.
	Least, Most int
	// Rates reads the rate that passes at several sizes, too, by searches in the
	// manner of Search: fragments that DF does not show cost some of it.
	Rates  bool
	Search search.Options
}

// FindPathMTU builds a tunnel, finds by sending them which sizes of inner packets
// it takes in both directions, and looks at what becomes of a SYN's MSS.
func FindPathMTU(ctx context.Context, p PathMTUPlan) (report.Result, error) {
	var err error
	if p.Search, err = ChooseManner(p.Spec, p.Search); err != nil {
		return report.Result{}, err
	}
	r, err := p.begin(ctx, report.PathMTU, []any{p.Least, p.Most, p.Rates})
	if err != nil {
		return report.Result{}, err
	}
	if r.mostInner > 0 {
		limit(&p.Search, r.mostInner)
	}
	err = p.within(ctx, p.Spec, func(s *Session) error {
		p.Tell("searching the largest packets that pass, both ways")
		work := &controlv1.Work{PathMtu: &controlv1.PathMTUSearch{Least: uint32(p.Least), Most: uint32(p.Most)}}
		done, err := s.carry(ctx, order{work: work}, pathMTUFor)
		if err != nil {
			return err
		}
		found := done.sent.GetPathMtu()
		r.PathMTU = &report.PathMTUs{
			There: pathMTUFrom(found.GetThere()), Back: pathMTUFrom(found.GetBack()),
			MSSThere: mssFrom(found.GetMssThere()), MSSBack: mssFrom(found.GetMssBack()),
		}
		if failed := found.GetMssFailed(); failed != "" {
			r.Notes = append(r.Notes, fmt.Sprintf("what becomes of a SYN's MSS is not known: %s", failed))
		}
		s.describe(r, s.InnerMTU)
		if p.Rates {
			r.Verdict, err = s.fragments(ctx, p, r.PathMTU.There.InnerSize)
		}
		return err
	})
	if err != nil {
		return report.Result{}, err
	}
	return r.finish(), nil
}
