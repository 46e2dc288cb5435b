package controller

import (
	"fmt"
	"math"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/tunnel"
)

// The controller's half of the bridge: what crosses between the contract and
// the analysis, field by field.

func loadTo(l analysis.Load) *controlv1.Load {
	to := &controlv1.Load{
		InnerBitsPerSecond: l.InnerBitsPerSecond,
		DurationNs:         int64(l.Duration),
		Burst:              int64(l.Burst),
		Flows:              uint32(l.Flows),
		NewFlowsPerSecond:  l.NewFlowsPerSecond,
		Lanes:              uint32(l.Lanes),
		Dscp:               uint32(l.DSCP),
		Mix:                &controlv1.Mix{Seed: l.Seed},
	}
	for _, size := range l.InnerSizes {
		to.Mix.InnerSizes = append(to.Mix.InnerSizes, uint32(size))
	}
	return to
}

// mostRatio is beyond all that is measured, and keeps sums of ratios finite.
const mostRatio = 1e12

// checkRatios refuses what is no ratio: JSON has no word for NaN and infinity.
func checkRatios(host *controlv1.Host, pace *controlv1.Pace) error {
	ratios := []float64{pace.GetWithin(), pace.GetWorst()}
	for _, c := range host.GetCores() {
		ratios = append(ratios, c.GetUser(), c.GetSystem(), c.GetSoftirq(), c.GetSteal(), c.GetIdle())
	}
	for _, ratio := range ratios {
		if !(math.Abs(ratio) <= mostRatio) {
			return fmt.Errorf("it counted a ratio of %g", ratio)
		}
	}
	return nil
}

// trialFrom puts together what both ends say. outer is the length of the packet
// that carries an inner one.
func trialFrom(load analysis.Load, outer func(size int) int, d done) analysis.Trial {
	s, r := d.sent.GetUdp(), d.received.GetUdp()
	trial := analysis.Trial{
		Load: load, Reverse: d.reverse,
		InnerSize: meanOf(load.InnerSizes, func(size int) int { return size }), OuterSize: meanOf(load.InnerSizes, outer),
		Sent: s.GetPackets(), Refused: s.GetRefused(),
		SentInnerBytes: s.GetInnerBytes(), ReceivedInnerBytes: r.GetInnerBytes(),
		Elapsed: time.Duration(s.GetElapsedNs()), Skipped: time.Duration(s.GetSkippedNs()),
		Segmented: s.GetSegmented(),
		Pace:      analysis.Pace{Windows: int(s.GetPace().GetWindows()), Within: s.GetPace().GetWithin(), Worst: s.GetPace().GetWorst()},
		Received:  r.GetPackets(), Duplicated: r.GetDuplicated(), Reordered: r.GetReordered(),
		ReorderExtent: r.GetReorderExtent(), ReorderLate: time.Duration(r.GetReorderLateNs()),
		SocketDrops: r.GetSocketDrops(), ReceiverOverruns: d.received.GetTunnel().GetInOverrun(),
		Variation: analysis.Variation{
			P50:    time.Duration(r.GetVariation().GetP50Ns()),
			P99:    time.Duration(r.GetVariation().GetP99Ns()),
			Max:    time.Duration(r.GetVariation().GetMaxNs()),
			Jitter: time.Duration(r.GetVariation().GetJitterNs()),
		},
		Delay: quantilesFrom(r.GetDelay()), DelayDrift: time.Duration(r.GetDelayDriftNs()),
		Latency: latencyFrom(d.sent.GetLatency()), Stopped: d.sent.GetStopped(),
		Sender: hostFrom(d.sent.GetHost()), Receiver: hostFrom(d.received.GetHost()),
		SenderTunnel: countsFrom(d.sent.GetTunnel()), ReceiverTunnel: countsFrom(d.received.GetTunnel()),
		PerFlow: flowsFrom(s.GetFlows(), r.GetFlows()),
	}
	trial.TunnelDrops = trial.SenderTunnel.Drops() + trial.ReceiverTunnel.Drops()
	trial.Load.Burst = int(s.GetBurst())
	if load.Flows <= 1 {
		trial.Load.Flows, trial.PerFlow = 0, nil // The trial itself says it.
	}
	if len(load.InnerSizes) == 1 {
		trial.Load.InnerSizes = nil // InnerSize says it.
	}
	for _, w := range r.GetWindows() {
		trial.Windows = append(trial.Windows, analysis.Window{
			Packets: w.GetPackets(), Start: time.Duration(w.GetStartNs()), End: time.Duration(w.GetEndNs()),
			MinDelay: time.Duration(w.GetMinDelayNs()),
		})
	}
	if first := r.GetFirstLoss(); first != nil {
		trial.FirstLoss = &analysis.FirstLoss{Packets: first.GetPackets(), After: time.Duration(first.GetAfterNs())}
	}
	return trial
}

// meanOf is the mean of what lengths become, in bytes.
func meanOf(sizes []int, becomes func(size int) int) int {
	sum := 0
	for _, size := range sizes {
		sum += becomes(size)
	}
	return int(math.Round(float64(sum) / float64(max(1, len(sizes)))))
}

