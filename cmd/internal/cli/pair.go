package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/controller"
)

// askTimeout bounds a question to one agent.
const askTimeout = 10 * time.Second

// maxTokens bounds what is read from standard input.
const maxTokens = 64

func pairCommand() *cobra.Command {
	var state stateFlag
	var list listFlag
	var name string
	command := &cobra.Command{
		Use:   "pair [TOKEN...]",
		Short: "Pair with agents, by the one-time tokens that they print",
		Long: `Pairs with each agent whose one-time token is given, and introduces those agents
to each other: only agents that were paired together (or told so by their
owners, with "tunnelmark-agent trust add") build tunnels to each other.

Without arguments the tokens are read from standard input, one a line, so that
they stand in no list of processes.`,
		Example: `  tunnelmark pair TOKEN-A TOKEN-B
  ssh dc-a tunnelmark-agent token | tunnelmark pair`,
		Args: arguments(0, maxTokens, "the tokens of one agent or more"),
	}
	state.add(command)
	list.add(command)
	command.Flags().StringVar(&name, "name", "", "what the agents call this controller (default: the host's name)")
	command.RunE = func(command *cobra.Command, given []string) error {
		tokens, err := readTokens(given, command.InOrStdin())
		if err != nil {
			return usageError{err}
		}
		if name == "" {
			if name, err = os.Hostname(); err != nil {
				return fmt.Errorf("name this controller: %w; give --name", err)
			}
		}
		identity, trust, err := state.open()
		if err != nil {
			return err
		}
		pins, err := pair(command.Context(), tokens, identity, trust, name)
		return errors.Join(err, list.write(command.OutOrStdout(), pins, func(w io.Writer) error { return printPaired(w, pins) }))
	}
	return command
}

// readTokens parses all before the first is used.
func readTokens(given []string, stdin io.Reader) ([]control.Token, error) {
	if len(given) == 0 {
		for lines := bufio.NewScanner(stdin); lines.Scan() && len(given) <= maxTokens; {
			if line := strings.TrimSpace(lines.Text()); line != "" {
				given = append(given, line)
			}
		}
	}
	if len(given) == 0 || len(given) > maxTokens {
		return nil, fmt.Errorf("want 1 to %d tokens; an agent prints one with: tunnelmark-agent token", maxTokens)
	}
	var tokens []control.Token
	for i, text := range given {
		token, err := control.ParseToken(text)
		if err != nil {
			return nil, fmt.Errorf("token %d: %w", i+1, err)
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

// pair redeems one token after another; where one fails, those before are paired.
func pair(ctx context.Context, tokens []control.Token, identity *control.Identity, trust *control.Trust, name string) ([]control.Pin, error) {
	pins := []control.Pin{}
	for i, token := range tokens {
		bounded, cancel := context.WithTimeout(ctx, askTimeout)
		pin, err := control.PairWith(bounded, token, identity, trust, name, others(i, tokens))
		cancel()
		if err != nil {
			return pins, control.Explain(token.Address, err)
		}
		pins = append(pins, pin)
	}
	return pins, nil
}

func printPaired(w io.Writer, pins []control.Pin) error {
	for _, pin := range pins {
		if _, err := fmt.Fprintf(w, "paired with %s at %s, identity %s\n", pin.Name, pin.Address, pin.Fingerprint); err != nil {
			return err
		}
	}
	return nil
}

// others are the agents of the other tokens, as peers of this one's.
func others(i int, tokens []control.Token) []control.Pin {
	var peers []control.Pin
	for j, token := range tokens {
		if j != i {
			peers = append(peers, control.Pin{
				Standing: control.Peer, Name: "peer-" + token.Fingerprint.Short(),
				Fingerprint: token.Fingerprint, Address: token.Address,
			})
		}
	}
	return peers
}

func agentsCommand() *cobra.Command {
	var state stateFlag
	var list listFlag
	command := &cobra.Command{
		Use:     "agents",
		Short:   "List the paired agents and how they are",
		Example: "  tunnelmark agents",
		Args:    arguments(0, 0, "no argument"),
	}
	state.add(command)
	list.add(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		identity, trust, err := state.open()
		if err != nil {
			return err
		}
		all, err := askAll(command.Context(), identity, trust)
		if err != nil {
			return err
		}
		err = list.write(command.OutOrStdout(), all, func(w io.Writer) error { return printAgents(w, all) })
		return errors.Join(err, unwell(all))
	}
	return command
}

// unwell joins what is wrong with those that are not well.
func unwell(all []agentState) error {
	var failed error
	for _, a := range all {
		if a.Error != "" {
			failed = errors.Join(failed, errors.New(a.Error))
		}
	}
	return failed
}

// agentState is one paired agent's answer.
type agentState struct {
	Name     string   `json:"name"`
	Address  string   `json:"address"`
	Error    string   `json:"error,omitempty"`
	Version  string   `json:"version,omitempty"`
	Kernel   string   `json:"kernel,omitempty"`
	Cores    uint32   `json:"cores,omitempty"`
	Drivers  []string `json:"drivers,omitempty"` // Those that its policy allows.
	Sessions uint32   `json:"sessions"`

	allDrivers bool
}

// askAll asks all at once, so that those that are silent cost one time-out.
func askAll(ctx context.Context, identity *control.Identity, trust *control.Trust) ([]agentState, error) {
	pins, err := pairedAgents(trust)
	if err != nil {
		return nil, err
	}
	all := make([]agentState, len(pins))
	var asking sync.WaitGroup
	for i, pin := range pins {
		asking.Go(func() { all[i] = ask(ctx, identity, pin) })
	}
	asking.Wait()
	return all, nil
}

func pairedAgents(trust *control.Trust) ([]control.Pin, error) {
	pins, err := trust.List()
	return slices.DeleteFunc(pins, func(pin control.Pin) bool { return pin.Standing != control.Agent }), err
}

func ask(ctx context.Context, identity *control.Identity, pin control.Pin) agentState {
	state := agentState{Name: pin.Name, Address: pin.Address}
	agent, disconnect, err := control.Dial(pin.Address, identity, pin.Fingerprint)
	if err != nil {
		state.Error = err.Error()
		return state
	}
	defer disconnect()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	d, err := agent.Describe(ctx, &controlv1.DescribeRequest{})
	if err != nil {
		state.Error = control.Explain(pin.Name, err).Error()
		return state
	}
	state.Version, state.Kernel, state.Cores, state.Sessions = d.GetVersion(), d.GetKernel(), d.GetCores(), d.GetSessions()
	for _, driver := range d.GetDrivers() {
		if driver.GetSupported() {
			state.Drivers = append(state.Drivers, driver.GetName())
		}
	}
	state.allDrivers = len(state.Drivers) == len(d.GetDrivers())
	return state
}

// drivers are those that the agent's policy allows. Whether its machine can build
// them is doctor's to find out.
func (a agentState) drivers() string {
	if a.allDrivers {
		return "all"
	}
	return cell(strings.Join(a.Drivers, ","))
}

func printAgents(w io.Writer, all []agentState) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "no agent is paired; pair with: tunnelmark pair TOKEN-A TOKEN-B")
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tADDRESS\tSTATE\tSESSIONS\tCORES\tALLOWS\tKERNEL\tVERSION")
	for _, a := range all {
		health := "well"
		if a.Error != "" {
			health = "not well"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n",
			a.Name, a.Address, health, a.Sessions, a.Cores, a.drivers(), cell(a.Kernel), cell(a.Version))
	}
	return table.Flush()
}

// cell makes one cell of a table out of what a remote agent said.
func cell(text string) string {
	return cmp.Or(printable(strings.Join(strings.Fields(text), " ")), "-")
}

func trustCommand() *cobra.Command {
	return group("trust", "Say which agents this controller trusts", trustListCommand(), trustRemoveCommand())
}

func trustListCommand() *cobra.Command {
	var state stateFlag
	var list listFlag
	command := &cobra.Command{Use: "list", Short: "List the agents that are paired", Example: "  tunnelmark trust list", Args: arguments(0, 0, "no argument")}
	state.add(command)
	list.add(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		identity, trust, err := state.open()
		if err != nil {
			return err
		}
		pins, err := trust.List()
		if err != nil {
			return err
		}
		all := append([]control.Pin{}, pins...) // An empty list, not null, in JSON.
		return list.write(command.OutOrStdout(), all, func(w io.Writer) error { return printPins(w, identity, all) })
	}
	return command
}

func printPins(w io.Writer, identity *control.Identity, pins []control.Pin) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "NAME\tADDRESS\tFINGERPRINT\n(this controller)\t\t%s\n", identity.Fingerprint())
	for _, pin := range pins {
		fmt.Fprintf(table, "%s\t%s\t%s\n", pin.Name, pin.Address, pin.Fingerprint)
	}
	return table.Flush()
}

