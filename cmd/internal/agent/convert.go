package agent

import (
	"time"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/hoststat"
	"tunnelmark/tunnel"
)

// The agent's half of the bridge: what crosses between the islands and the
// contract, field by field.

func loadFrom(l *controlv1.Load) probe.Load {
	return probe.Load{
		InnerBitsPerSecond: l.GetInnerBitsPerSecond(),
		Duration:           time.Duration(l.GetDurationNs()),
		Packets:            int(l.GetPackets()),
		InnerSize:          int(l.GetInnerSize()),
		Train:              int(l.GetTrain()),
		Flows:              int(l.GetFlows()),
	}
}

func sentTo(s probe.Sent) *controlv1.Sent {
	return &controlv1.Sent{
		Packets: s.Packets, Refused: s.Refused,
		ElapsedNs: int64(s.Elapsed), SkippedNs: int64(s.Skipped),
		Train: int64(s.Train), HelloRttNs: int64(s.HelloRTT),
	}
}

func receivedTo(r probe.Received) *controlv1.Received {
	to := &controlv1.Received{
		Packets: r.Packets, Duplicated: r.Duplicated, Reordered: r.Reordered,
		Malformed: r.Malformed, SocketDrops: r.SocketDrops,
		Variation: &controlv1.Variation{
			P50Ns: int64(r.Variation.P50), P99Ns: int64(r.Variation.P99), MaxNs: int64(r.Variation.Max),
		},
	}
	for _, w := range r.Windows {
		to.Windows = append(to.Windows, &controlv1.WindowCount{
			Packets: w.Packets, StartNs: int64(w.Start), EndNs: int64(w.End), MinDelayNs: int64(w.MinDelay),
		})
	}
	if r.FirstLoss != nil {
		to.FirstLoss = &controlv1.FirstLoss{Packets: r.FirstLoss.Packets, AfterNs: int64(r.FirstLoss.After)}
	}
	return to
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
		SendRefused:    now.SendRefused - earlier.SendRefused,
		DeliverRefused: now.DeliverRefused - earlier.DeliverRefused,
		OutOverrun:     now.OutOverrun - earlier.OutOverrun,
		InOverrun:      now.InOverrun - earlier.InOverrun,
		OuterErrors:    now.OuterErrors - earlier.OuterErrors,
	}
}

func hostTo(d hoststat.Delta) *controlv1.Host {
	to := &controlv1.Host{UdpReceiveErrors: d.UDPReceiveErrors}
	for _, c := range d.Cores {
		to.SoftnetDropped += c.SoftnetDropped
		to.Cores = append(to.Cores, &controlv1.Core{
			Number: uint32(c.ID), User: c.User, System: c.System, Softirq: c.Softirq, Steal: c.Steal, Idle: c.Idle,
		})
	}
	return to
}
