package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"tunnelmark/scripts/internal/bench"
	"tunnelmark/tunnel"
)

// results are what all rounds brought.
type results struct {
	bench.Rounds[job, outcome]
	options bench.Options
	plan    plan
	machine bench.Machine
	// details are how each data plane was built, by its name.
	details map[string][]tunnel.Detail
	// missing are data planes that were not measured, each with the reason.
	missing []string
}

// measure builds a tunnel of each data plane, and offers every load over each once
// in each round.
func measure(ctx context.Context, o bench.Options, p plan, progress io.Writer) (r results, err error) {
	r = results{options: o, plan: p, machine: bench.ThisMachine(ctx), details: make(map[string][]tunnel.Detail)}
	tunnels := make(map[string]*built)
	var names, failures []string
	for _, plane := range p.planes {
		b, err := buildAllowed(ctx, plane, progress)
		switch {
		case ctx.Err() != nil:
			return r, errors.Join(context.Cause(ctx), closeAll(tunnels))
		case errors.Is(err, tunnel.ErrNotSupported):
			r.missing = append(r.missing, fmt.Sprintf("%s: %v", plane.name, err))
		case err != nil:
			failures = append(failures, fmt.Sprintf("%s: %v", plane.name, err))
		default:
			tunnels[plane.name], r.details[plane.name] = b, b.details
			names = append(names, plane.name)
		}
	}
	do := func(ctx context.Context, j job, _ map[job]outcome) (outcome, error) {
		return offer(ctx, tunnels[j.Plane], j.Load, o.Duration)
	}
	r.Rounds, err = bench.Run(ctx, o, p.jobs(names), do, progress)
	r.Failures = append(failures, r.Failures...)
	return r, errors.Join(err, closeAll(tunnels))
}

// buildAllowed builds a tunnel if this machine can.
func buildAllowed(ctx context.Context, p plane, progress io.Writer) (*built, error) {
	if err := p.check(p.half(true)); err != nil {
		fmt.Fprintf(progress, "%s: not measured: %v\n", p.name, err)
		return nil, err
	}
	fmt.Fprintf(progress, "%s: ", p.name)
	b, err := build(ctx, p)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(progress, "interrupted")
	case err != nil:
		fmt.Fprintln(progress, "failed:", err)
	default:
		fmt.Fprintln(progress, "up")
	}
	return b, err
}

func closeAll(tunnels map[string]*built) error {
	var errs []error
	for name, b := range tunnels {
		if err := b.close(); err != nil {
			errs = append(errs, fmt.Errorf("close the tunnel of %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// offer offers one load over a tunnel. Between loads its processes have nothing to
// do, so that what they spend is the load's.
func offer(ctx context.Context, b *built, l load, d time.Duration) (outcome, error) {
	senderBefore, receiverBefore, err := b.spent()
	if err != nil {
		return outcome{}, err
	}
	result, done, err := b.inner.Iperf3(ctx, bench.Iperf3{To: receivingEnd.Inner4, Duration: d, Flows: l.Flows, InnerSize: l.InnerSize})
	if err != nil {
		return outcome{}, err
	}
	senderAfter, receiverAfter, err := b.spent()
	if err != nil {
		return outcome{}, err
	}
	o := newOutcome(result, l)
	o.hostBusy, o.iperf3CPU = done.HostBusy, done.SenderCPU+done.ReceiverCPU
	o.senderCPU, o.receiverCPU = senderAfter-senderBefore, receiverAfter-receiverBefore
	return o, nil
}
