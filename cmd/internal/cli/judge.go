package cli

import (
	"fmt"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/unit"
)

// judge turns results into an exit code: where a truth is stated it decides,
// whatever the verdict; elsewhere the verdict does.
func judge(results []report.Result) error {
	for _, r := range results {
		switch {
		case r.Truth != nil && !r.Truth.Met:
			return errMissed
		case r.Truth == nil && r.Verdict != nil && r.Verdict.Cause == analysis.Generator:
			return fmt.Errorf("%w: it is not the path's ceiling, the generator could not offer more", errInvalid)
		case r.Truth == nil && r.Ceiling != nil && !r.Ceiling.Qualified && !r.Ceiling.Flat:
			return fmt.Errorf("%w: no load was held for long enough; the host may be too busy, or the budget (--budget, --overload-budget) too small", errInvalid)
		}
	}
	return nil
}

// judgeLoad refuses a load that was less than what was asked for.
func judgeLoad(result report.Result) error {
	for _, trial := range result.TCP {
		if trial.Stopped != "" {
			return fmt.Errorf("%w: %s", errStopped, trial.Stopped)
		}
	}
	for _, trial := range result.Trials {
		if err := judgeTrial(trial); err != nil {
			return err
		}
	}
	return nil
}

func judgeTrial(trial analysis.Trial) error {
	if trial.Stopped != "" {
		return fmt.Errorf("%w: %s", errStopped, trial.Stopped)
	}
	if trial.Valid() {
		return nil
	}
	why := "the sender could not offer more"
	if trial.Interrupted() {
		why = fmt.Sprintf("the host kept the sender off the CPU for %v", trial.Skipped.Round(time.Millisecond))
	}
	return fmt.Errorf("%w: of %s inner only %s was sent; %s", errInvalid,
		unit.FormatBitRate(trial.Load.InnerBitsPerSecond), unit.FormatBitRate(trial.InnerSentBitsPerSecond()), why)
}
