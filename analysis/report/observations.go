package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"tunnelmark/analysis"
)

// observation is what a load showed beside its rate and its loss. Text is empty
// where that is not known, or not worth a line.
type observation struct{ Name, Text string }

// WriteObservations writes, a line each, what the columns of iperf3 leave out of a
// result's fixed loads: why they were stopped and the layers of their rates first.
func WriteObservations(w io.Writer, r Result, options TextOptions) error {
	t := &text{color: options.Color}
	for _, o := range slices.Concat(r.stops(), r.layerRates(), r.others()) {
		t.observation(o)
	}
	t.latencies(r.Latencies)
	t.pathMTU(r)
	t.counts(r)
	t.notes(r)
	return t.flush(w)
}

// observations are those of all fixed loads beside rate and loss.
func (r Result) observations() []observation { return slices.Concat(r.stops(), r.others()) }

func (r Result) stops() []observation {
	return r.tell(
		func(t analysis.Trial) []observation { return []observation{{"Stopped", Clean(t.Stopped)}} },
		func(t analysis.TCPTrial) []observation { return []observation{{"Stopped", Clean(t.Stopped)}} },
	)
}

// layerRates are what arrived in each layer. What TCP's packets are is not known.
func (r Result) layerRates() []observation {
	return r.tell(
		func(t analysis.Trial) []observation { return []observation{{"Layers", layerRates(t)}} },
		func(analysis.TCPTrial) []observation { return nil },
	)
}

func (r Result) others() []observation { return r.tell(observe, observeTCP) }

// tell asks of all fixed loads, in the order in which they ran.
func (r Result) tell(udp func(analysis.Trial) []observation, tcp func(analysis.TCPTrial) []observation) []observation {
	var all []observation
	for i, t := range r.Trials {
		for _, o := range udp(t) {
			all = append(all, r.of(i, t.Reverse, o))
		}
	}
	for i, t := range r.TCP {
		for _, o := range tcp(t) {
			all = append(all, r.of(i, t.Reverse, o))
		}
	}
	return known(all)
}

func known(all []observation) (some []observation) {
	for _, o := range all {
		if o.Text != "" {
			some = append(some, o)
		}
	}
	return some
}

// of names the trial that an observation is about, where there are several.
func (r Result) of(i int, reverse bool, o observation) observation {
	switch {
	case o.Text == "" || len(r.Trials)+len(r.TCP) < 2:
	case r.bothWays():
		o.Text = r.direction(reverse) + ": " + o.Text
	default:
		o.Text = fmt.Sprintf("trial %d: %s", i+1, o.Text)
	}
	return o
}

// bothWays says that there is one load in each direction.
func (r Result) bothWays() bool {
	t, tcp := r.Trials, r.TCP
	return len(t) == 2 && len(tcp) == 0 && t[0].Reverse != t[1].Reverse ||
		len(t) == 0 && len(tcp) == 2 && tcp[0].Reverse != tcp[1].Reverse
}

func observe(t analysis.Trial) []observation {
	return []observation{
		{"Sizes", sizes(t.Load.Mix)},
		{"Pacing", pacing(t)},
		{"Off CPU", offCPU(t)},
		{"Refused", counted(t.Refused, "packets by the sender’s own stack: neither sent nor lost")},
		{"Losses", losses(t)},
		{"Reordered", reordered(t)},
		{"Duplicate", counted(t.Duplicated, "packets")},
		{"Delay", delay(t)},
		{"Flows", pinned(t)},
		{"Latency", besideLoad(t.Latency)},
		{"CPU", cpu(t.Sender, t.Sent, t.Receiver, t.Received, "packet")},
	}
}

func observeTCP(t analysis.TCPTrial) []observation {
	return []observation{
		{"TCP", tcpState(t)},
		{"Held back", heldBack(t)},
		{"RFC 6349", quality(t.Quality)},
		{"Latency", besideLoad(t.Latency)},
		{"Losses", counted(t.TunnelDrops, "packets dropped in the tunnel")},
		{"CPU", cpu(t.Sender, t.SentGoodputBytes, t.Receiver, t.ReceivedGoodputBytes, "byte")},
	}
}

