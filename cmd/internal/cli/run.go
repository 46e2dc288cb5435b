package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/cmd/internal/unit"
)

const (
	// defaultPayload makes a packet that fits any tunnel: 1400 bytes in IPv4.
	defaultPayload  = 1372
	defaultDuration = 10 * time.Second // As iperf3's.
	// leastPayload holds a probe's header, mostPayload fits into an IP packet;
	// in bytes.
	leastPayload = 36
	mostPayload  = 65535 - 28
)

// runFlags are those of run.
type runFlags struct {
	state   stateFlag
	output  outputFlags
	tunnel  tunnelFlags
	rate    layeredRate
	payload int
	time    time.Duration
	reverse bool
	rekey   time.Duration
	udp     bool
}

func runCommand() *cobra.Command {
	f := runFlags{
		rate: layeredRate{bitsPerSecond: 1e6, layer: unit.Goodput, text: "1M"}, // As iperf3's for UDP.
		time: defaultDuration,
	}
	command := &cobra.Command{
		Use:   "run FROM TO",
		Short: "Offer a fixed load through a tunnel between two agents",
		Long: `Has two paired agents build a tunnel, offers one load of UDP from FROM to TO, and
says what arrived. The words are iperf3's: -b is the rate of payload unless it
names another layer, as in 350M@outer or 350M@inner, and -l the length of a
payload in bytes.

Exits 4 where less was sent than asked for.`,
		Example: `  tunnelmark run dc-a dc-b -b 200M -t 30
  tunnelmark run dc-a dc-b -b 350M@outer -l 1372 --json
  tunnelmark run dc-a dc-b -b 100M -R --driver clear
  tunnelmark run dc-a dc-b -b 50M --driver strongswan --rekey-every 1s`,
		Args: arguments(2, 2, "the names of two agents (see: tunnelmark agents)"),
		RunE: f.run,
	}
	f.state.add(command)
	f.output.add(command)
	f.tunnel.add(command)
	flags := command.Flags()
	flags.VarP(&f.rate, "bitrate", "b", "rate of payload, or of the layer after @ (goodput, inner, outer, wire)")
	duration(flags, &f.time, "time", "t", "for how long to send (default 10s)")
	flags.IntVarP(&f.payload, "length", "l", defaultPayload, "length of each payload in bytes")
	flags.BoolVarP(&f.reverse, "reverse", "R", false, "from TO to FROM")
	duration(flags, &f.rekey, "rekey-every", "", "with --driver "+strings.Join(kind.Where(func(k kind.Kind) bool { return k.Rekeys }), " or ")+": replace the keys that often under the load")
	flags.BoolVarP(&f.udp, "udp", "u", true, "use UDP; TCP is not yet supported")
	return command
}

func (f *runFlags) check() error {
	switch {
	case !f.udp:
		return errors.New("--udp=false: TCP is not yet supported")
	case f.payload < leastPayload || f.payload > mostPayload:
		return fmt.Errorf("--length: %d is not from %d to %d bytes", f.payload, leastPayload, mostPayload)
	case f.time <= 0:
		return errors.New("--time: want a time above zero such as 10 or 500ms")
	}
	return f.output.check()
}

func (f *runFlags) run(command *cobra.Command, given []string) error {
	spec, err := f.tunnel.read()
	if err != nil {
		return err
	}
	load := controller.FixedLoad{
		BitsPerSecond: f.rate.bitsPerSecond, Layer: f.rate.layer, Payload: f.payload, Duration: f.time, RekeyEvery: f.rekey,
	}
	for _, err := range []error{f.check(), load.CheckRekey(spec)} {
		if err != nil {
			return usageError{err}
		}
	}
	ends, disconnect, err := dialEnds(&f.state, given[0], given[1])
	defer disconnect()
	if err != nil {
		return err
	}
	if f.reverse {
		ends[0], ends[1] = ends[1], ends[0]
	}
	shown := newProgress(command, f.output.quiet)
	result, err := controller.Run(command.Context(), controller.Plan{
		From: ends[0], To: ends[1], Spec: spec,
		Reproduce: report.Reproduce{CommandLine: commandLine(command, given)}, Tell: shown.tell,
	}, load)
	if err != nil {
		return err
	}
	if err := f.output.write(command, 0, result); err != nil {
		return err
	}
	return judgeLoad(result.Trials[0])
}

// judgeLoad refuses a trial that offered less than was asked for.
func judgeLoad(trial analysis.Trial) error {
	if trial.Valid() {
		return nil
	}
	why := "the sender could not offer more"
	if trial.Interrupted() {
		why = fmt.Sprintf("the host kept the sender off the CPU for %v", trial.Skipped.Round(time.Millisecond))
	}
	return fmt.Errorf("%w: of %s inner only %s was sent; %s", errInvalid,
		unit.FormatBitRate(trial.Load.InnerBitsPerSecond), unit.FormatBitRate(trial.InnerSentBitsPerSecond()), why)
}

// layeredRate is a flag such as 350M@outer.
type layeredRate struct {
	bitsPerSecond float64
	layer         unit.Layer
	text          string
}

func (r *layeredRate) Set(text string) (err error) {
	r.bitsPerSecond, r.layer, err = unit.LayeredBitRate(text, unit.Goodput)
	r.text = text
	return err
}
func (r *layeredRate) String() string { return r.text }
func (r *layeredRate) Type() string   { return "rate" }