func trustRemoveCommand() *cobra.Command {
	var state stateFlag
	command := &cobra.Command{Use: "remove NAME", Short: "Forget an agent", Example: "  tunnelmark trust remove dc-b", Args: arguments(1, 1, "the name of one agent")}
	state.add(command)
	command.RunE = func(_ *cobra.Command, given []string) error {
		_, trust, err := state.open()
		if err != nil {
			return err
		}
		return trust.Remove(control.Agent, given[0])
	}
	return command
}

// namedAgents are the paired agents of those names.
func namedAgents(trust *control.Trust, names ...string) ([]control.Pin, error) {
	if len(names) == 2 && names[0] == names[1] {
		return nil, usageError{fmt.Errorf("both ends are %q; want two different agents", names[0])}
	}
	var pins []control.Pin
	for _, name := range names {
		pin, err := trust.Named(control.Agent, name)
		if errors.Is(err, control.ErrNotTrusted) {
			return nil, usageError{fmt.Errorf("no agent %q is paired (see: tunnelmark agents)", name)}
		}
		if err != nil {
			return nil, err
		}
		pins = append(pins, pin)
	}
	return pins, nil
}

// dialEnds reaches two paired agents by name. disconnect must be called.
func dialEnds(state *stateFlag, from, to string) (ends []controller.End, disconnect func(), err error) {
	disconnect = func() {}
	identity, trust, err := state.open()
	if err != nil {
		return nil, disconnect, err
	}
	pins, err := namedAgents(trust, from, to)
	if err != nil {
		return nil, disconnect, err
	}
	return dialAll(identity, pins)
}

// dialAll reaches paired agents. disconnect must be called, also with an error.
func dialAll(identity *control.Identity, pins []control.Pin) (ends []controller.End, disconnect func(), err error) {
	var each []func()
	disconnect = func() {
		for _, one := range each {
			one()
		}
	}
	for _, pin := range pins {
		end, one, err := controller.Dial(pin, identity)
		if err != nil {
			return nil, disconnect, err
		}
		ends, each = append(ends, end), append(each, one)
	}
	return ends, disconnect, nil
}
