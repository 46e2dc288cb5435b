package bench

import (
	"context"
	"fmt"
	"io"
	"time"
)

// settle is how much longer than its load a job may take, to start and to end.
const settle = 15 * time.Second

// Job is one load; equal jobs are the same measurement. It is told by its String.
type Job interface {
	comparable
	fmt.Stringer
}

// Outcome is what came of a job.
type Outcome interface {
	// Brief is for the line of progress.
	Brief() string
}

// Rounds are what all rounds brought.
type Rounds[J Job, O Outcome] struct {
	Outcomes []map[J]O // Of each round, without those that failed.
	Failures []string
}

// Run has every job done once in each round. A job that fails is told, and the
// others go on. The round that do is given has those before it.
func Run[J Job, O Outcome](ctx context.Context, o Options, jobs []J, do func(ctx context.Context, j J, round map[J]O) (O, error), progress io.Writer) (Rounds[J, O], error) {
	var r Rounds[J, O]
	for number := 1; number <= o.Rounds; number++ {
		round := make(map[J]O)
		for i, j := range jobs {
			fmt.Fprintf(progress, "round %d of %d, load %d of %d: %s: ", number, o.Rounds, i+1, len(jobs), j)
			done, err := limited(ctx, o.Duration, j, round, do)
			if ctx.Err() != nil {
				fmt.Fprintln(progress, "interrupted")
				return r, context.Cause(ctx)
			}
			if err != nil {
				fmt.Fprintln(progress, "failed:", err)
				r.Failures = append(r.Failures, fmt.Sprintf("round %d: %s: %v", number, j, err))
				continue
			}
			fmt.Fprintln(progress, done.Brief())
			round[j] = done
		}
		r.Outcomes = append(r.Outcomes, round)
	}
	return r, nil
}

// limited does one job, within its time.
func limited[J Job, O Outcome](ctx context.Context, d time.Duration, j J, round map[J]O, do func(context.Context, J, map[J]O) (O, error)) (O, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d+settle, fmt.Errorf("not over after %v", d+settle))
	defer cancel()
	done, err := do(ctx, j, round)
	if ctx.Err() != nil {
		return done, context.Cause(ctx)
	}
	return done, err
}
