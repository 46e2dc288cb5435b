// Bench-generator measures tunnelmark's load generator beside iperf3, over one
// veth pair between two network namespaces, and writes a table with ratios.
//
// A benchmark goes like this:
//
//  1. A plan says which loads to offer, and with which of the two tools (plan.go).
//  2. Two namespaces without names are joined by a veth pair whose offloads are
//     on (bench.Pair). They end with the process, whatever ends it.
//  3. In each round every load is offered once, so that a machine whose speed
//     changes changes for both tools alike (bench.go).
//  4. Both ends of a load are processes of their own, one in each namespace: two
//     of iperf3 (iperf3.go), or two of this program itself (ours.go), called as
//     "bench-generator end" (end.go).
//  5. What they tell becomes an outcome (outcome.go); medians of all rounds, and
//     of the ratios within a round, become a table (table.go).
//
// The load of both ends and of the kernel between them is on the same cores:
// absolute figures are the machine's, ratios are the tools'.
package main

import (
	"context"
	"io"
	"runtime"

	"tunnelmark/scripts/internal/bench"
)

const help = `Measure tunnelmark's load generator beside iperf3 on one veth pair.

Needs root, for network namespaces of its own, and ip and iperf3 in PATH.
The table goes to standard output, progress to standard error.

Usage:
  bench-generator [flags]

Flags:
%s
Examples:
  bench-generator
  bench-generator -rounds 9 -o generator.md
  bench-generator -only udp/1400,tcp -rounds 1 -seconds 1
  bench-generator -only pacing -seconds 10

Exit codes: 0 done, 1 failed or some loads did, 2 usage.
`

const onlyUsage = "rows to measure, or what their names begin with: udp, tcp/4, pacing/1400/350M"

// The first thread never exits, so no namespace may be made on it.
func init() { runtime.LockOSThread() }

func main() { bench.Main("bench-generator", run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 1 && args[0] == endCommand {
		return runEnd(ctx, stdin, stdout)
	}
	o, err := bench.Parse(args, help, onlyUsage, stdout)
	if err != nil {
		return err
	}
	rows, err := plan(o.Only)
	if err != nil {
		return bench.UsageError{Err: err}
	}
	if err := bench.Need(); err != nil {
		return err
	}
	results, err := measure(ctx, o, rows, stderr)
	if err != nil {
		return err
	}
	return o.Write(stdout, report(results), results.Failures)
}
