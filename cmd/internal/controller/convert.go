package controller

import (
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/tunnel"
)

// The controller's half of the bridge: what crosses between the contract and
// the analysis, field by field.

func loadTo(l analysis.Load, innerSize int) *controlv1.Load {
	return &controlv1.Load{
		InnerBitsPerSecond: l.InnerBitsPerSecond,
		DurationNs:         int64(l.Duration),
		Packets:            int64(l.Packets),
		InnerSize:          int64(innerSize),
		Train:              int64(l.Train),
	}
}

func trialFrom(load analysis.Load, innerSize, outerSize int, sent *controlv1.SendResponse, received *controlv1.ReceiveResult) analysis.Trial {
	s, r := sent.GetSent(), received.GetReceived()
	trial := analysis.Trial{
		Load:      load,
		InnerSize: innerSize, OuterSize: outerSize,
		Sent: s.GetPackets(), Refused: s.GetRefused(),
		Elapsed: time.Duration(s.GetElapsedNs()), Skipped: time.Duration(s.GetSkippedNs()),
		Received: r.GetPackets(), Duplicated: r.GetDuplicated(), Reordered: r.GetReordered(),
		SocketDrops: r.GetSocketDrops(),
		Variation: analysis.Variation{
			P50: time.Duration(r.GetVariation().GetP50Ns()),
			P99: time.Duration(r.GetVariation().GetP99Ns()),
			Max: time.Duration(r.GetVariation().GetMaxNs()),
		},
		Sender: hostFrom(sent.GetHost()), Receiver: hostFrom(received.GetHost()),
		TunnelDrops: drops(sent.GetTunnel()) + drops(received.GetTunnel()),
	}
	trial.Load.Train = int(s.GetTrain())
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

// drops adds up what a tunnel's half dropped for whatever reason: also what its
// queues overran with, which is loss of our own making. Errors that the outer
// network reported are of packets that are counted elsewhere.
func drops(c *controlv1.TunnelCounters) uint64 {
	return c.GetMalformed() + c.GetUnknownSpi() + c.GetBadIcv() + c.GetReplayed() +
		c.GetWrongSelectors() + c.GetSendRefused() + c.GetDeliverRefused() +
		c.GetOutOverrun() + c.GetInOverrun()
}

func hostFrom(h *controlv1.Host) analysis.Host {
	host := analysis.Host{SoftnetDrops: h.GetSoftnetDropped()}
	for _, c := range h.GetCores() {
		host.Cores = append(host.Cores, analysis.Core{
			User: c.GetUser(), System: c.GetSystem(), SoftIRQ: c.GetSoftirq(), Steal: c.GetSteal(), Idle: c.GetIdle(),
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
