// Package cli is the controller's command line: commands, flags, output and
// exit codes. Each command lives in a file of its name.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/manual"
)

// The exit codes are an interface: scripts rely on them.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitMissed  = 3
	exitInvalid = 4
)

// usageError is a mistake in what was typed or in a file that was given.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

var (
	// errMissed says that a result is outside of what was expected.
	errMissed = errors.New("the result is outside of what the scenario expects")
	// errStopped says that a condition ended a load before its time.
	errStopped = errors.New("a condition held")
	// errInvalid says that a result does not tell what it was asked for.
	errInvalid = errors.New("the result is not valid")
)

// Run runs one command and returns the exit code.
func Run(ctx context.Context, arguments []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(arguments)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteContextC(ctx)
	if err != nil {
		_, harmless := command.Annotations[buildsNothing]
		fmt.Fprintf(stderr, "tunnelmark: %s\n", printable(explain(ctx, err, harmless)))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errMissed), errors.Is(err, errStopped):
		return exitMissed
	case errors.Is(err, errInvalid):
		return exitInvalid
	}
	return exitFailed
}

// buildsNothing annotates a command of which an interruption leaves nothing to remove.
const buildsNothing = "builds-nothing"

// explain says that it was the user who stopped, where it was, and what else
// went wrong then. A harmless command builds nothing.
func explain(ctx context.Context, err error, harmless bool) string {
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err.Error()
	}
	rest := besidesCanceled(err)
	switch {
	case len(rest) == 0 && harmless:
		return "interrupted"
	case len(rest) == 0:
		return "interrupted; everything that was built has been removed"
	}
	return "interrupted; but " + errors.Join(rest...).Error()
}

// besidesCanceled takes joined errors apart and leaves those out that only say
// that the user stopped.
func besidesCanceled(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, one := range joined.Unwrap() {
			rest = append(rest, besidesCanceled(one)...)
		}
		return rest
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return []error{err}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tunnelmark",
		Short: "Measure what a site-to-site tunnel carries, and say what stops it",
		Long: `tunnelmark measures how much traffic a site-to-site tunnel can carry and says
what stops it. Two agents, one in each datacenter, build a tunnel of their own or
use the one that is there, push traffic through it, and remove what they built. Held
against the demand so far, the ceiling tells when the tunnel is full.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 threshold missed,
4 result not valid (for instance limited by the generator).`,
		Example: `  tunnelmark lab run srx-350           # the whole job on this machine, as root
  tunnelmark pair TOKEN-A TOKEN-B      # tokens: as printed by each tunnelmark-agent
  tunnelmark doctor dc-a dc-b          # what both hosts can do, and what is missing
  tunnelmark find dc-a dc-b            # ceiling and cause of a tunnel between them
  tunnelmark run dc-a dc-b -b 200M     # one fixed load
  tunnelmark plan today.json --demand tunnel.csv --demand-layer outer    # when it is full`,
		Version:       control.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(command *cobra.Command, arguments []string) error {
			if len(arguments) > 0 {
				return usageError{fmt.Errorf("unknown command %q (see: tunnelmark --help)", arguments[0])}
			}
			return nil
		},
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	root.SetVersionTemplate("tunnelmark {{.Version}}\n")
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see: %s --help)", err, command.CommandPath())}
	})
	root.AddCommand(findCommand(), runCommand(), pmtuCommand(), holdCommand(), pairCommand(), agentsCommand(), trustCommand())
	root.AddCommand(planCommand(), doctorCommand())
	root.AddCommand(manual.Command("1"))
	root.AddCommand(labCommands()...)
	return root
}

// arguments checks how many there are, in words.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(command *cobra.Command, given []string) error {
		if len(given) < least || len(given) > most {
			return usageError{fmt.Errorf("want %s, not %d arguments (see: %s --help)", what, len(given), command.CommandPath())}
		}
		return nil
	}
}

// group is a command that only has others below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{
		Use: use, Short: short,
		Args: func(command *cobra.Command, given []string) error {
			if len(given) > 0 {
				return usageError{fmt.Errorf("unknown command %q (see: %s --help)", given[0], command.CommandPath())}
			}
			return nil
		},
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(below...)
	return command
}

// stateFlag is where the controller keeps its identity and its pins.
type stateFlag struct{ dir string }

func (s *stateFlag) add(command *cobra.Command) {
	command.Flags().StringVar(&s.dir, "state", "", "directory of identity and paired agents (default: tunnelmark in the user's configuration directory)")
}

// open reads identity and pins, and makes them the first time.
func (s *stateFlag) open() (*control.Identity, *control.Trust, error) {
	dir := s.dir
	if dir == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return nil, nil, fmt.Errorf("find the configuration directory: %w; give --state DIRECTORY", err)
		}
		dir = filepath.Join(base, "tunnelmark")
	}
	identity, err := control.LoadOrCreate(dir)
	if err != nil {
		return nil, nil, err
	}
	trust, err := control.OpenTrust(dir)
	return identity, trust, err
}
