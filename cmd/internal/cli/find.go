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
	"tunnelmark/cmd/internal/kind"
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
func bitRate(flags *pflag.FlagSet, into *float64, name, usage string) {
	flags.Var(&quantity[float64]{into, unit.BitRate, "rate", ""}, name, usage)
}

func ratio(flags *pflag.FlagSet, into *float64, name, usage string) {
	flags.Var(&quantity[float64]{into, unit.Ratio, "share", ""}, name, usage)
}

func duration(flags *pflag.FlagSet, into *time.Duration, name, shorthand, usage string) {
	flags.VarP(&quantity[time.Duration]{into, unit.Duration, "time", ""}, name, shorthand, usage)
}

// findFlags are those of find.
type findFlags struct {
	state      stateFlag
	output     outputFlags
	tunnel     tunnelFlags
	options    search.Options
	sizes      []int
	manner     string
	watch      watchFlags
	noBaseline bool
	noLatency  bool
	dryRun     bool
	gateway    string
}

func findCommand() *cobra.Command {
	var f findFlags
	command := &cobra.Command{
		Use:   "find FROM TO",
		Short: "Find the ceiling of a tunnel between two agents, and its cause",
		Long: `Has two paired agents build a tunnel, searches the highest rate that flows from
FROM to TO within the loss goal, says what limits it, and removes the tunnel.

The search overloads the path for some seconds. Where production shares it, use
--manner climb: it comes from below, offers no more than a tenth above what was
clean, and stops after --overload-budget seconds of loss. What it finds is what was
available at that time, a ceiling only where --idle asserts that nothing else uses
the tunnel. With --driver existing, which may carry production, the search climbs.

--dry-run says what the search would do to the path at most, and sends nothing.

Beside production, --stop-if "rtt>30ms" or "loss>1%" ends the search within 200 ms of
the signal, measured by a probe of its own beside every load.

Exits 4 where the generator, not the path, was the limit, and where no load could
be held for long enough.`,
		Example: `  tunnelmark find dc-a dc-b
  tunnelmark find dc-a dc-b --suite chacha20-poly1305 --size 512,1400 --html report.html
  tunnelmark find dc-a dc-b --manner climb --max-rate 500M --json
  tunnelmark find dc-a dc-b --driver existing --max-rate 300M --dry-run
  tunnelmark find dc-a dc-b --driver existing --gateway-counter 'ssh gw cat /sys/class/net/st0/statistics/tx_packets'`,
		Args: arguments(2, 2, "the names of two agents (see: tunnelmark agents)"),
		RunE: f.run,
	}
	f.state.add(command)
	f.output.add(command)
	f.tunnel.add(command)
	flags := command.Flags()
	f.watch.add(flags)
	flags.BoolVar(&f.noLatency, "no-latency", false, "do not measure round trips idle and at 50, 80 and 95 % of the ceiling")
	flags.IntSliceVar(&f.sizes, "size", []int{1400}, "inner IP packet lengths in bytes, one search each")
	flags.StringVar(&f.manner, "manner", "", "overload, or climb where production shares the path (default: climb for driver existing, else overload)")
	duration(flags, &f.options.Lossy, overloadBudget, "", "for how long a climb may lose more than the loss goal in all (default 2s)")
	flags.BoolVar(&f.options.Idle, "idle", false, "assert that nothing else uses the tunnel: what a climb finds is then a ceiling")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say what the search would send and lose at most")
	ratio(flags, &f.options.LossGoal, "loss-goal", "loss that a load may have (default 0.1%)")
	ratio(flags, &f.options.Width, "width", "how narrow the result shall be (default 0.5%, of a climb 2%)")
	bitRate(flags, &f.options.MinInnerBitsPerSecond, "min-rate", "least inner rate to offer, with which a climb begins (default 1M)")
	duration(flags, &f.options.Traffic, "budget", "", "for how long to send in all (default 25s, in a climb 40s)")
	flags.StringVar(&f.gateway, "gateway-counter", "", "with --driver existing: command that prints how many packets the gateway before FROM has encrypted; run before and after, it proves the path")
	flags.BoolVar(&f.noBaseline, "no-baseline", false, "do not measure the path without the tunnel first (a climb never does)")
	complete(command, "manner", func() []string { return kind.Words([]analysis.Manner{analysis.Overload, analysis.Climb}) })
	return command
}

