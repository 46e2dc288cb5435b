package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tunnelmark/cmd/internal/scenario"
	"tunnelmark/lab"
)

func labCommands() []*cobra.Command {
	return []*cobra.Command{
		group("lab", "Datacenters, links and appliances on this machine",
			labListCommand(), labRunCommand(), labUpCommand(), labDownCommand()),
		cleanupCommand(),
	}
}

func labListCommand() *cobra.Command {
	var list listFlag
	command := &cobra.Command{
		Use:     "list",
		Short:   "List the scenarios that are built in",
		Example: "  tunnelmark lab list",
		Args:    arguments(0, 0, "no argument"),
	}
	list.add(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		all, err := scenario.Shipped()
		if err != nil {
			return err
		}
		return list.write(command.OutOrStdout(), entries(all), func(w io.Writer) error { return printScenarios(w, all) })
	}
	return command
}

// entry is a scenario in JSON.
type entry struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

func entries(all []scenario.Scenario) []entry {
	listed := []entry{}
	for _, s := range all {
		listed = append(listed, entry{s.Name, s.About})
	}
	return listed
}

func printScenarios(w io.Writer, all []scenario.Scenario) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\n", s.Name, s.About)
	}
	return table.Flush()
}

// labRunFlags are those of lab run.
type labRunFlags struct {
	output     outputFlags
	agent      string
	noBaseline bool
	noLatency  bool
}

func labRunCommand() *cobra.Command {
	var f labRunFlags
	command := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Build a scenario, find its ceiling with real agents, remove everything",
		Long: `Builds the sites, gateways, links and devices of a scenario in network
namespaces, starts a real tunnelmark-agent in each site, searches the ceiling of
each tunnel between them, and removes everything again. SCENARIO is the name of a
built-in scenario or the path of a file.

Exits 3 where the result is outside of the truth that the scenario states.`,
		Example: `  tunnelmark lab run srx-350
  tunnelmark lab run srx-350 --html report.html
  tunnelmark lab run ./my-appliance.yaml --json`,
		Args:              arguments(1, 1, "one scenario"),
		ValidArgsFunction: completeScenario,
		RunE:              f.run,
	}
	f.output.add(command)
	command.Flags().BoolVar(&f.noBaseline, "no-baseline", false, "do not measure the path without the tunnel first (a climb never does)")
	command.Flags().BoolVar(&f.noLatency, "no-latency", false, "do not measure round trips idle and at 50, 80 and 95 % of the ceiling")
	command.Flags().StringVar(&f.agent, "agent", "", "path of tunnelmark-agent (default: beside tunnelmark, else in PATH)")
	return command
}

func (f *labRunFlags) run(command *cobra.Command, given []string) error {
	if err := f.output.check(); err != nil {
		return usageError{err}
	}
	s, err := loadScenario(given[0])
	if err != nil {
		return err
	}
	program, err := agentProgram(f.agent)
	if err != nil {
		return err
	}
	shown := newProgress(command, f.output.quiet)
	results, err := scenario.Run(command.Context(), s, scenario.Options{
		AgentProgram: program, CommandLine: commandLine(command, given),
		Tell: shown.tell, Progress: shown.trial,
		NoBaseline: f.noBaseline, NoLatency: f.noLatency,
	})
	shown.done()
	for i, result := range results {
		if written := f.output.write(command, i, result); written != nil {
			return errors.Join(err, written)
		}
	}
	if err != nil {
		return err
	}
	return judge(results)
}

func labUpCommand() *cobra.Command {
	var list listFlag
	command := &cobra.Command{
		Use:   "up SCENARIO",
		Short: "Build a scenario's sites, links and devices under names, and leave them",
		Long: `Builds the sites, links and devices of a scenario and gives their network
namespaces names, so that other programs can use them. No agent is started, so a
scenario with gateways, which "lab run" joins by strongSwan, is refused.
"tunnelmark lab down NAME" or "tunnelmark cleanup" removes them.`,
		Example: `  tunnelmark lab up srx-350
  ip netns exec tm-srx-350-a ping 192.0.2.4
  tunnelmark lab down srx-350`,
		Args:              arguments(1, 1, "one scenario"),
		ValidArgsFunction: completeScenario,
		RunE: func(command *cobra.Command, given []string) error {
			s, err := loadScenario(given[0])
			if err != nil {
				return err
			}
			names, err := lab.Up(command.Context(), s.Topology)
			if err != nil {
				return err
			}
			return list.write(command.OutOrStdout(), names, lines(names, ""))
		},
	}
	list.add(command)
	return command
}

func labDownCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "down NAME",
		Short:   "Remove what \"lab up\" has left",
		Example: "  tunnelmark lab down srx-350",
		Args:    arguments(1, 1, "the name of one scenario"),
		RunE: func(command *cobra.Command, given []string) error {
			return lab.Down(command.Context(), given[0])
		},
	}
}

func cleanupCommand() *cobra.Command {
	var list listFlag
	command := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove named labs, and what killed agents held, on this machine",
		Long: `Removes every namespace that "tunnelmark lab up" has named on this machine, and
the names of "tunnelmark hold" whose agent is gone; nothing else. What "tunnelmark
lab run" makes has no names and needs no cleaning: the kernel removes it when the
program ends, however it ends.`,
		Example: "  tunnelmark cleanup",
		Args:    arguments(0, 0, "no argument"),
		RunE: func(command *cobra.Command, _ []string) error {
			removed, err := lab.Cleanup(command.Context())
			all := append([]string{}, removed...) // An empty list, not null, in JSON.
			return errors.Join(err, list.write(command.OutOrStdout(), all, lines(all, "removed")))
		},
	}
	list.add(command)
	return command
}

// loadScenario turns what is wrong with a file into wrong usage.
func loadScenario(nameOrPath string) (scenario.Scenario, error) {
	s, err := scenario.Load(nameOrPath)
	if err != nil {
		return s, usageError{err}
	}
	return s, nil
}

func completeScenario(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := scenario.Shipped()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name+"\t"+s.About)
	}
	return names, cobra.ShellCompDirectiveDefault
}

// agentProgram finds tunnelmark-agent: as given, beside this program, in PATH.
func agentProgram(given string) (string, error) {
	if given != "" {
		if _, err := os.Stat(given); err != nil {
			return "", usageError{fmt.Errorf("--agent: %w", err)}
		}
		return filepath.Abs(given)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "tunnelmark-agent")
		if _, err := os.Stat(beside); !errors.Is(err, fs.ErrNotExist) {
			return beside, nil
		}
	}
	found, err := exec.LookPath("tunnelmark-agent")
	if err != nil {
		return "", fmt.Errorf("find tunnelmark-agent beside tunnelmark or in PATH: %w; build it with make, or give --agent PATH", err)
	}
	return found, nil
}
