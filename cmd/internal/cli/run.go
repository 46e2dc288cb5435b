package cli

import (
	"time"

	"github.com/spf13/cobra"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/unit"
)

// The default load of run: iperf3's time, and a packet that fits any tunnel.
const (
	defaultPayload  = 1372
	defaultDuration = 10 * time.Second
	// headers in front of a UDP payload in an inner IPv4 packet, in bytes:
	// RFC 791, Section 3.1, and RFC 768.
	innerHeaders = 20 + 8
)

func runCommand() *cobra.Command {
	var state stateFlag
	var output outputFlags
	var tunnel tunnelFlags
	var rate layeredRate
	var payload int
	var reverse bool
	var seconds = defaultDuration
	command := &cobra.Command{
		Use:   "run FROM TO",
		Short: "Offer a fixed load through a tunnel between two agents",
		Long: `Has two paired agents build a tunnel, offers one load of UDP from FROM to TO, and
says what arrived. The words are iperf3's: -b is the rate of payload unless it
names another layer, as in 350M@outer or 350M@inner, and -l the length of a
payload in bytes.`,
		Example: `  tunnelmark run dc-a dc-b -b 200M -t 30
  tunnelmark run dc-a dc-b -b 350M@outer -l 1372 --json
  tunnelmark run dc-a dc-b -b 100M -R --driver clear`,
		Args: arguments(2, 2, "the names of two agents (see: tunnelmark agents)"),
	}
	state.add(command)
	output.add(command)
	tunnel.add(command)
	flags := command.Flags()
	rate = layeredRate{bitsPerSecond: 1e6, layer: unit.Goodput, text: "1M"} // As iperf3's for UDP.
	flags.VarP(&rate, "bitrate", "b", "rate of payload, or of the layer after @ (goodput, inner, outer)")
	duration(flags, &seconds, "time", "t", "for how long to send (default 10)")
	flags.IntVarP(&payload, "length", "l", defaultPayload, "length of each payload in bytes")
	flags.BoolVarP(&reverse, "reverse", "R", false, "from TO to FROM")
	flags.BoolP("udp", "u", true, "use UDP, which is what there is so far")
	command.RunE = func(command *cobra.Command, given []string) error {
		size := payload + innerHeaders
		if err := checkSizes([]int{size}); err != nil {
			return usageError{err}
		}
		inner, err := rate.inner(size, tunnel.read())
		if err != nil {
			return usageError{err}
		}
		ends, close, err := dialEnds(&state, given[0], given[1])
		defer close()
		if err != nil {
			return err
		}
		if reverse {
			ends[0], ends[1] = ends[1], ends[0]
		}
		shown := newProgress(command, output.quiet)
		result, err := controller.Run(command.Context(), controller.Plan{
			From: ends[0], To: ends[1], Spec: tunnel.read(), Size: size,
			Reproduce: report.Reproduce{CommandLine: commandLine(command, given)},
			Tell:      shown.tell,
		}, []analysis.Load{{InnerBitsPerSecond: inner, Duration: seconds}})
		shown.done()
		if err != nil {
			return err
		}
		if err := output.write(command, 0, result); err != nil {
			return err
		}
		if !result.Trials[0].Valid() {
			return errInvalid
		}
		return nil
	}
	return command
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

// inner converts the rate of packets of size bytes to the inner layer.
func (r *layeredRate) inner(size int, spec controller.Spec) (float64, error) {
	counted, err := controller.LayerLength(r.layer, size, innerHeaders, spec)
	if err != nil {
		return 0, err
	}
	return r.bitsPerSecond * float64(size) / float64(counted), nil
}
