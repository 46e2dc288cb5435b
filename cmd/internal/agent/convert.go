package agent

import (
	"time"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/hoststat"
	"tunnelmark/probe/latency"
	"tunnelmark/probe/pmtu"
	"tunnelmark/probe/tcp"
	"tunnelmark/tunnel"
)

// The agent's half of the bridge: what crosses between the islands and the
// contract, field by field.

func loadFrom(l *controlv1.Load) probe.Load {
	return probe.Load{
		InnerBitsPerSecond: l.GetInnerBitsPerSecond(),
		Duration:           time.Duration(l.GetDurationNs()),
		Mix:                mixFrom(l.GetMix()),
		Burst:              int(l.GetBurst()),
		Flows:              int(l.GetFlows()),
		NewFlowsPerSecond:  l.GetNewFlowsPerSecond(),
		Lanes:              int(l.GetLanes()),
		DSCP:               dscpFrom(l.GetDscp()),
	}
}

func mixFrom(m *controlv1.Mix) probe.Mix {
	mix := probe.Mix{Seed: m.GetSeed()}
	for _, size := range m.GetInnerSizes() {
		mix.Sizes = append(mix.Sizes, int(size))
	}
	return mix
}

// dscpFrom makes what no code point can be one that is refused.
func dscpFrom(dscp uint32) uint8 { return uint8(min(dscp, 1<<8-1)) }

func sentTo(s probe.Sent) *controlv1.Sent {
	to := &controlv1.Sent{
		Packets: s.Packets, InnerBytes: s.InnerBytes, Refused: s.Refused,
		ElapsedNs: int64(s.Elapsed), SkippedNs: int64(s.Skipped),
		Burst: int64(s.Burst), Segmented: s.Segmented, HelloRttNs: int64(s.HelloRTT),
		Pace: &controlv1.Pace{Windows: uint32(s.Pace.Windows), Within: s.Pace.Within, Worst: s.Pace.Worst},
	}
	for _, f := range s.PerFlow {
		to.Flows = append(to.Flows, &controlv1.FlowSent{Port: uint32(f.Port), Packets: f.Packets})
	}
	return to
}

func receivedTo(r probe.Received) *controlv1.Received {
	to := &controlv1.Received{
		Packets: r.Packets, InnerBytes: r.InnerBytes, Duplicated: r.Duplicated,
		Reordered: r.Reordered.Packets, ReorderExtent: r.Reordered.MaxExtent, ReorderLateNs: int64(r.Reordered.MaxLate),
		Malformed: r.Malformed, SocketDrops: r.SocketDrops,
		Variation: &controlv1.Variation{
			P50Ns: int64(r.Variation.P50), P99Ns: int64(r.Variation.P99), MaxNs: int64(r.Variation.Max),
			JitterNs: int64(r.Variation.Jitter),
		},
		Delay: quantilesTo(r.Delay), DelayDriftNs: int64(r.DelayDrift),
	}
	for _, w := range r.Windows {
		to.Windows = append(to.Windows, &controlv1.WindowCount{
			Packets: w.Packets, StartNs: int64(w.Start), EndNs: int64(w.End), MinDelayNs: int64(w.MinDelay),
		})
	}
	if r.FirstLoss != nil {
		to.FirstLoss = &controlv1.FirstLoss{Packets: r.FirstLoss.Packets, AfterNs: int64(r.FirstLoss.After)}
	}
	for _, f := range r.PerFlow {
		to.Flows = append(to.Flows, &controlv1.FlowReceived{
			Packets: f.Packets, Reordered: f.Reordered, MinDelayNs: int64(f.MinDelay), MeanDelayNs: int64(f.MeanDelay),
		})
	}
	return to
}

func quantilesTo(q probe.Quantiles) *controlv1.Quantiles {
	return &controlv1.Quantiles{
		Count: q.Count, MinNs: int64(q.Min), MeanNs: int64(q.Mean), P50Ns: int64(q.P50), P90Ns: int64(q.P90),
		P99Ns: int64(q.P99), P999Ns: int64(q.P999), MaxNs: int64(q.Max),
	}
}

func tcpLoadFrom(l *controlv1.TCPLoad) tcp.Load {
	return tcp.Load{
		Flows: int(l.GetFlows()), Duration: time.Duration(l.GetDurationNs()), GoodputBitsPerSecond: l.GetGoodputBitsPerSecond(),
		Congestion: l.GetCongestion(), MSS: int(l.GetMss()), Window: int(l.GetWindow()), Write: int(l.GetWrite()),
		ZeroCopy: l.GetZeroCopy(), Verify: l.GetVerify(), DSCP: dscpFrom(l.GetDscp()),
	}
}

func tcpSentTo(s tcp.Sent) *controlv1.TCPSent {
	to := &controlv1.TCPSent{ElapsedNs: int64(s.Elapsed)}
	for _, f := range s.Flows {
		to.Flows = append(to.Flows, &controlv1.TCPFlow{
			LocalPort: uint32(f.LocalPort), RemotePort: uint32(f.RemotePort),
			GoodputBytes: f.GoodputBytes, TransmittedBytes: f.TransmittedBytes, RetransmittedBytes: f.RetransmittedBytes, Retransmits: f.Retransmits,
			MinRttNs: int64(f.MinRTT), MeanRttNs: int64(f.MeanRTT), MaxRttNs: int64(f.MaxRTT),
			MaxCwnd: f.MaxCwndBytes, Mss: uint32(f.MSS), Congestion: f.Congestion,
			BusyNs: int64(f.Busy), RwndLimitedNs: int64(f.RwndLimited), SndbufLimitedNs: int64(f.SndbufLimited),
		})
	}
	for _, sample := range s.Samples {
		to.Samples = append(to.Samples, &controlv1.TCPSample{
			ElapsedNs: int64(sample.Elapsed), GoodputBytes: sample.GoodputBytes, Retransmits: sample.Retransmits,
			RttNs: int64(sample.MeanRTT), Cwnd: sample.CwndBytes,
		})
	}
	return to
}