// flowsFrom joins what both ends counted of each flow.
func flowsFrom(sent []*controlv1.FlowSent, received []*controlv1.FlowReceived) (flows []analysis.Flow) {
	for i, s := range sent[:min(len(sent), len(received))] {
		r := received[i]
		flows = append(flows, analysis.Flow{
			Port: uint16(s.GetPort()), Sent: s.GetPackets(), Received: r.GetPackets(), Reordered: r.GetReordered(),
			MinDelay: time.Duration(r.GetMinDelayNs()), MeanDelay: time.Duration(r.GetMeanDelayNs()),
		})
	}
	return flows
}

func quantilesFrom(q *controlv1.Quantiles) analysis.Quantiles {
	return analysis.Quantiles{
		Count: q.GetCount(), Min: time.Duration(q.GetMinNs()), Mean: time.Duration(q.GetMeanNs()),
		P50: time.Duration(q.GetP50Ns()), P90: time.Duration(q.GetP90Ns()),
		P99: time.Duration(q.GetP99Ns()), P999: time.Duration(q.GetP999Ns()), Max: time.Duration(q.GetMaxNs()),
	}
}

// latencyFrom is nil where no latency was measured.
func latencyFrom(l *controlv1.Latency) *analysis.Latency {
	if l == nil {
		return nil
	}
	return &analysis.Latency{
		Sent: l.GetSent(), Received: l.GetReceived(), RTT: quantilesFrom(l.GetRtt()),
		There: quantilesFrom(l.GetThere()), Back: quantilesFrom(l.GetBack()), KernelStamps: l.GetKernelStamps(),
	}
}

func intervalFrom(i *controlv1.Interval, reverse bool) analysis.Interval {
	return analysis.Interval{
		Reverse: reverse, Start: time.Duration(i.GetStartNs()), End: time.Duration(i.GetEndNs()),
		GoodputBytes: i.GetGoodputBytes(), Packets: i.GetPackets(), Lost: i.GetLost(),
		Retransmits: i.GetRetransmits(), Cwnd: int(i.GetCwnd()), RTT: time.Duration(i.GetRttNs()),
	}
}

func tcpLoadTo(l analysis.TCPLoad) *controlv1.TCPLoad {
	return &controlv1.TCPLoad{
		Flows: uint32(l.Flows), DurationNs: int64(l.Duration), GoodputBitsPerSecond: l.GoodputBitsPerSecond,
		Congestion: l.Congestion, Mss: uint32(l.MSS), Window: uint32(l.Window), Write: uint32(l.Write),
		ZeroCopy: l.ZeroCopy, Verify: l.Verify, Dscp: uint32(l.DSCP),
	}
}

func tcpTrialFrom(load analysis.TCPLoad, d done) analysis.TCPTrial {
	s, r := d.sent.GetTcp(), d.received.GetTcp()
	trial := analysis.TCPTrial{
		Load: load, Reverse: d.reverse,
		Elapsed: time.Duration(s.GetElapsedNs()), ReceivedElapsed: time.Duration(r.GetElapsedNs()),
		Latency: latencyFrom(d.sent.GetLatency()), Stopped: d.sent.GetStopped(),
		Sender: hostFrom(d.sent.GetHost()), Receiver: hostFrom(d.received.GetHost()),
		SenderTunnel: countsFrom(d.sent.GetTunnel()), ReceiverTunnel: countsFrom(d.received.GetTunnel()),
	}
	trial.TunnelDrops = trial.SenderTunnel.Drops() + trial.ReceiverTunnel.Drops()
	for i, f := range s.GetFlows() {
		flow := analysis.TCPFlow{
			LocalPort: uint16(f.GetLocalPort()), RemotePort: uint16(f.GetRemotePort()),
			SentGoodputBytes: f.GetGoodputBytes(), Retransmits: f.GetRetransmits(), TransmittedBytes: f.GetTransmittedBytes(), RetransmittedBytes: f.GetRetransmittedBytes(),
			MinRTT: time.Duration(f.GetMinRttNs()), MeanRTT: time.Duration(f.GetMeanRttNs()), MaxRTT: time.Duration(f.GetMaxRttNs()),
			MaxCwnd: int(f.GetMaxCwnd()), MSS: int(f.GetMss()), Congestion: f.GetCongestion(),
			Busy: time.Duration(f.GetBusyNs()), RwndLimited: time.Duration(f.GetRwndLimitedNs()), SndbufLimited: time.Duration(f.GetSndbufLimitedNs()),
		}
		if i < len(r.GetFlowGoodputBytes()) {
			flow.ReceivedGoodputBytes = r.GetFlowGoodputBytes()[i]
		}
		trial.SentGoodputBytes += flow.SentGoodputBytes
		trial.ReceivedGoodputBytes += flow.ReceivedGoodputBytes
		trial.PerFlow = append(trial.PerFlow, flow)
	}
	for _, sample := range s.GetSamples() {
		trial.Samples = append(trial.Samples, analysis.TCPSample{
			Elapsed: time.Duration(sample.GetElapsedNs()), SentGoodputBytes: sample.GetGoodputBytes(),
			Retransmits: sample.GetRetransmits(), RTT: time.Duration(sample.GetRttNs()), Cwnd: int(sample.GetCwnd()),
		})
	}
	return trial
}

