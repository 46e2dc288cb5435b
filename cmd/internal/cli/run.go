package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/iperf"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/cmd/internal/unit"
	"tunnelmark/probe"
	"tunnelmark/probe/latency"
)

const (
	// defaultPayload makes a packet that fits any tunnel: 1400 bytes in IPv4.
	defaultPayload  = 1372
	defaultDuration = 10 * time.Second // As iperf3's,
	defaultInterval = time.Second      // and this, too.
	// leastPayload holds a probe's header, mostPayload fits into an IP packet;
	// in bytes.
	leastPayload = 16
	mostPayload  = 65535 - 28
	// besideEvery is how often a round trip is measured beside a load: 20 packets a
	// second of 128 bytes. guardEvery is that where it is to stop the load.
	besideEvery = 50 * time.Millisecond
	guardEvery  = 10 * time.Millisecond
)

// runFlags are those of run. Where iperf3 has a word for something, it is iperf3's.
type runFlags struct {
	state  stateFlag
	output outputFlags
	tunnel tunnelFlags
	watch  watchFlags

	udp, reverse, both bool
	stream             bool
	time, interval     time.Duration
	parallel           int
	rate, total        layeredRate
	bottleneck         float64
	lengths            []string
	dscp               uint8
	rekey              time.Duration

	udpOnly udpFlags
	tcpOnly tcpFlags
}

// udpFlags are for loads of UDP.
type udpFlags struct {
	imix     string
	seed     uint64
	burst    int
	newFlows float64
	lanes    int
}

// tcpFlags are for loads of TCP.
type tcpFlags struct {
	congestion       string
	mss              int
	window           string
	zeroCopy, verify bool
}

func runCommand() *cobra.Command {
	f := runFlags{time: defaultDuration, interval: defaultInterval}
	command := &cobra.Command{
		Use:   "run FROM TO",
		Short: "Offer a fixed load through a tunnel between two agents",
		Long: `Has two paired agents build a tunnel, offers one load from FROM to TO, and says what
arrived. The words are iperf3's: TCP as fast as it goes, or with -u UDP at -b, which
is the rate of each flow's payload; --total is that of all together. A rate may name
another layer, as in 350M@outer or 350M@inner. -l is the length of a payload of UDP in
bytes, or several in turn, and of what TCP writes at a time.

Beside the load a latency probe of its own sends 20 small packets a second. On a link
that carries production, --stop-if "rtt>30ms" and --stop-if "loss>1%" have it stop the
load within 200 ms, and --max-rate bounds what is sent.

Exits 3 where a condition stopped the load, 4 where less UDP was sent than asked for.`,
		Example: `  tunnelmark run dc-a dc-b -P 4 -C cubic
  tunnelmark run dc-a dc-b -u -b 200M -t 30
  tunnelmark run dc-a dc-b -u -b 350M@outer -l 1372 --json
  tunnelmark run dc-a dc-b -u --total 100M -P 1000 --imix aaaff --bidir
  tunnelmark run dc-a dc-b -b 50M -R --stop-if 'rtt>30ms' --stop-if 'loss>1%' --max-rate 100M
  tunnelmark run dc-a dc-b -u -b 50M --driver strongswan --rekey-every 1s`,
		Args: arguments(2, 2, "the names of two agents (see: tunnelmark agents)"),
		RunE: f.run,
	}
	f.state.add(command)
	f.output.add(command)
	f.tunnel.add(command)
	flags := command.Flags()
	f.watch.add(flags)
	flags.BoolVarP(&f.udp, "udp", "u", false, "use UDP instead of TCP")
	flags.VarP(&f.rate, "bitrate", "b", "rate of each flow's payload, or of the layer after @ (goodput, inner, outer, wire); default 1M for UDP, and for TCP 0, which is no limit")
	flags.Var(&f.total, "total", "rate of all flows together, instead of --bitrate")
	duration(flags, &f.time, "time", "t", "for how long to send (default 10s)")
	flags.IntVarP(&f.parallel, "parallel", "P", 1, "how many flows: five-tuples of UDP (up to 10000) or connections of TCP (up to 128)")
	flags.IntVar(&f.parallel, "flows", 1, "another word for --parallel")
	flags.StringSliceVarP(&f.lengths, "length", "l", nil, "length of each payload of UDP in bytes, or several in turn (default 1372), or of what TCP writes at a time (default 1M); K and M are powers of 1024")
	flags.BoolVarP(&f.reverse, "reverse", "R", false, "from TO to FROM")
	flags.BoolVar(&f.both, "bidir", false, "in both directions at once")
	duration(flags, &f.interval, "interval", "i", "how often to tell how the load stands, 0 for never (default 1s)")
	flags.BoolVar(&f.stream, "json-stream", false, "write one JSON object a line: start, each interval, end")
	flags.Uint8Var(&f.dscp, "dscp", 0, "code point of every packet (RFC 2474), 0 to 63")
	f.udpOnly.add(flags)
	f.tcpOnly.add(flags)
	bitRate(flags, &f.bottleneck, "bottleneck", "inner rate that the path is known to carry, as find says: for the transfer time ratio (RFC 6349)")
	duration(flags, &f.rekey, "rekey-every", "", "with --driver "+strings.Join(kind.Rekeyed(), " or ")+": replace the keys that often under the load")
	return command
}