func layerRates(t analysis.Trial) string {
	inner := t.InnerReceivedBitsPerSecond()
	if t.OuterSize == 0 {
		return formatRate(inner) + " inner arrived, outer not known"
	}
	return formatRate(inner) + " inner, " + outerRate(t, inner) + " outer arrived"
}

func sizes(m analysis.Mix) string {
	if len(m.InnerSizes) < 2 {
		return ""
	}
	const most = 16
	text := ""
	for _, size := range m.InnerSizes[:min(len(m.InnerSizes), most)] {
		text += strconv.Itoa(size) + " "
	}
	if len(m.InnerSizes) > most {
		text += "… "
	}
	text += "B inner"
	if m.Genome != "" {
		text = "IMIX - " + Clean(m.Genome) + " (RFC 6985): " + text
	}
	if m.Seed != 0 {
		text += fmt.Sprintf(", in the order of seed %d", m.Seed)
	}
	return text
}

func pacing(t analysis.Trial) string {
	burst := ""
	switch {
	case t.Load.Burst == 1:
		burst = "packets one by one"
	case t.Load.Burst > 1:
		burst = "bursts of " + formatCount(t.Load.Burst) + " packets"
	}
	if burst != "" && t.Segmented {
		burst += ", cut up by the kernel or the network card"
	}
	if t.Pace.Windows == 0 {
		return burst
	}
	return joined("; ", burst, fmt.Sprintf("%s of %s windows within 1"+nbsp+"%% or two bursts of the mean, the worst off by %s",
		formatShare(t.Pace.Within), formatCount(t.Pace.Windows), formatShare(t.Pace.Worst)))
}

// offCPU leaves out what every scheduler takes.
func offCPU(t analysis.Trial) string {
	if t.Skipped < t.Elapsed/1000 || t.Skipped == 0 {
		return ""
	}
	return fmt.Sprintf("the host kept the sender off the CPU for %s of %s; no burst made up for it", formatDuration(t.Skipped), formatDuration(t.Elapsed))
}

// losses tell those of both machines from those of the path.
func losses(t analysis.Trial) string {
	if t.SocketDrops+t.ReceiverOverruns+t.TunnelDrops == 0 {
		return ""
	}
	return listed(formatCount(t.Lost()-t.LostAtReceiver())+" packets on the way", counted(t.SocketDrops, "at the receiver’s socket"),
		counted(t.ReceiverOverruns, "in the queue of its half of the tunnel"), counted(t.TunnelDrops, "in all dropped by the tunnel’s drivers"))
}

func reordered(t analysis.Trial) string {
	if t.Reordered == 0 {
		return ""
	}
	text := formatCount(t.Reordered) + " packets"
	if t.ReorderExtent > 0 {
		text += fmt.Sprintf(", the worst after %s later ones and %s late", formatCount(t.ReorderExtent), formatDuration(t.ReorderLate))
	}
	return text
}

func delay(t analysis.Trial) string {
	if t.Delay.Count == 0 {
		return ""
	}
	text := fmt.Sprintf("one-way above the least: p50 %s, p99 %s, max %s", formatDuration(t.Delay.P50), formatDuration(t.Delay.P99), formatDuration(t.Delay.Max))
	if t.DelayDrift != 0 {
		text += "; the least grew by " + formatDuration(t.DelayDrift)
	}
	return text
}

// otherWay is by how much the least delay of a flow exceeds that of the others when
// it takes another way: 100 km of fibre, and more than hosts add to a least.
const otherWay = 500 * time.Microsecond

// pinned names the flow that fares worst where flows fare differently, as they do
// where routers pin each to one of several ways (ECMP, RFC 2992).
func pinned(t analysis.Trial) string {
	lossy, slow := worstFlows(t.PerFlow)
	loss, detour := "", ""
	if counts := flowTrial(lossy); counts.Lossy(t.LossRatio()) {
		loss = fmt.Sprintf("the one from port %d lost %s, all together %s", lossy.Port, formatShare(counts.LossRatio()), formatShare(t.LossRatio()))
	}
	if slow.MinDelay >= otherWay {
		detour = fmt.Sprintf("the one from port %d took at least %s longer than the fastest", slow.Port, formatDuration(slow.MinDelay))
	}
	if loss == "" && detour == "" {
		return ""
	}
	return "of " + formatCount(len(t.PerFlow)) + ", " + joined("; ", loss, detour)
}

