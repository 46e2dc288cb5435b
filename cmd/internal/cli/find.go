package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/unit"
)

// quantity is a flag whose value has a unit.
type quantity[T any] struct {
	into  *T
	parse func(string) (T, error)
	kind  string
	text  string
}

func (q *quantity[T]) Set(text string) (err error) {
	*q.into, err = q.parse(text)
	q.text = text
	return err
}
func (q *quantity[T]) String() string { return q.text }
func (q *quantity[T]) Type() string   { return q.kind }

// bitRate adds a flag of bit/s.
func bitRate(flags *pflag.FlagSet, into *float64, name, shorthand, usage string) {
	flags.VarP(&quantity[float64]{into, unit.BitRate, "rate", ""}, name, shorthand, usage)
}

func ratio(flags *pflag.FlagSet, into *float64, name, usage string) {
	flags.Var(&quantity[float64]{into, unit.Ratio, "share", ""}, name, usage)
}

func duration(flags *pflag.FlagSet, into *time.Duration, name, shorthand, usage string) {
	flags.VarP(&quantity[time.Duration]{into, unit.Duration, "time", ""}, name, shorthand, usage)
}

// tunnelFlags say what tunnel to build.
type tunnelFlags struct{ spec controller.Spec }

func (t *tunnelFlags) add(command *cobra.Command) {
	t.spec = controller.DefaultSpec()
	flags := command.Flags()
	flags.StringVar(&t.spec.Driver, "driver", t.spec.Driver, "kind of tunnel: esp, or clear for the path without one")
	flags.StringVar(&t.spec.Suite, "suite", t.spec.Suite, "cipher suite: aes-128-gcm, aes-256-gcm, chacha20-poly1305")
	flags.StringVar(&t.spec.Encapsulation, "encapsulation", t.spec.Encapsulation, "what carries ESP: udp (RFC 3948)")
	flags.IntVarP(&t.spec.InnerMTU, "mtu", "M", 0, "inner MTU in bytes (default: the largest that needs no fragments)")
}

// read drops what a driver without encryption does not have.
func (t *tunnelFlags) read() controller.Spec {
	if t.spec.Driver == "clear" {
		return controller.Spec{Driver: "clear", InnerMTU: t.spec.InnerMTU}
	}
	return t.spec
}

func findCommand() *cobra.Command {
	var state stateFlag
	var output outputFlags
	var tunnel tunnelFlags
	var options search.Options
	var sizes []int
	var manner string
	var noBaseline bool
	command := &cobra.Command{
		Use:   "find FROM TO",
		Short: "Find the ceiling of a tunnel between two agents, and its cause",
		Long: `Has two paired agents build a tunnel, searches the highest rate that flows from
FROM to TO within the loss goal, says what limits it, and removes the tunnel.

The search overloads the path for some seconds. Where production shares it, use
--manner climb: it comes from below, and stops at the first seconds of loss.

Exits 4 where the generator, not the path, was the limit.`,
		Example: `  tunnelmark find dc-a dc-b
  tunnelmark find dc-a dc-b --suite chacha20-poly1305 --size 512,1400 --html report.html
  tunnelmark find dc-a dc-b --manner climb --max 500M --json`,
		Args: arguments(2, 2, "the names of two agents (see: tunnelmark agents)"),
	}
	state.add(command)
	output.add(command)
	tunnel.add(command)
	flags := command.Flags()
	flags.IntSliceVar(&sizes, "size", []int{1400}, "inner IP packet lengths in bytes, one search each")
	flags.StringVar(&manner, "manner", string(analysis.Overload), "overload, or climb where production shares the path")
	ratio(flags, &options.LossGoal, "loss-goal", "loss that a load may have (default 0.1%)")
	ratio(flags, &options.Width, "width", "how narrow the result shall be (default 0.5%)")
	bitRate(flags, &options.MinInnerBitsPerSecond, "min", "", "least inner rate to offer (default 1M)")
	bitRate(flags, &options.MaxInnerBitsPerSecond, "max", "", "highest inner rate to offer (default: what the agents allow)")
	duration(flags, &options.Traffic, "budget", "", "for how long to send in all (default 25s)")
	flags.BoolVar(&noBaseline, "no-baseline", false, "do not measure the path without the tunnel first")
	command.RunE = func(command *cobra.Command, given []string) error {
		options.Manner = analysis.Manner(manner)
		if err := options.Check(); err != nil {
			return usageError{err}
		}
		if err := checkSizes(sizes); err != nil {
			return usageError{err}
		}
		ends, close, err := dialEnds(&state, given[0], given[1])
		defer close()
		if err != nil {
			return err
		}
		shown := newProgress(command, output.quiet)
		options.Progress = shown.trial
		var results []report.Result
		for i, size := range sizes {
			result, err := controller.Find(command.Context(), controller.Plan{
				From: ends[0], To: ends[1], Spec: tunnel.read(), Size: size, Search: options,
				Baseline:  !noBaseline && tunnel.spec.Driver != "clear",
				Reproduce: report.Reproduce{CommandLine: commandLine(command, given)},
				Tell:      shown.tell,
			})
			shown.done()
			if err != nil {
				return err
			}
			if err := output.write(command, i, result); err != nil {
				return err
			}
			results = append(results, result)
		}
		return judge(results)
	}
	return command
}

// judge turns results into an exit code: where a truth is stated it decides,
// whatever the verdict; elsewhere the verdict does.
func judge(results []report.Result) error {
	for _, r := range results {
		switch {
		case r.Truth != nil && !r.Truth.Met:
			return errMissed
		case r.Truth == nil && r.Verdict != nil && r.Verdict.Cause == analysis.Generator:
			return errInvalid
		}
	}
	return nil
}

func checkSizes(sizes []int) error {
	if len(sizes) == 0 {
		return errors.New("--size: want one length or more")
	}
	for _, size := range sizes {
		if size < 64 || size > 65535 {
			return fmt.Errorf("--size: %d is not from 64 to 65535 bytes", size)
		}
	}
	return nil
}

// commandLine is what was typed, as far as it matters for the result: flags
// that were set and arguments.
func commandLine(command *cobra.Command, given []string) string {
	words := append([]string{command.CommandPath()}, given...)
	command.Flags().Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		words = append(words, fmt.Sprintf("--%s=%s", f.Name, value))
	})
	return strings.Join(words, " ")
}