func (u *udpFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&u.imix, "imix", "", "with -u: mix of packets by the letters of RFC 6985, such as aaaff")
	flags.Uint64Var(&u.seed, "seed", 0, "with -u: draws the order of several lengths (default: of --length as they are given, of --imix a new one, which the result tells)")
	flags.IntVar(&u.burst, "burst", 0, "with -u: how many packets may leave back to back (default: what no queue should mind at that rate)")
	flags.Float64Var(&u.newFlows, "new-flows", 0, "with -u: how many flows a second end, and others begin from new ports")
	flags.IntVar(&u.lanes, "lanes", 1, "with -u: over how many threads at each end the flows are shared")
}

func (t *tcpFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&t.congestion, "congestion", "C", "", "congestion control of TCP, such as cubic (default: the sender's own)")
	flags.IntVarP(&t.mss, "set-mss", "M", 0, "maximum segment size of TCP in bytes")
	flags.StringVarP(&t.window, "window", "w", "", "size of TCP's socket buffers, such as 2M, a power of 1024 (default: the kernel tunes them)")
	flags.BoolVarP(&t.zeroCopy, "zerocopy", "Z", false, "TCP sends without copying")
	flags.BoolVar(&t.verify, "verify", false, "the receiver of TCP checks every byte")
}

// watchFlags say how a link that carries production is looked after.
type watchFlags struct {
	every   quantity[time.Duration]
	stopIf  []string
	maxRate float64
}

func (w *watchFlags) add(flags *pflag.FlagSet) {
	w.every = quantity[time.Duration]{new(time.Duration), unit.Duration, "time", ""}
	flags.Var(&w.every, "latency-every", "how often to measure a round trip beside the load, 0 for never (default 50ms, with --stop-if 10ms)")
	flags.StringArrayVar(&w.stopIf, "stop-if", nil, "condition that ends the load within 200 ms: rtt>30ms or loss>1%; may be given several times")
	bitRate(flags, &w.maxRate, "max-rate", "highest inner rate to offer (default: what the agents allow)")
}

// read is what was asked for, with otherwise as the probe's interval.
func (w *watchFlags) read(flags *pflag.FlagSet, spec controller.Spec, otherwise time.Duration) (controller.Watch, error) {
	watch := controller.Watch{Every: *w.every.into, StopIf: w.stopIf}
	k, err := kind.Find(spec.Driver)
	if err != nil {
		return watch, err
	}
	for _, condition := range w.stopIf {
		if _, err := latency.ParseCondition(condition); err != nil {
			return watch, fmt.Errorf("--stop-if: %w", err)
		}
	}
	given := flags.Changed("latency-every")
	switch {
	case k.OneFlow && (len(w.stopIf) > 0 || given && watch.Every > 0):
		return watch, fmt.Errorf("--stop-if, --latency-every: driver %s is for the load's one flow, and a probe would go past it", k.Name)
	case k.OneFlow:
		return watch, nil
	case !given && len(w.stopIf) > 0:
		watch.Every = guardEvery
	case !given:
		watch.Every = otherwise
	case watch.Every == 0 && len(w.stopIf) > 0:
		return watch, errors.New("--stop-if: needs a latency probe; leave --latency-every out, or give it a time")
	case watch.Every > latency.MostGuardEvery && len(w.stopIf) > 0:
		return watch, fmt.Errorf("--stop-if: needs a round trip every %v or more often, not every %v", latency.MostGuardEvery, watch.Every)
	case watch.Every != 0 && (watch.Every < latency.LeastEvery || watch.Every > latency.MostEvery):
		return watch, fmt.Errorf("--latency-every: %v is not from %v to %v", watch.Every, latency.LeastEvery, latency.MostEvery)
	}
	return watch, nil
}

