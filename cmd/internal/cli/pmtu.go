package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/analysis/search"
	"tunnelmark/cmd/internal/controller"
)

// pmtuFlags are those of pmtu.
type pmtuFlags struct {
	state       stateFlag
	output      outputFlags
	tunnel      tunnelFlags
	least, most int
	rates       bool
	manner      string
	options     search.Options
}

func pmtuCommand() *cobra.Command {
	var f pmtuFlags
	command := &cobra.Command{
		Use:   "pmtu FROM TO",
		Short: "Find the largest packets that pass between two agents, and what becomes of a SYN's MSS",
		Long: `Has two paired agents build a tunnel, and finds by sending packets of many sizes with
DF which of them pass, in both directions (RFC 8899). ICMP is not trusted: what it says
is told beside. Packets that vanish while nothing says that they are too big are a black
hole, named with the size at which it begins. A connection in each direction shows
whether a firewall clamps the MSS of its SYN.

A gateway that clears DF lets every size pass, and cuts what is too large in two. With
--rates the rate that passes is read at the sizes beyond which tunnels would do that: a
step there is fragmentation. That loads the path as find does, for 5 s at each size.

With --driver existing the tunnel is the one that is already there.`,
		Example: `  tunnelmark pmtu dc-a dc-b
  tunnelmark pmtu dc-a dc-b --driver existing --json
  tunnelmark pmtu dc-a dc-b --driver existing --rates --max-rate 300M
  tunnelmark pmtu dc-a dc-b --driver clear --most 9000`,
		Args: arguments(2, 2, "the names of two agents (see: tunnelmark agents)"),
		RunE: f.run,
	}
	f.state.add(command)
	f.output.add(command)
	f.tunnel.add(command)
	flags := command.Flags()
	flags.IntVar(&f.least, "least", 0, "smallest inner packet to try in bytes (default: what IP must carry, 576 or 1280)")
	flags.IntVar(&f.most, "most", 0, "largest inner packet to try in bytes (default: what the ends' interfaces take)")
	flags.BoolVar(&f.rates, "rates", false, "read the rate at several sizes, too, to see fragments that DF does not show")
	flags.StringVar(&f.manner, "manner", "", "with --rates: overload, or climb where production shares the path (default: climb for driver existing, else overload)")
	bitRate(flags, &f.options.MaxInnerBitsPerSecond, "max-rate", "with --rates: highest inner rate to offer (default: what the agents allow)")
	return command
}

func (f *pmtuFlags) check() error {
	for name, size := range map[string]int{"least": f.least, "most": f.most} {
		if size != 0 && (size < controller.LeastSize || size > controller.MostSize) {
			return fmt.Errorf("--%s: %d is not from %d to %d bytes", name, size, controller.LeastSize, controller.MostSize)
		}
	}
	if f.most != 0 && f.least > f.most {
		return fmt.Errorf("--least: %d is more than --most, %d", f.least, f.most)
	}
	return f.output.check()
}

func (f *pmtuFlags) run(command *cobra.Command, given []string) error {
	spec, err := f.tunnel.read()
	if err != nil {
		return err
	}
	f.options.Manner = analysis.Manner(f.manner)
	if f.options, err = controller.ChooseManner(spec, f.options); err != nil {
		return usageError{err}
	}
	if err := f.check(); err != nil {
		return usageError{err}
	}
	ends, disconnect, err := dialEnds(&f.state, given[0], given[1])
	defer disconnect()
	if err != nil {
		return err
	}
	shown := newProgress(command, f.output.quiet)
	result, err := controller.FindPathMTU(command.Context(), controller.PathMTUPlan{
		Plan: controller.Plan{
			From: ends[0], To: ends[1], Spec: spec,
			Reproduce: report.Reproduce{CommandLine: commandLine(command, given)}, Tell: shown.tell,
		},
		Least: f.least, Most: f.most, Rates: f.rates, Search: f.options,
	})
	if err != nil {
		return err
	}
	return f.output.write(command, 0, result)
}