// worstFlows are the one with the greatest loss and the one with the greatest
// least delay.
func worstFlows(flows []analysis.Flow) (lossy, slow analysis.Flow) {
	for _, f := range flows {
		if flowTrial(f).LossRatio() > flowTrial(lossy).LossRatio() {
			lossy = f
		}
		if f.MinDelay > slow.MinDelay {
			slow = f
		}
	}
	return lossy, slow
}

// flowTrial counts one flow as a trial of its own.
func flowTrial(f analysis.Flow) analysis.Trial {
	return analysis.Trial{Sent: f.Sent, Received: f.Received}
}

func besideLoad(l *analysis.Latency) string {
	if l == nil || l.Sent == 0 {
		return ""
	}
	row := latencyRows([]analysis.Latency{*l})[0]
	return fmt.Sprintf("RTT beside the load: p50 %s, p99 %s, max %s; %s of %s probes lost", row.P50, row.P99, row.Max, row.Loss, formatCount(l.Sent))
}

func tcpState(t analysis.TCPTrial) string {
	if len(t.PerFlow) == 0 {
		return ""
	}
	totals, mss := totalsOf(t), ""
	if totals.mss > 0 {
		mss = "MSS " + sizeOr(totals.mss, none)
	}
	return listed(congestion(t), mss, fmt.Sprintf("RTT least %s, mean %s, most %s", formatDuration(totals.minRTT), formatDuration(totals.meanRTT), formatDuration(totals.maxRTT)))
}

// heldBack says what else than the path held TCP back.
func heldBack(t analysis.TCPTrial) string {
	totals := totalsOf(t)
	if totals.rwndLimited == 0 && totals.bufferLimits == 0 {
		return ""
	}
	return fmt.Sprintf("by the receiver’s window for %s of the time, by the sender’s buffer for %s", formatShare(totals.rwndLimited), formatShare(totals.bufferLimits))
}

func quality(q *analysis.TCPQuality) string {
	if q == nil {
		return ""
	}
	text := fmt.Sprintf("efficiency %s, buffer delay %s over %s", formatEfficiency(q.Efficiency), formatShare(q.BufferDelay), formatDuration(q.Baseline))
	if q.TransferTime > 0 {
		text += fmt.Sprintf(", transfer time ratio %s to %s goodput", trimmed(q.TransferTime, 3), formatRate(q.BottleneckGoodputBitsPerSecond))
	}
	return text
}

// formatEfficiency keeps what a percentage of three digits would round to all.
func formatEfficiency(ratio float64) string { return trimmed(ratio*100, 3) + nbsp + "%" }

// cpu says what each end spent for each of what it sent or received.
func cpu(sender analysis.Host, sent uint64, receiver analysis.Host, received uint64, each string) string {
	from, to := cpuOf(sender, sent, each), cpuOf(receiver, received, each)
	if from != "" {
		from = "sender " + from
	}
	if to != "" {
		to = "receiver " + to
	}
	return joined("; ", from, to)
}

func cpuOf(h analysis.Host, n uint64, each string) string {
	spent, busiest := "", ""
	if cost := h.BusyNanosecondsPer(n); cost > 0 {
		spent = significant(cost, 3) + nbsp + "ns per " + each
	}
	if len(h.Cores) > 0 {
		busiest = "busiest core " + formatShare(busiestCore(h.Cores))
	}
	return listed(spent, busiest)
}

// busiestCore is the greatest share of a core's time that was not idle.
func busiestCore(cores []analysis.Core) float64 {
	least := 1.0
	for _, c := range cores {
		least = min(least, c.Idle)
	}
	return min(1, max(0, 1-least))
}