func (f *runFlags) run(command *cobra.Command, given []string) error {
	spec, err := f.tunnel.read()
	if err != nil {
		return err
	}
	load, err := f.load(command.Flags(), spec)
	for _, err := range []error{err, f.output.check(), load.CheckRekey(spec)} {
		if err != nil {
			return usageError{err}
		}
	}
	ends, disconnect, err := dialEnds(&f.state, given[0], given[1])
	defer disconnect()
	if err != nil {
		return err
	}
	shown := newProgress(command, f.output.quiet)
	plan := controller.Plan{
		From: ends[0], To: ends[1], Spec: spec,
		Reproduce: report.Reproduce{CommandLine: commandLine(command, given)}, Tell: shown.tell,
	}
	writer := f.writer(command.OutOrStdout())
	result, err := controller.Run(command.Context(), plan, load, f.interval, observer{writer, load})
	if err != nil {
		return errors.Join(err, writer.Fail(err))
	}
	if err := writer.End(result); err != nil {
		return err
	}
	if err := f.output.writeHTML(command, 0, result); err != nil {
		return err
	}
	return judgeLoad(result)
}

// load is what was asked for.
func (f *runFlags) load(flags *pflag.FlagSet, spec controller.Spec) (load controller.FixedLoad, err error) {
	load = controller.FixedLoad{
		Duration: f.time, DSCP: f.dscp, Reverse: f.reverse, Both: f.both, RekeyEvery: f.rekey,
		MaxInnerBitsPerSecond: f.watch.maxRate, BottleneckInnerBitsPerSecond: f.bottleneck,
	}
	if load.Watch, err = f.watch.read(flags, spec, besideEvery); err != nil {
		return load, err
	}
	for _, pair := range [][2]string{{"bitrate", "total"}, {"parallel", "flows"}, {"reverse", "bidir"}, {"json", "json-stream"}, {"length", "imix"}} {
		if flags.Changed(pair[0]) && flags.Changed(pair[1]) {
			return load, fmt.Errorf("--%s, --%s: only one of them can be given", pair[0], pair[1])
		}
	}
	if err := f.check(); err != nil {
		return load, err
	}
	if f.udp {
		load.UDP, err = f.datagrams(flags)
	} else {
		load.TCP, err = f.connections(flags)
	}
	return load, err
}

func (f *runFlags) check() error {
	switch {
	case f.time <= 0:
		return errors.New("--time: want a time above zero such as 10 or 500ms")
	case f.interval != 0 && f.interval < leastInterval:
		return fmt.Errorf("--interval: %v is less than %v", f.interval, leastInterval)
	case f.dscp > 63:
		return fmt.Errorf("--dscp: %d is not from 0 to 63", f.dscp)
	}
	return nil
}

// leastInterval is how often an agent tells how a load stands at most.
const leastInterval = 100 * time.Millisecond

// datagrams is a load of UDP.
func (f *runFlags) datagrams(flags *pflag.FlagSet) (*controller.UDPLoad, error) {
	if err := foreign(flags, "-u", "congestion", "set-mss", "window", "zerocopy", "verify", "bottleneck"); err != nil {
		return nil, err
	}
	payloads, err := f.sizes()
	if err != nil {
		return nil, err
	}
	l := &controller.UDPLoad{
		BitsPerSecond: 1e6, Layer: unit.Goodput, // As iperf3's for UDP.
		Payloads: payloads, Genome: f.udpOnly.imix, Seed: f.udpOnly.seed, Flows: f.parallel,
		NewFlowsPerSecond: f.udpOnly.newFlows, Lanes: f.udpOnly.lanes, Burst: f.udpOnly.burst,
	}
	if len(l.Payloads) == 0 {
		l.Payloads = []int{defaultPayload}
	}
	if given := f.rate; given.text != "" {
		l.BitsPerSecond, l.Layer = given.bitsPerSecond, given.layer
	}
	if given := f.total; given.text != "" {
		l.BitsPerSecond, l.Layer, l.Total = given.bitsPerSecond, given.layer, true
	}
	for name, given := range f.rates() {
		if given.unlimited() {
			return nil, fmt.Errorf("--%s: 0 sets no limit, which only TCP knows: give UDP a rate, or let find search for one", name)
		}
	}
	return l, f.checkDatagrams(l)
}