func (f *findFlags) run(command *cobra.Command, given []string) error {
	spec, err := f.tunnel.read()
	if err != nil {
		return err
	}
	watch, err := f.watch.read(command.Flags(), spec, 0)
	if err != nil {
		return usageError{err}
	}
	f.options.Manner, f.options.MaxInnerBitsPerSecond = analysis.Manner(f.manner), f.watch.maxRate
	if f.options, err = controller.ChooseManner(spec, f.options); err != nil {
		return usageError{err}
	}
	for _, checked := range []error{f.checkGateway(spec), f.options.Check(), f.checkBudget(command), checkSizes(f.sizes), f.output.check()} {
		if checked != nil {
			return usageError{checked}
		}
	}
	plan := controller.FindPlan{
		Plan:  controller.Plan{Spec: spec, Reproduce: report.Reproduce{CommandLine: commandLine(command, given)}},
		Watch: watch, Latency: !f.noLatency,
		Search: f.options, Baseline: !f.noBaseline && spec.Builds(), Gateway: gatewayCounter(f.gateway),
	}
	if f.dryRun {
		return f.forecast(command, given, plan)
	}
	return f.measure(command, given, plan)
}

// measure searches with one size after the other.
func (f *findFlags) measure(command *cobra.Command, given []string, plan controller.FindPlan) error {
	ends, disconnect, err := dialEnds(&f.state, given[0], given[1])
	defer disconnect()
	if err != nil {
		return err
	}
	shown := newProgress(command, f.output.quiet)
	plan.From, plan.To, plan.Tell, plan.Search.Progress = ends[0], ends[1], shown.tell, shown.trial
	var results []report.Result
	for i, size := range f.sizes {
		plan.Size = size
		result, err := controller.Find(command.Context(), plan)
		shown.done()
		if err != nil {
			return err
		}
		if err := f.output.write(command, i, result); err != nil {
			return err
		}
		results = append(results, result)
	}
	return judge(results)
}

const overloadBudget = "overload-budget"

// checkBudget refuses a budget of loss that would not be kept: none at all, which
// would mean the default, and that of a search which may overload.
func (f *findFlags) checkBudget(command *cobra.Command) error {
	switch {
	case !command.Flags().Changed(overloadBudget):
		return nil
	case f.options.Manner != analysis.Climb:
		return fmt.Errorf("--%s: is for --manner climb; a search by overload loses as it needs", overloadBudget)
	case f.options.Lossy == 0:
		return fmt.Errorf("--%s: a search without any loss cannot find a limit; give --max-rate as the highest rate instead", overloadBudget)
	}
	return nil
}

func checkSizes(sizes []int) error {
	if len(sizes) == 0 {
		return errors.New("--size: want one length or more")
	}
	for _, size := range sizes {
		if size < controller.LeastSize || size > controller.MostSize {
			return fmt.Errorf("--size: %d is not from %d to %d bytes", size, controller.LeastSize, controller.MostSize)
		}
	}
	return nil
}

// commandLine is what was typed, in a form that a shell takes: arguments, and
// the flags that were set.
func commandLine(command *cobra.Command, given []string) string {
	words := append(strings.Fields(command.CommandPath()), given...)
	command.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
			if f.Value.Type() != "stringArray" { // Those take one value at a time.
				values = []string{strings.Join(values, ",")}
			}
		}
		for _, value := range values {
			words = append(words, fmt.Sprintf("--%s=%s", f.Name, value))
		}
	})
	for i, word := range words {
		words[i] = quoted(word)
	}
	return strings.Join(words, " ")
}

// quoted protects what a shell would take apart.
func quoted(word string) string {
	const harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:,./@%"
	if word != "" && strings.Trim(word, harmless) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
