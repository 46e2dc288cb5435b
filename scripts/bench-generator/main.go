// Bench-generator measures tunnelmark's load generator beside iperf3, over one
// veth pair between two network namespaces, and writes a table with ratios.
//
// A benchmark goes like this:
//
//  1. A plan says which loads to offer, and with which of the two tools (plan.go).
//  2. Two namespaces without names are joined by a veth pair whose offloads are
//     on (link.go). They end with the process, whatever ends it.
//  3. In each round every load is offered once, so that a machine whose speed
//     changes changes for both tools alike (bench.go).
//  4. Both ends of a load are processes of their own, one in each namespace
//     (process.go): two of iperf3 (iperf3.go), or two of this program itself
//     (ours.go), called as "bench-generator end" (end.go).
//  5. What they tell becomes an outcome (outcome.go); medians of all rounds, and
//     of the ratios within a round, become a table (table.go).
//
// The load of both ends and of the kernel between them is on the same cores:
// absolute figures are the machine's, ratios are the tools'.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
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

// The first thread never exits, so no namespace may be made on it.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &wrong):
		fmt.Fprintf(os.Stderr, "bench-generator: %v; see bench-generator --help\n", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench-generator:", err)
		os.Exit(1)
	}
}

type usageError struct{ error }

// options are what the user may choose.
type options struct {
	rounds   int
	duration time.Duration // Of each load.
	only     []string
	output   string
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 1 && args[0] == endCommand {
		return runEnd(ctx, stdin, stdout)
	}
	o, err := parse(args, stdout)
	if err != nil {
		return err
	}
	rows, err := plan(o.only)
	if err != nil {
		return usageError{err}
	}
	if err := needs(); err != nil {
		return err
	}
	results, err := measure(ctx, o, rows, stderr)
	if err != nil {
		return err
	}
	if err := write(o.output, stdout, report(results)); err != nil {
		return err
	}
	if len(results.failures) > 0 {
		return fmt.Errorf("%d loads failed, the table names them", len(results.failures))
	}
	return nil
}

func parse(args []string, stdout io.Writer) (options, error) {
	var o options
	var only string
	var seconds int
	flags := flag.NewFlagSet("bench-generator", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 5, "how often each load is offered; the table has the medians")
	flags.IntVar(&seconds, "seconds", 3, "how long each load is offered in each round")
	flags.StringVar(&only, "only", "", "rows to measure, or what their names begin with: udp, tcp/4, pacing/1400/350M")
	flags.StringVar(&o.output, "o", "", "file for the table, too")
	flags.SetOutput(io.Discard) // Errors are returned, too.
	flags.Usage = func() {}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, help, defaults(flags))
		return options{}, err
	case err != nil:
		return options{}, usageError{err}
	case flags.NArg() > 0:
		return options{}, usageError{fmt.Errorf("argument %q: there are only flags", flags.Arg(0))}
	case o.rounds < 1:
		return options{}, usageError{fmt.Errorf("-rounds %d: at least one", o.rounds)}
	case seconds < 1 || seconds > 600:
		return options{}, usageError{fmt.Errorf("-seconds %d: from 1 to 600", seconds)}
	}
	o.duration = time.Duration(seconds) * time.Second
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	return o, nil
}

// defaults describes the flags.
func defaults(flags *flag.FlagSet) string {
	var list strings.Builder
	flags.SetOutput(&list)
	flags.PrintDefaults()
	return list.String()
}

func needs() error {
	if os.Geteuid() != 0 {
		return errors.New("make network namespaces: needs root")
	}
	for _, program := range []string{"ip", "iperf3"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("find %s: %w; scripts/install-test-tools installs it", program, err)
		}
	}
	return nil
}

func write(path string, stdout io.Writer, table string) error {
	if _, err := io.WriteString(stdout, table); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	if path == "" {
		return nil
	}
	if err := os.WriteFile(path, []byte(table), 0o644); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}
