package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/strictyaml"
)

// holdFlags are those of hold.
type holdFlags struct {
	state  stateFlag
	tunnel tunnelFlags
	name   string
	until  time.Duration
	quiet  bool
}

func holdCommand() *cobra.Command {
	f := holdFlags{name: "hold"}
	command := &cobra.Command{
		Use:   "hold FROM TO",
		Short: "Keep a tunnel up between two agents, for other programs",
		Long: `Has two paired agents build a tunnel, gives its clear side the name tm-NAME-AGENT
under /run/netns at both ends, so that iperf3, ping or any other program can use
it, and prints how. Ctrl-C removes it; so do the end of --for and the greatest age
that the agents allow a session.

With a driver that has no clear side of its own (xfrm-policy, xfrm-transport,
existing, clear) the addresses are used from the hosts as they are.`,
		Example: `  tunnelmark hold dc-a dc-b --driver xfrm --suite aes-256-gcm
  tunnelmark hold dc-a dc-b --driver wireguard --name wg --for 30m`,
		Args: arguments(2, 2, "the names of two agents (see: tunnelmark agents)"),
		RunE: f.run,
	}
	f.state.add(command)
	f.tunnel.add(command)
	flags := command.Flags()
	flags.StringVar(&f.name, "name", f.name, "part of the namespaces' names")
	duration(flags, &f.until, "for", "", "for how long (default: until Ctrl-C)")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress on standard error")
	return command
}

func (f *holdFlags) run(command *cobra.Command, given []string) error {
	spec, err := f.tunnel.read()
	if err != nil {
		return err
	}
	if spec.Hold, err = strictyaml.ParseName(f.name); err != nil {
		return usageError{fmt.Errorf("--name: %w", err)}
	}
	if f.until < 0 {
		return usageError{errors.New("--for: want a time above zero such as 30m")}
	}
	ends, disconnect, err := dialEnds(&f.state, given[0], given[1])
	defer disconnect()
	if err != nil {
		return err
	}
	shown := newProgress(command, f.quiet)
	plan := controller.Plan{From: ends[0], To: ends[1], Spec: spec, Tell: shown.tell}
	return controller.Hold(command.Context(), plan, f.until, func(s *controller.Session) error {
		shown.done()
		return writeHeld(command.OutOrStdout(), s)
	})
}

// writeHeld says how the tunnel is used.
func writeHeld(w io.Writer, s *controller.Session) error {
	from, to := s.Ways[0], s.Ways[1]
	var text strings.Builder
	fmt.Fprintf(&text, "%s is up, inner MTU %d B\n", s.Spec.Driver, s.InnerMTU)
	for i, end := range []controller.End{s.From, s.To} {
		fmt.Fprintf(&text, "  %-12s %s%s\n", end.Name, s.Ways[i].Local, in(s.Ways[i].Namespace))
		for _, detail := range s.Built[i].Details {
			fmt.Fprintf(&text, "  %-12s %s: %s\n", "", detail.Name, detail.Value)
		}
	}
	fmt.Fprintf(&text, "for example, at %s:  %siperf3 -s -1\n", s.To.Name, enter(to.Namespace))
	fmt.Fprintf(&text, "        then at %s:  %siperf3 -c %s -B %s\n", s.From.Name, enter(from.Namespace), from.Remote, from.Local)
	fmt.Fprintln(&text, "Ctrl-C removes it")
	_, err := io.WriteString(w, text.String())
	return err
}

func in(namespace string) string {
	if namespace == "" {
		return ""
	}
	return " in network namespace " + namespace
}

func enter(namespace string) string {
	if namespace == "" {
		return ""
	}
	return "ip netns exec " + namespace + " "
}
