// Bench-dataplane measures tunnelmark's ESP in user space beside other data planes
// in user space, with the same load for all, and writes a table with ratios.
//
// A benchmark goes like this:
//
//  1. A plan says which loads to offer over which data planes (plan.go): our ESP
//     with every suite that its driver has and without crypto, wireguard-go, and
//     strongSwan's kernel-libipsec (plane.go).
//  2. Each data plane gets a tunnel of its own, between two outer namespaces that
//     a veth pair joins (tunnel.go). Each end is a process of its own, as agents
//     are: this program, called as "bench-dataplane half" (half.go), which opens
//     the driver that an agent would, or starts wireguard-go's own program
//     (wireguardgo.go).
//  3. In each round every load is offered once over every tunnel, one after the
//     other, by iperf3 between the two inner namespaces (bench.go). So a machine
//     whose speed changes changes for all alike.
//  4. What iperf3 tells, and the CPU time of the processes at both ends (cpu.go),
//     becomes an outcome (outcome.go); medians of all rounds, and of the ratios
//     within a round, become tables (table.go).
//
// Both ends, iperf3 and the kernel between them are on the same cores: absolute
// figures are the machine's, ratios are the data planes'.
package main

import (
	"context"
	"io"
	"runtime"

	"tunnelmark/scripts/internal/bench"
)

const help = `Measure tunnelmark's ESP beside wireguard-go and strongSwan's kernel-libipsec.

Needs root, for network namespaces of its own, and ip and iperf3 in PATH;
wireguard-go beside this program or in PATH, and strongSwan, or else the table says
that they were not measured.
The table goes to standard output, progress to standard error.

Usage:
  bench-dataplane [flags]

Flags:
%s
Examples:
  bench-dataplane
  bench-dataplane -rounds 9 -o dataplane.md
  bench-dataplane -only tcp,esp/aes-128-gcm,wireguard-go -rounds 3

Exit codes: 0 done, 1 failed or some loads did, 2 usage.
`

const onlyUsage = "loads or data planes to measure, or what their names begin with: tcp, udp/1400, esp, esp/aes-128-gcm, wireguard-go"

// The first thread never exits, so no namespace may be made on it.
func init() { runtime.LockOSThread() }

func main() { bench.Main("bench-dataplane", run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 1 && args[0] == halfCommand {
		return runHalf(ctx, stdin, stdout)
	}
	o, err := bench.Parse(args, help, onlyUsage, stdout)
	if err != nil {
		return err
	}
	p, err := newPlan(o.Only)
	if err != nil {
		return bench.UsageError{Err: err}
	}
	if err := bench.Need(); err != nil {
		return err
	}
	results, err := measure(ctx, o, p, stderr)
	if err != nil {
		return err
	}
	return o.Write(stdout, report(results), results.Failures)
}
