package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"tunnelmark/scripts/internal/bench"
)

// mtu of the veth pair fits the largest packets, in bytes.
const mtu = 9000

// The benchmark's addresses are those for benchmarks (RFC 2544, Section C.2.2).
var (
	senderAddress   = netip.MustParseAddr("198.18.0.1")
	receiverAddress = netip.MustParseAddr("198.18.0.2")
)

// results are what all rounds brought.
type results struct {
	bench.Rounds[job, outcome]
	options bench.Options
	rows    []row
	machine bench.Machine
}

// measure offers every load of the rows once in each round.
func measure(ctx context.Context, o bench.Options, rows []row, progress io.Writer) (results, error) {
	pair, err := bench.NewPair()
	if err != nil {
		return results{}, err
	}
	defer pair.Close()
	if err := pair.Join(ctx, mtu, senderAddress, receiverAddress); err != nil {
		return results{}, err
	}
	do := func(ctx context.Context, j job, round map[job]outcome) (outcome, error) {
		return offer(ctx, pair, j, o.Duration, round)
	}
	rounds, err := bench.Run(ctx, o, jobs(rows), do, progress)
	return results{Rounds: rounds, options: o, rows: rows, machine: bench.ThisMachine(ctx)}, err
}

// offer offers one load. The round has those before it.
func offer(ctx context.Context, p *bench.Pair, j job, d time.Duration, round map[job]outcome) (outcome, error) {
	if j.ShareOfMaximum != 0 {
		most, known := round[maximum(j.InnerSize)]
		if !known {
			return outcome{}, fmt.Errorf("the maximum at %d B was not measured", j.InnerSize)
		}
		j.InnerBitsPerSecond = j.ShareOfMaximum * most.innerBitsPerSecond()
	}
	if j.Tool == iperf3 {
		return runIperf3(ctx, p, j, d)
	}
	return runOurs(ctx, p, j, d)
}

// of are a row's outcomes in the rounds in which neither tool failed.
func (r results) of(row row) (ours, theirs []outcome) {
	for _, round := range r.Outcomes {
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

// Brief is an outcome for the progress line.
func (o outcome) Brief() string {
	if o.goodputBytesReceived > 0 {
		return bench.Quantity(o.goodputBitsPerSecond()) + "bit/s of goodput"
	}
	return bench.Quantity(o.packetsPerSecond()) + "packets/s"
}