func pathMTUFrom(m *controlv1.PathMTU) analysis.PathMTU {
	return analysis.PathMTU{
		InnerSize: int(m.GetInnerSize()), LocalMTU: int(m.GetLocalMtu()), BlackHoleFrom: int(m.GetBlackHoleFrom()),
		ICMPSaid: int(m.GetIcmpSaid()), FragmentedFrom: int(m.GetFragmentedFrom()), FragmentSize: int(m.GetFragmentSize()), Sent: int(m.GetSent()), Elapsed: time.Duration(m.GetElapsedNs()), Note: m.GetNote(),
	}
}

// mssFrom is nil where no connection could be made.
func mssFrom(m *controlv1.MSS) *analysis.MSS {
	if m == nil {
		return nil
	}
	return &analysis.MSS{Sent: int(m.GetSent()), Received: int(m.GetReceived())}
}

// countsFrom is what one end's half counted, drops by the names that package tunnel
// gives to their reasons.
func countsFrom(c *controlv1.TunnelCounters) analysis.TunnelCounts {
	counters := countersFrom(c)
	counts := analysis.TunnelCounts{
		OutPackets: counters.OutPackets, OutInnerBytes: counters.OutInnerBytes,
		InPackets: counters.InPackets, InInnerBytes: counters.InInnerBytes,
		OuterErrors: counters.OuterErrors,
	}
	for _, drop := range counters.Drops() {
		if drop.Packets == 0 {
			continue
		}
		if counts.Dropped == nil {
			counts.Dropped = make(map[string]uint64)
		}
		counts.Dropped[drop.Reason] = drop.Packets
	}
	return counts
}

func countersFrom(c *controlv1.TunnelCounters) tunnel.Counters {
	return tunnel.Counters{
		OutPackets:     c.GetOutPackets(),
		OutInnerBytes:  c.GetOutInnerBytes(),
		InPackets:      c.GetInPackets(),
		InInnerBytes:   c.GetInInnerBytes(),
		Malformed:      c.GetMalformed(),
		UnknownSPI:     c.GetUnknownSpi(),
		BadICV:         c.GetBadIcv(),
		Replayed:       c.GetReplayed(),
		WrongSelectors: c.GetWrongSelectors(),
		Congested:      c.GetCongested(),
		SendRefused:    c.GetSendRefused(),
		DeliverRefused: c.GetDeliverRefused(),
		OutOverrun:     c.GetOutOverrun(),
		InOverrun:      c.GetInOverrun(),
		OuterErrors:    c.GetOuterErrors(),
	}
}

func hostFrom(h *controlv1.Host) analysis.Host {
	host := analysis.Host{
		SoftnetDrops: h.GetSoftnetDropped(), SoftnetSqueezes: h.GetSoftnetSqueezed(), UDPDrops: h.GetUdpReceiveErrors(),
		XFRM: h.GetXfrmErrors(), Busy: time.Duration(h.GetBusyNs()), Process: time.Duration(h.GetProcessNs()),
		ContextSwitches: h.GetContextSwitches(), MemoryAvailable: h.GetMemoryAvailableBytes(), Resident: h.GetResidentBytes(),
	}
	for _, c := range h.GetCores() {
		host.Cores = append(host.Cores, analysis.Core{
			User: c.GetUser(), System: c.GetSystem(), SoftIRQ: c.GetSoftirq(), Steal: c.GetSteal(), Idle: c.GetIdle(),
		})
	}
	for _, i := range h.GetInterfaces() {
		host.Interfaces = append(host.Interfaces, analysis.Interface{
			Name:      i.GetName(),
			RxPackets: i.GetRxPackets(), RxBytes: i.GetRxBytes(), RxDropped: i.GetRxDropped(), RxErrors: i.GetRxErrors(),
			TxPackets: i.GetTxPackets(), TxBytes: i.GetTxBytes(), TxDropped: i.GetTxDropped(), TxErrors: i.GetTxErrors(),
		})
	}
	return host
}

func environmentFrom(site, driver string, d *controlv1.DescribeResponse) report.End {
	return report.End{
		Site: site, AgentVersion: d.GetVersion(), Hostname: d.GetHostname(),
		Kernel: d.GetKernel(), CPU: d.GetCpuModel(), Cores: int(d.GetCores()),
		Memory: d.GetMemoryBytes(), GoVersion: d.GetGoVersion(), Driver: driver,
	}
}

func builtFrom(r *controlv1.AwaitResponse) Built {
	built := Built{Setup: time.Duration(r.GetSetupNs())}
	for _, detail := range r.GetDetails() {
		built.Details = append(built.Details, tunnel.Detail{Name: detail.GetName(), Value: detail.GetValue()})
	}
	if evidence := r.GetEvidence(); evidence != nil {
		built.Evidence = &tunnel.Evidence{Proven: evidence.GetProven(), How: evidence.GetHow()}
	}
	return built
}