func tcpReceivedTo(r tcp.Received) *controlv1.TCPReceived {
	to := &controlv1.TCPReceived{ElapsedNs: int64(r.Elapsed)}
	for _, f := range r.Flows {
		to.FlowGoodputBytes = append(to.FlowGoodputBytes, f.GoodputBytes)
	}
	return to
}

func latencyTo(r latency.Result) *controlv1.Latency {
	stamps := r.Stamped
	return &controlv1.Latency{
		Sent: r.Sent, Received: r.Received, Rtt: quantilesTo(r.RTT), There: quantilesTo(r.ToPeer), Back: quantilesTo(r.FromPeer),
		KernelStamps: r.Received > 0 && min(stamps.Left, stamps.Arrived, stamps.Answered, stamps.Heard) >= r.Received/2,
	}
}

func pathMTUTo(r pmtu.Result) *controlv1.PathMTUFound {
	return &controlv1.PathMTUFound{There: directionTo(r.There), Back: directionTo(r.Back)}
}

func directionTo(d pmtu.Direction) *controlv1.PathMTU {
	return &controlv1.PathMTU{
		InnerSize: uint32(d.InnerSize), LocalMtu: uint32(d.LocalMTU), BlackHoleFrom: uint32(d.BlackHoleFrom),
		IcmpSaid: uint32(d.ICMPSaid), FragmentedFrom: uint32(d.FragmentedFrom), FragmentSize: uint32(d.FragmentSize),
		Sent: uint32(d.Sent), ElapsedNs: int64(d.Elapsed), Note: d.Note(),
	}
}

// mssTo is nil where no connection could be made.
func mssTo(m pmtu.MSS, err error) *controlv1.MSS {
	if err != nil {
		return nil
	}
	return &controlv1.MSS{Sent: uint32(m.Sent), Received: uint32(m.Received)}
}

// countersTo writes what was counted since an earlier reading.
func countersTo(now, earlier tunnel.Counters) *controlv1.TunnelCounters {
	return &controlv1.TunnelCounters{
		OutPackets:     now.OutPackets - earlier.OutPackets,
		OutInnerBytes:  now.OutInnerBytes - earlier.OutInnerBytes,
		InPackets:      now.InPackets - earlier.InPackets,
		InInnerBytes:   now.InInnerBytes - earlier.InInnerBytes,
		Malformed:      now.Malformed - earlier.Malformed,
		UnknownSpi:     now.UnknownSPI - earlier.UnknownSPI,
		BadIcv:         now.BadICV - earlier.BadICV,
		Replayed:       now.Replayed - earlier.Replayed,
		WrongSelectors: now.WrongSelectors - earlier.WrongSelectors,
		Congested:      now.Congested - earlier.Congested,
		SendRefused:    now.SendRefused - earlier.SendRefused,
		DeliverRefused: now.DeliverRefused - earlier.DeliverRefused,
		OutOverrun:     now.OutOverrun - earlier.OutOverrun,
		InOverrun:      now.InOverrun - earlier.InOverrun,
		OuterErrors:    now.OuterErrors - earlier.OuterErrors,
	}
}

// hostTo writes what the host did, with what its own network saw and what that of
// the tunnel's clear side did; they are one where the tunnel is not in a namespace
// of its own.
func hostTo(d hoststat.Delta, clear hoststat.Network) *controlv1.Host {
	to := &controlv1.Host{
		BusyNs: int64(d.Busy), ProcessNs: int64(d.Process.CPU), ContextSwitches: d.ContextSwitches,
		MemoryAvailableBytes: d.Memory.AvailableBytes, ResidentBytes: d.Process.ResidentBytes,
		UdpReceiveErrors: clear.UDP.ReceiveBufferErrors, XfrmErrors: d.Network.XFRM,
	}
	for _, c := range d.Cores {
		to.SoftnetDropped += c.SoftnetDropped
		to.SoftnetSqueezed += c.SoftnetTimeSqueezed
		to.Cores = append(to.Cores, &controlv1.Core{
			Number: uint32(c.ID), User: c.User, System: c.System, Softirq: c.Softirq, Steal: c.Steal, Idle: c.Idle,
		})
	}
	for _, i := range append(d.Network.Interfaces, clear.Interfaces...) {
		to.Interfaces = append(to.Interfaces, &controlv1.Interface{
			Name:      i.Name,
			RxPackets: i.ReceivedPackets, RxBytes: i.ReceivedBytes, RxErrors: i.ReceiveErrors, RxDropped: i.ReceiveDropped,
			TxPackets: i.SentPackets, TxBytes: i.SentBytes, TxErrors: i.SendErrors, TxDropped: i.SendDropped,
		})
	}
	return to
}
