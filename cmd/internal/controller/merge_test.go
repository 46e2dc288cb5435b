package controller

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
)

const ms = time.Millisecond

func TestMerge(t *testing.T) {
	cores := func(idle ...float64) analysis.Host {
		var h analysis.Host
		for _, share := range idle {
			h.Cores = append(h.Cores, analysis.Core{Idle: share})
		}
		return h
	}
	counts := func(packets, replayed uint64) analysis.TunnelCounts {
		return analysis.TunnelCounts{OutPackets: packets, Dropped: map[string]uint64{"replayed": replayed}}
	}
	fast := analysis.Trial{
		Load:      analysis.Load{InnerBitsPerSecond: 30e6, Burst: 8},
		InnerSize: 1400, OuterSize: 1464, Sent: 300, Received: 290, Duplicated: 1, Reordered: 2, Refused: 3, SocketDrops: 4, TunnelDrops: 5,
		SenderTunnel: counts(1, 2), ReceiverTunnel: counts(3, 4),
		Elapsed: 100 * ms, Skipped: 4 * ms, Variation: analysis.Variation{P50: 1, P99: 20, Max: 30},
		Windows: []analysis.Window{
			{Packets: 60, Start: 0, End: 20 * ms, MinDelay: ms}, {Packets: 61, Start: 20 * ms, End: 40 * ms}, {Packets: 62, Start: 40 * ms, End: 60 * ms},
		},
		FirstLoss: &analysis.FirstLoss{Packets: 100, After: 30 * ms},
		Sender:    cores(0.1, 0.9), Receiver: cores(0.5),
	}
	slow := analysis.Trial{
		Load:      analysis.Load{InnerBitsPerSecond: 10e6, Burst: 4},
		InnerSize: 1400, OuterSize: 1464, Sent: 100, Received: 100, Duplicated: 10, Reordered: 20, Refused: 30, SocketDrops: 40, TunnelDrops: 50,
		SenderTunnel: counts(10, 20), ReceiverTunnel: counts(30, 40),
		Elapsed: 102 * ms, Variation: analysis.Variation{P50: 10, P99: 2, Max: 3},
		Windows:   []analysis.Window{{Packets: 20, Start: 2 * ms, End: 22 * ms}, {Packets: 21, Start: 22 * ms, End: 42 * ms, MinDelay: 2 * ms}},
		FirstLoss: &analysis.FirstLoss{Packets: 90, After: 70 * ms},
		Sender:    cores(0.2, 0.2), Receiver: cores(0.4),
	}
	load := analysis.Load{InnerBitsPerSecond: 40e6, Duration: 100 * ms, Idle: ms}
	want := analysis.Trial{
		Load:      analysis.Load{InnerBitsPerSecond: 40e6, Duration: 100 * ms, Idle: ms, Burst: 8},
		InnerSize: 1400, OuterSize: 1464, Sent: 400, Received: 390, Duplicated: 11, Reordered: 22, Refused: 33, SocketDrops: 44, TunnelDrops: 55,
		SenderTunnel: counts(11, 22), ReceiverTunnel: counts(33, 44),
		Elapsed: 101 * ms, Skipped: 2 * ms, Variation: analysis.Variation{P50: 10, P99: 20, Max: 30},
		Windows:   []analysis.Window{{Packets: 80 + 82, Start: ms, End: 41 * ms, MinDelay: ms}},
		FirstLoss: &analysis.FirstLoss{Packets: 190, After: 40 * ms},
		Sender:    cores(0.1, 0.9), Receiver: cores(0.4),
	}
	if diff := cmp.Diff(want, merge(load, []analysis.Trial{fast, slow})); diff != "" {
		t.Errorf("merge (-want +got):\n%s", diff)
	}
}

func TestJoinWindows(t *testing.T) {
	one := func(packets uint64, start time.Duration) analysis.Window {
		return analysis.Window{Packets: packets, Start: start, End: start + 20*ms}
	}
	windows := []analysis.Window{one(1, 0), one(2, 20*ms), one(4, 40*ms), one(8, 60*ms)}
	for several, want := range map[int][]analysis.Window{
		0: windows,
		1: windows,
		3: {{Packets: 7, Start: 0, End: 60 * ms}, one(8, 60*ms)},
		9: {{Packets: 15, Start: 0, End: 80 * ms}},
	} {
		if diff := cmp.Diff(want, joinWindows(windows, several)); diff != "" {
			t.Errorf("%d at a time (-want +got):\n%s", several, diff)
		}
	}
	if got := joinWindows(nil, 3); got != nil {
		t.Errorf("of none: %v", got)
	}
}

// A bucket that has not lost anything has not shown what it holds.
func TestMergeWithoutLossEverywhere(t *testing.T) {
	lost := analysis.Trial{Sent: 10, FirstLoss: &analysis.FirstLoss{Packets: 5}}
	if first := merge(analysis.Load{}, []analysis.Trial{lost, {Sent: 10}}).FirstLoss; first != nil {
		t.Errorf("first loss of trials of which one lost nothing: %+v, want none", *first)
	}
	if first := merge(analysis.Load{}, []analysis.Trial{{FirstLoss: &analysis.FirstLoss{}}}).FirstLoss; first != nil {
		t.Errorf("first loss of trials that sent nothing: %+v, want none", *first)
	}
}
