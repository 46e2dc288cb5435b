package main

import (
	"cmp"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/manual"
)

// usageError is a mistake in what was typed: exit code 2.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func isUsage(err error) bool {
	var usage usageError
	return errors.As(err, &usage)
}

func rootCommand(drivers driversOf) *cobra.Command {
	serve := &serveFlags{drivers: drivers}
	root := &cobra.Command{
		Use:   "tunnelmark-agent",
		Short: "Serve one end of the tunnels that tunnelmark measures",
		Long: `tunnelmark-agent builds its half of a tunnel, runs its half of each trial, and
removes everything, for controllers that are paired with it and together with
agents that it trusts. It needs root: it makes network namespaces.

The first time, it prints a one-time token: give that to "tunnelmark pair".`,
		Example: `  tunnelmark-agent --outer 203.0.113.10
  tunnelmark-agent --policy /etc/tunnelmark/agent.yaml --metrics 127.0.0.1:9550
  tunnelmark-agent token
  tunnelmark-agent trust list`,
		Version:       control.Version(),
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			return serve.run(command.Context(), command.InOrStdin(), command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	root.SetVersionTemplate("tunnelmark-agent {{.Version}}\n")
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see: %s --help)", err, command.CommandPath())}
	})
	serve.addFlags(root)
	root.AddCommand(tokenCommand(), identityCommand(), trustCommand(), manual.Command("8"))
	return root
}

func noArguments(command *cobra.Command, arguments []string) error {
	if len(arguments) > 0 {
		return usageError{fmt.Errorf("unknown argument %q (see: %s --help)", arguments[0], command.CommandPath())}
	}
	return nil
}

func exactly(n int, what string) cobra.PositionalArgs {
	return func(command *cobra.Command, arguments []string) error {
		if len(arguments) != n {
			return usageError{fmt.Errorf("want %s (see: %s --help)", what, command.CommandPath())}
		}
		return nil
	}
}

// stateFlag is where identity, pins and tokens are kept.
func stateFlag(command *cobra.Command) *string {
	return command.Flags().String("state", defaultState, "directory of the agent's identity, pins and tokens")
}

func tokenCommand() *cobra.Command {
	var address string
	var life time.Duration
	command := &cobra.Command{
		Use:     "token",
		Short:   "Print a one-time token for pairing, also while the agent runs",
		Example: "  tunnelmark-agent token --advertise dc-a.example.net:4600",
		Args:    noArguments,
	}
	state := stateFlag(command)
	command.Flags().StringVar(&address, "advertise", "", "address by which controllers reach this agent (default: this host's name and port 4600)")
	command.Flags().DurationVar(&life, "ttl", time.Hour, "for how long the token can be used")
	command.RunE = func(command *cobra.Command, _ []string) error {
		identity, err := control.LoadOrCreate(*state)
		if err != nil {
			return err
		}
		tokens, err := control.OpenTokens(*state, identity)
		if err != nil {
			return err
		}
		token, err := tokens.Issue(cmp.Or(address, hostName()+defaultListen), life)
		if err != nil {
			return err
		}
		fmt.Fprintln(command.OutOrStdout(), token.Text())
		return nil
	}
	return command
}

func identityCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "identity",
		Short: "Print the fingerprint by which others know this agent",
		Args:  noArguments,
	}
	state := stateFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		identity, err := control.LoadOrCreate(*state)
		if err != nil {
			return err
		}
		fmt.Fprintln(command.OutOrStdout(), identity.Fingerprint())
		return nil
	}
	return command
}

func trustCommand() *cobra.Command {
	trust := &cobra.Command{
		Use: "trust", Short: "Say whom this agent trusts", Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	trust.AddCommand(trustListCommand(), trustAddCommand(), trustRemoveCommand())
	return trust
}

func trustListCommand() *cobra.Command {
	command := &cobra.Command{Use: "list", Short: "List controllers and peers", Args: noArguments}
	state := stateFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		trust, err := control.OpenTrust(*state)
		if err != nil {
			return err
		}
		pins, err := trust.List()
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(command.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "STANDING\tNAME\tFINGERPRINT\tADDED")
		for _, pin := range pins {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", pin.Standing, pin.Name, pin.Fingerprint, pin.Added.Format(time.DateTime))
		}
		return table.Flush()
	}
	return command
}

func trustAddCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "add NAME FINGERPRINT",
		Short:   "Allow sessions with another agent (its: tunnelmark-agent identity)",
		Args:    exactly(2, "a name and a fingerprint"),
		Example: "  tunnelmark-agent trust add dc-b abcdefgh-...",
	}
	state := stateFlag(command)
	command.RunE = func(_ *cobra.Command, arguments []string) error {
		fingerprint, err := control.ParseFingerprint(arguments[1])
		if err != nil {
			return usageError{err}
		}
		trust, err := control.OpenTrust(*state)
		if err != nil {
			return err
		}
		return trust.Add(control.Pin{Standing: control.Peer, Name: arguments[0], Fingerprint: fingerprint, Added: time.Now()})
	}
	return command
}

func trustRemoveCommand() *cobra.Command {
	var controller bool
	command := &cobra.Command{
		Use:   "remove NAME",
		Short: "Stop trusting a peer, or with --controller a controller",
		Args:  exactly(1, "a name"),
	}
	state := stateFlag(command)
	command.Flags().BoolVar(&controller, "controller", false, "NAME is a controller's")
	command.RunE = func(_ *cobra.Command, arguments []string) error {
		trust, err := control.OpenTrust(*state)
		if err != nil {
			return err
		}
		standing := control.Peer
		if controller {
			standing = control.Controller
		}
		return trust.Remove(standing, arguments[0])
	}
	return command
}
