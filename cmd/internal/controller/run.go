package controller

import (
	"context"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

// Run offers fixed loads, one after another, and reports what was counted.
func Run(ctx context.Context, p Plan, loads []analysis.Load) (report.Result, error) {
	result, err := p.begin(ctx, report.Run)
	if err != nil {
		return result.Result, err
	}
	err = p.within(ctx, p.Spec, func(s *Session) error {
		if err := p.fits(s); err != nil {
			return err
		}
		s.describe(result, p.Size)
		for _, load := range loads {
			trial, err := s.Trial(ctx, load, p.Size)
			if err != nil {
				return err
			}
			result.Trials = append(result.Trials, trial)
		}
		return nil
	})
	result.finish()
	return result.Result, err
}