// rates are those that were given, or can be.
func (f *runFlags) rates() map[string]layeredRate {
	return map[string]layeredRate{"bitrate": f.rate, "total": f.total}
}

// sizes are the lengths that were given, in bytes.
func (f *runFlags) sizes() (sizes []int, err error) {
	for _, text := range f.lengths {
		size, err := unit.BinaryBytes(text)
		if err != nil {
			return nil, fmt.Errorf("--length: %w", err)
		}
		sizes = append(sizes, size)
	}
	return sizes, nil
}

func (f *runFlags) checkDatagrams(l *controller.UDPLoad) error {
	outside := func(length int) bool { return length < leastPayload || length > mostPayload }
	switch at := slices.IndexFunc(l.Payloads, outside); {
	case at >= 0:
		return fmt.Errorf("--length: %d is not from %d to %d bytes", l.Payloads[at], leastPayload, mostPayload)
	case len(l.Payloads) > probe.MaxSizes:
		return fmt.Errorf("--length: %d lengths, allowed are up to %d", len(l.Payloads), probe.MaxSizes)
	case l.Flows < 1 || l.Flows > probe.MaxFlows:
		return fmt.Errorf("--parallel: %d is not from 1 to %d", l.Flows, probe.MaxFlows)
	case l.Lanes < 1 || l.Lanes > probe.MaxLanes:
		return fmt.Errorf("--lanes: %d is not from 1 to %d", l.Lanes, probe.MaxLanes)
	case l.Burst < 0:
		return fmt.Errorf("--burst: %d is less than 0", l.Burst)
	case !(l.NewFlowsPerSecond >= 0 && l.NewFlowsPerSecond <= probe.MaxFlows):
		return fmt.Errorf("--new-flows: %g is not from 0 to %d", l.NewFlowsPerSecond, probe.MaxFlows)
	case l.NewFlowsPerSecond > 0 && l.Flows < 2*min(l.Lanes, l.Flows):
		return fmt.Errorf("--new-flows: the first flow of each lane stays, so of %d lanes there must be %d flows or more", l.Lanes, 2*l.Lanes)
	case l.Genome == "":
		return nil
	}
	const smallestHeaders, anyMTU = 28, 1500 // The tunnel's own are known later.
	_, err := probe.ParseGenome(l.Genome, l.Seed, smallestHeaders+leastPayload, anyMTU)
	return err
}

// mostConnections bounds the flows of TCP.
const mostConnections = 128

// connections is a load of TCP.
func (f *runFlags) connections(flags *pflag.FlagSet) (*analysis.TCPLoad, error) {
	if err := foreign(flags, "TCP (without -u)", "imix", "seed", "burst", "new-flows", "lanes"); err != nil {
		return nil, err
	}
	l := &analysis.TCPLoad{
		Flows: f.parallel, Congestion: f.tcpOnly.congestion, MSS: f.tcpOnly.mss,
		ZeroCopy: f.tcpOnly.zeroCopy, Verify: f.tcpOnly.verify,
	}
	for name, given := range f.rates() {
		if given.text != "" && given.layer != unit.Goodput {
			return nil, fmt.Errorf("--%s: %s: of TCP only the rate of its payload can be set", name, given.text)
		}
	}
	l.GoodputBitsPerSecond = f.rate.bitsPerSecond + f.total.bitsPerSecond/float64(max(1, f.parallel))
	writes, err := f.sizes()
	if err != nil {
		return nil, err
	}
	if len(writes) > 0 {
		l.Write = writes[0]
	}
	if f.tcpOnly.window != "" {
		window, err := unit.BinaryBytes(f.tcpOnly.window)
		if err != nil {
			return nil, fmt.Errorf("--window: %w", err)
		}
		l.Window = window
	}
	return l, f.checkConnections(l)
}

