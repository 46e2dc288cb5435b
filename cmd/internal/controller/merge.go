package controller

import (
	"cmp"
	"math"
	"slices"
	"time"

	"tunnelmark/analysis"
)

// merge makes one trial of those that ran at the same time, each with its part of
// the load and packets of one size: what was counted is added up, times are means,
// and of delays and hosts the worst counts.
func merge(load analysis.Load, trials []analysis.Trial) analysis.Trial {
	whole := analysis.Trial{
		Load: load, InnerSize: trials[0].InnerSize, OuterSize: trials[0].OuterSize,
		Windows: joinWindows(mergeWindows(trials), min(len(trials), mostJoined)), FirstLoss: mergeFirstLoss(trials),
		Sender:   busiest(trials, func(t analysis.Trial) analysis.Host { return t.Sender }),
		Receiver: busiest(trials, func(t analysis.Trial) analysis.Host { return t.Receiver }),
	}
	whole.Load.Burst = 0
	for _, t := range trials {
		addCounts(&whole, t)
		whole.Elapsed, whole.Skipped = whole.Elapsed+t.Elapsed, whole.Skipped+t.Skipped
		whole.Load.Burst = max(whole.Load.Burst, t.Load.Burst)
		v := &whole.Variation
		v.P50, v.P99, v.Max = max(v.P50, t.Variation.P50), max(v.P99, t.Variation.P99), max(v.Max, t.Variation.Max)
	}
	n := time.Duration(len(trials))
	whole.Elapsed, whole.Skipped = whole.Elapsed/n, whole.Skipped/n
	return whole
}

func addCounts(whole *analysis.Trial, t analysis.Trial) {
	whole.Sent += t.Sent
	whole.Received += t.Received
	whole.Duplicated += t.Duplicated
	whole.Reordered += t.Reordered
	whole.Refused += t.Refused
	whole.SocketDrops += t.SocketDrops
	whole.TunnelDrops += t.TunnelDrops
	whole.SenderTunnel = whole.SenderTunnel.Add(t.SenderTunnel)
	whole.ReceiverTunnel = whole.ReceiverTunnel.Add(t.ReceiverTunnel)
	whole.ReceiverOverruns += t.ReceiverOverruns
	whole.SentInnerBytes += t.SentInnerBytes
	whole.ReceivedInnerBytes += t.ReceivedInnerBytes
}

// mergeWindows adds up the windows index by index. Windows follow one another
// without gaps, so those of trials that began within milliseconds of one another
// cover the same time, but for a window at the end.
func mergeWindows(trials []analysis.Trial) []analysis.Window {
	count := math.MaxInt
	for _, t := range trials {
		count = min(count, len(t.Windows))
	}
	var windows []analysis.Window
	for i := range count {
		var whole analysis.Window
		for _, t := range trials {
			w := t.Windows[i]
			whole.Packets += w.Packets
			whole.Start, whole.End = whole.Start+w.Start, whole.End+w.End
			whole.MinDelay = max(whole.MinDelay, w.MinDelay)
		}
		n := time.Duration(len(trials))
		whole.Start, whole.End = whole.Start/n, whole.End/n
		windows = append(windows, whole)
	}
	return windows
}

// mostJoined leaves enough windows of a short trial.
const mostJoined = 3

// joinWindows makes one window of several that follow one another. A window of one
// tunnel among several holds few packets, and begins a little before or after the
// others': over a longer time both matter less.
func joinWindows(windows []analysis.Window, several int) []analysis.Window {
	var joined []analysis.Window
	for chunk := range slices.Chunk(windows, max(1, several)) {
		whole := chunk[0]
		for _, w := range chunk[1:] {
			whole.Packets, whole.End, whole.MinDelay = whole.Packets+w.Packets, w.End, min(whole.MinDelay, w.MinDelay)
		}
		joined = append(joined, whole)
	}
	return joined
}

// mergeFirstLoss is where all had lost a packet: only then have all buckets shown
// what they hold. The time is a mean weighted by load, since that is what a bucket
// has been refilled by meanwhile.
func mergeFirstLoss(trials []analysis.Trial) *analysis.FirstLoss {
	var packets, sent uint64
	var after float64
	for _, t := range trials {
		if t.FirstLoss == nil {
			return nil
		}
		packets, sent = packets+t.FirstLoss.Packets, sent+t.Sent
		after += float64(t.FirstLoss.After) * float64(t.Sent)
	}
	if sent == 0 {
		return nil
	}
	return &analysis.FirstLoss{Packets: packets, After: time.Duration(after / float64(sent))}
}

// busiest is the host whose busiest core idled least.
func busiest(trials []analysis.Trial, host func(analysis.Trial) analysis.Host) analysis.Host {
	return host(slices.MinFunc(trials, func(a, b analysis.Trial) int {
		return cmp.Compare(leastIdle(host(a)), leastIdle(host(b)))
	}))
}

// leastIdle is the share of time in which the busiest core had nothing to do.
func leastIdle(h analysis.Host) float64 {
	least := 1.0
	for _, core := range h.Cores {
		least = min(least, core.Idle)
	}
	return least
}
