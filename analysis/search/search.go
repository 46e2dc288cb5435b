// Package search finds the ceiling of a path by offering loads to it.
//
// It is pure: it decides which load comes next and reads what was counted,
// while the caller's function runs the trials.
//
// In the manner of overload, a search goes through these steps:
//
//  1. explore: ever higher loads, until the path or the generator gives in;
//  2. plateau: overload it at three heights, to read the rate that still passes;
//  3. floor: measure what the path loses far below, and set the goal above it;
//  4. bucket: back-to-back bursts, if the limit is flat like a token bucket's;
//  5. confirm: just below the estimate must meet the goal, just above must not;
//  6. narrow: bisect until the interval is as narrow as asked for;
//  7. qualify: hold the lower end for longer, and lower it if it does not hold.
//
// In the manner of climb others share the path, and may not be hurt:
//
//  1. climb: from the least load, never more than a tenth above the highest that
//     was clean, until one is not;
//  2. close in: between those two, for as much lossy time as may be spent;
//  3. step back: below what passed of the loads that missed;
//  4. qualify: hold that for longer, and lower it if it does not hold.
//
// Plan says beforehand what a search may send at most.
package search

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tunnelmark/analysis"
)

// Run offers one load and returns what was counted. It blocks for the whole
// trial, the idle time before it included; calls do not overlap. A trial that
// the generator could not send in full is returned as it is, without error.
type Run func(context.Context, analysis.Load) (analysis.Trial, error)

// Find searches the ceiling of the path that run loads.
//
// With an error it still returns what was found until then, with all steps.
func Find(ctx context.Context, run Run, o Options) (analysis.Ceiling, error) {
	o, err := o.withDefaults()
	if err != nil {
		return analysis.Ceiling{}, fmt.Errorf("read the search's options: %w", err)
	}
	f := &finder{run: run, opts: o, reserve: min(qualifyFor, o.Traffic/4)}
	f.found.Manner, f.found.Meaning, f.found.LossGoal = o.Manner, o.meaning(), o.LossGoal
	steps := f.overloading()
	if f.climbs() {
		steps = f.climbing()
	}
	for _, step := range steps {
		err = step(ctx)
		f.cutShort = f.cutShort || errors.Is(err, errSpent)
		if err != nil && !errors.Is(err, errSpent) {
			return f.result(), fmt.Errorf("search the ceiling: %w", err)
		}
	}
	return f.result(), nil
}

// step is one part of a search; errSpent ends the step, not the search.
type step func(context.Context) error

func (f *finder) overloading() []step {
	return []step{f.explore, f.readPlateau, f.measureFloor, f.readBucket, f.confirm, f.narrow, f.qualify}
}

func (f *finder) climbs() bool { return f.opts.Manner == analysis.Climb }

// finder is one search: what it knows so far.
type finder struct {
	run  Run
	opts Options

	found   analysis.Ceiling // Steps and readings, completed by result.
	bounds  bounds
	sent    time.Duration // Traffic so far.
	reserve time.Duration // Traffic kept back for the qualification.
	// cutShort says that a step ended because its traffic was spent.
	cutShort bool

	// estimate is where the ceiling is looked for, inner bit/s; zero while no
	// load has lost.
	estimate float64
	// reached is the highest load that passed while exploring, inner bit/s.
	reached float64
	// top is the most that may or can be offered, inner bit/s; limited says
	// that it is the generator's.
	top     float64
	limited bool
	// store is what the path takes in beyond its rate before it first loses, in
	// inner bytes: a bucket's tokens, a queue's room.
	store float64
	// heldLoss is the loss ratio of the qualification.
	heldLoss float64
}

// result draws up the ceiling from what is known.
func (f *finder) result() analysis.Ceiling {
	c := f.found
	c.InnerLowerBitsPerSecond, c.InnerUpperBitsPerSecond = f.bounds.lower(), f.bounds.upper()
	c.InnerBitsPerSecond = c.InnerLowerBitsPerSecond * (1 - f.heldLoss)
	c.GeneratorLimited = f.limited && c.InnerUpperBitsPerSecond == 0 && c.InnerLowerBitsPerSecond > 0
	if f.flat() && c.InnerLowerBitsPerSecond <= c.Plateau.InnerBitsPerSecond*(1+f.opts.Width) {
		c.InnerBitsPerSecond = c.Plateau.InnerBitsPerSecond
	}
	c.Note = note(c)
	if c.Note == "" && f.cutShort && (!c.Qualified || c.InnerUpperBitsPerSecond == 0) {
		c.Note = f.shortage()
	}
	return c
}

// shortage says which budget ended the search.
func (f *finder) shortage() string {
	if f.climbs() && f.lossyLeft() < leastTrial {
		return fmt.Sprintf("the search ended early: of its %v in which loads may lose more than the goal too little was left; the figure was not held for long", f.opts.Lossy)
	}
	return fmt.Sprintf("the search ended early: its traffic of %v was spent", f.opts.Traffic)
}

// note explains a figure that is not inside the interval.
func note(c analysis.Ceiling) string {
	const mbps = 1e-6
	figure, lower, upper := c.InnerBitsPerSecond*mbps, c.InnerLowerBitsPerSecond*mbps, c.InnerUpperBitsPerSecond*mbps
	switch {
	case lower == 0 && upper > 0 && figure > 0:
		return fmt.Sprintf("no load met the loss goal for long enough; %.2f Mbit/s inner is the rate that passes under overload", figure)
	case upper > 0 && figure > upper:
		return fmt.Sprintf("the limit is flat at %.2f Mbit/s inner, but loads from %.2f Mbit/s inner on already lose more than the goal: packets arrive there in bursts that its bucket does not hold", figure, upper)
	case figure < lower && c.Flat:
		return fmt.Sprintf("the limit is flat at %.2f Mbit/s inner under overload, and up to %.2f Mbit/s inner still met the loss goal", figure, lower)
	}
	return ""
}