func (f *runFlags) checkConnections(l *analysis.TCPLoad) error {
	switch {
	case l.Flows < 1 || l.Flows > mostConnections:
		return fmt.Errorf("--parallel: %d is not from 1 to %d connections", l.Flows, mostConnections)
	case len(f.lengths) > 1:
		return errors.New("--length: TCP writes one length at a time")
	case len(f.lengths) == 1 && (l.Write < 1 || l.Write > mostWrite):
		return fmt.Errorf("--length: %d is not from 1 to %d bytes", l.Write, mostWrite)
	case l.MSS != 0 && (l.MSS < leastMSS || l.MSS > mostMSS):
		return fmt.Errorf("--set-mss: %d is not from %d to %d bytes", l.MSS, leastMSS, mostMSS)
	case l.Window < 0 || l.Window > mostWindow:
		return fmt.Errorf("--window: %d is not up to %d bytes", l.Window, mostWindow)
	case l.Window > mostWindows/l.Flows:
		return fmt.Errorf("--window: %d bytes of %d connections are more than %d in all", l.Window, l.Flows, mostWindows)
	}
	return nil
}

// Limits of TCP, in bytes: MSS as the kernel takes it (tcp(7)); the windows, of one
// connection and of all, are what an agent gives of its host's memory.
const (
	mostWrite = 16 << 20
	leastMSS  = 88
	mostMSS   = 32767

	mostWindow  = 128 << 20
	mostWindows = 1 << 30
)

// foreign refuses flags that are not for this kind of load.
func foreign(flags *pflag.FlagSet, with string, names ...string) error {
	for _, name := range names {
		if flags.Changed(name) {
			return fmt.Errorf("--%s: has no meaning with %s", name, with)
		}
	}
	return nil
}

// writer puts out what a load does, as it was asked for.
func (f *runFlags) writer(w io.Writer) iperf.Writer {
	switch {
	case f.stream:
		return iperf.NewStream(w)
	case f.output.json:
		return iperf.NewJSON(w)
	}
	return iperf.NewText(w, report.TextOptions{Color: colored(w)})
}

// observer tells a writer how a load goes.
type observer struct {
	iperf.Writer
	load controller.FixedLoad
}

// Begin implements controller.Observer.
func (o observer) Begin(s *controller.Session) error {
	setup := iperf.Setup{
		Protocol: iperf.TCP, From: s.From.Name, To: s.To.Name,
		Local: netip.AddrPortFrom(s.Ways[0].Local, 0), Remote: netip.AddrPortFrom(s.Ways[1].Local, 0),
		Duration: o.load.Duration, Reverse: o.load.Reverse, Bidirectional: o.load.Both, DSCP: o.load.DSCP,
		Started: time.Now(), ToolVersion: control.Version(), Headers: s.HeaderBytes(),
	}
	if tcp := o.load.TCP; tcp != nil {
		setup.Flows, setup.Payload, setup.GoodputBitsPerSecond = tcp.Flows, tcp.Write, tcp.GoodputBitsPerSecond
		setup.MSS, setup.Window = tcp.MSS, tcp.Window
	}
	if udp := o.load.UDP; udp != nil {
		packets, err := s.Packets(o.load)
		if err != nil {
			return err
		}
		setup.Protocol, setup.Flows = iperf.UDP, packets.Flows
		mean := packets.InnerMean()
		setup.Payload = int(math.Round(mean)) - setup.Headers
		setup.GoodputBitsPerSecond = packets.InnerBitsPerSecond * (mean - float64(setup.Headers)) / mean / float64(max(1, packets.Flows))
	}
	return o.Start(setup)
}

// layeredRate is a flag such as 350M@outer, or 0, as iperf3 says that there is no limit.
type layeredRate struct {
	bitsPerSecond float64
	layer         unit.Layer
	text          string
}

func (r *layeredRate) Set(text string) (err error) {
	r.text = text
	if r.unlimited() {
		r.bitsPerSecond, r.layer = 0, unit.Goodput
		return nil
	}
	r.bitsPerSecond, r.layer, err = unit.LayeredBitRate(text, unit.Goodput)
	return err
}

func (r *layeredRate) unlimited() bool { return r.text == "0" }
func (r *layeredRate) String() string  { return r.text }
func (r *layeredRate) Type() string    { return "rate" }
