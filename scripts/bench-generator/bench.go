package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// settle is how much longer than its load a job may take, to start and to end.
const settle = 15 * time.Second

// results are what all rounds brought.
type results struct {
	options  options
	rows     []row
	rounds   []map[job]outcome // Without those that failed.
	failures []string
	machine  machine
}

// measure offers every load of the rows once in each round.
func measure(ctx context.Context, o options, rows []row, progress io.Writer) (results, error) {
	l, err := newLink(ctx)
	if err != nil {
		return results{}, err
	}
	defer l.close()
	r := results{options: o, rows: rows, machine: thisMachine(ctx)}
	list := jobs(rows)
	for number := 1; number <= o.rounds; number++ {
		round := make(map[job]outcome)
		for i, j := range list {
			fmt.Fprintf(progress, "round %d of %d, load %d of %d: %s: ", number, o.rounds, i+1, len(list), j)
			done, err := offer(ctx, l, j, o.duration, round)
			if ctx.Err() != nil {
				fmt.Fprintln(progress, "interrupted")
				return results{}, context.Cause(ctx)
			}
			if err != nil {
				fmt.Fprintln(progress, "failed:", err)
				r.failures = append(r.failures, fmt.Sprintf("round %d: %s: %v", number, j, err))
				continue
			}
			fmt.Fprintln(progress, done.brief())
			round[j] = done
		}
		r.rounds = append(r.rounds, round)
	}
	return r, nil
}

// offer offers one load. The round has those before it.
func offer(ctx context.Context, l *link, j job, d time.Duration, round map[job]outcome) (outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d+settle, fmt.Errorf("not over after %v", d+settle))
	defer cancel()
	if j.ShareOfMaximum != 0 {
		most, known := round[maximum(j.InnerSize)]
		if !known {
			return outcome{}, fmt.Errorf("the maximum at %d B was not measured", j.InnerSize)
		}
		j.InnerBitsPerSecond = j.ShareOfMaximum * most.innerBitsPerSecond()
	}
	run := runOurs
	if j.Tool == iperf3 {
		run = runIperf3
	}
	done, err := run(ctx, l, j, d)
	if ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	return done, err
}

// of are a row's outcomes in the rounds in which neither tool failed.
func (r results) of(row row) (ours, theirs []outcome) {
	for _, round := range r.rounds {
		own, ok := round[row.ours]
		other, okToo := round[row.theirs]
		if ok && okToo {
			ours, theirs = append(ours, own), append(theirs, other)
		}
	}
	return ours, theirs
}

// in are the rows of a section.
func (r results) in(s section) []row {
	return slices.DeleteFunc(slices.Clone(r.rows), func(row row) bool { return row.section != s })
}

// brief is an outcome for the progress line.
func (o outcome) brief() string {
	if o.goodputBytesReceived > 0 {
		return quantity(o.goodputBitsPerSecond()) + "bit/s of goodput"
	}
	return quantity(o.packetsPerSecond()) + "packets/s"
}
