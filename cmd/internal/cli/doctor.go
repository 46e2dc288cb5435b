package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/doctor"
)

// doctorFlags are those of doctor.
type doctorFlags struct {
	state stateFlag
	list  listFlag
	ports bool
	try   bool
}

func doctorCommand() *cobra.Command {
	var f doctorFlags
	command := &cobra.Command{
		Use:   "doctor [A [B]]",
		Short: "Say what hosts can do for tunnels, what is missing, and what to do",
		Long: `Has paired agents examine their own hosts: kernel, modules, privilege, crypto, CPU,
network interface, path, ports, sysctls, clock. Each finding comes with what it
costs and what to do. Two agents are compared as a pair, with what their link
could carry at most through each kind of tunnel.

Nothing is sent and nothing is changed. With --try each of the kernel's kinds of
tunnel is tried in a namespace that goes at once; for that the kernel may load
modules, and those of GRE and VTI leave idle interfaces (gre0, ip_vti0).

Without arguments all paired agents are asked; where none is paired, this machine
is examined itself.

With --ports it prints instead what firewalls must let in for the two.`,
		Example: `  tunnelmark doctor                    # this machine, as long as no agent is paired
  tunnelmark doctor dc-a dc-b
  tunnelmark doctor dc-a dc-b --try --json
  tunnelmark doctor dc-a dc-b --ports  # firewall rules for both ends`,
		Args: arguments(0, 2, "the names of at most two agents (see: tunnelmark agents)"),
		RunE: f.run,
	}
	f.state.add(command)
	f.list.add(command)
	command.Flags().BoolVar(&f.try, "try", false, "try the kernel's tunnels, too, for which it may load modules")
	command.Flags().BoolVar(&f.ports, "ports", false, "print the firewall rules that the pair needs")
	return command
}

func (f *doctorFlags) run(command *cobra.Command, names []string) error {
	identity, trust, err := f.state.open()
	if err != nil {
		return err
	}
	pins, err := patientPins(trust, names)
	if err != nil {
		return err
	}
	if f.ports && len(pins) != 2 {
		return usageError{fmt.Errorf("--ports: want the names of two agents, there are %d here (see: tunnelmark agents)", len(pins))}
	}
	patients, disconnect, err := dialPatients(identity, pins)
	defer disconnect()
	if err != nil {
		return err
	}
	var document doctor.Document
	switch {
	case len(patients) == 0:
		document, err = examineHere(f.try)
	case f.ports:
		ends := controller.Describe(command.Context(), patients)
		document = doctor.Document{Ends: ends, Rules: doctor.Rules(ends[0], ends[1])}
	default:
		document = controller.Diagnose(command.Context(), patients, f.try)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.write(command.OutOrStdout(), document), silentEnds(document))
}

// write puts the document out. What remote agents said cannot steer a terminal.
func (f *doctorFlags) write(w io.Writer, document doctor.Document) error {
	if f.list.json {
		return doctor.WriteJSON(w, document)
	}
	var page bytes.Buffer
	write := func() error { return doctor.WriteText(&page, document) }
	if f.ports {
		write = func() error { return doctor.WriteRules(&page, document.Rules) }
	}
	if err := write(); err != nil {
		return err
	}
	_, err := io.WriteString(w, printable(page.String()))
	return err
}

// patientPins are the named agents, or all that are paired.
func patientPins(trust *control.Trust, names []string) ([]control.Pin, error) {
	if len(names) == 0 {
		return pairedAgents(trust)
	}
	return namedAgents(trust, names...)
}

func dialPatients(identity *control.Identity, pins []control.Pin) (patients []controller.Patient, disconnect func(), err error) {
	ends, disconnect, err := dialAll(identity, pins)
	for i, end := range ends {
		patients = append(patients, controller.Patient{End: end, Address: pins[i].Address})
	}
	return patients, disconnect, err
}

// silentEnds joins why ends could not be asked.
func silentEnds(document doctor.Document) error {
	var failed error
	for _, end := range document.Ends {
		if end.Error != "" {
			failed = errors.Join(failed, errors.New(end.Error))
		}
	}
	return failed
}
