package report

import (
	"fmt"
	"time"

	"tunnelmark/analysis"
)

// tcpHeadline is the most that any of the loads of TCP brought through.
func tcpHeadline(trials []analysis.TCPTrial) headline {
	best := trials[0]
	for _, t := range trials[1:] {
		if t.ReceivedGoodputRate() > best.ReceivedGoodputRate() {
			best = t
		}
	}
	return headline{
		Title: "Delivered", Rate: formatRate(best.ReceivedGoodputRate()), Layer: "goodput",
		Facts: []fact{
			{Name: "Sent", Value: formatRate(best.SentGoodputRate()) + " goodput", Note: flowsOf(best)},
			{Name: "Resent", Value: formatCount(best.Retransmits()) + " segments"},
			{Name: "Effort", Value: formatDuration(best.Elapsed), Note: bestOf(len(trials))},
		},
	}
}

func flowsOf(t analysis.TCPTrial) string {
	flows := len(t.PerFlow)
	if flows == 1 {
		return listed("1 flow", congestion(t))
	}
	return listed(formatCount(flows)+" flows", congestion(t))
}

// congestion is what the flows used, else what was asked for.
func congestion(t analysis.TCPTrial) string {
	if len(t.PerFlow) > 0 {
		return Clean(t.PerFlow[0].Congestion)
	}
	return Clean(t.Load.Congestion)
}

// tcpTotals are the figures of all flows of a trial together.
type tcpTotals struct {
	minRTT, meanRTT, maxRTT   time.Duration // Mean of the flows' means.
	rwndLimited, bufferLimits float64       // Shares of the time that the flows had something to send.
	mss                       int           // The least of all flows.
}

func totalsOf(t analysis.TCPTrial) tcpTotals {
	var sum tcpTotals
	var means, busy, rwnd, sndbuf float64
	for i, f := range t.PerFlow {
		if i == 0 || f.MinRTT < sum.minRTT {
			sum.minRTT = f.MinRTT
		}
		if i == 0 || f.MSS < sum.mss {
			sum.mss = f.MSS
		}
		sum.maxRTT = max(sum.maxRTT, f.MaxRTT)
		means += f.MeanRTT.Seconds()
		busy, rwnd, sndbuf = busy+f.Busy.Seconds(), rwnd+f.RwndLimited.Seconds(), sndbuf+f.SndbufLimited.Seconds()
	}
	if len(t.PerFlow) > 0 {
		sum.meanRTT = time.Duration(means / float64(len(t.PerFlow)) * float64(time.Second))
	}
	if busy > 0 {
		sum.rwndLimited, sum.bufferLimits = rwnd/busy, sndbuf/busy
	}
	return sum
}

// tcpRow is one trial of TCP in a table.
type tcpRow struct {
	Number                                        int
	Direction, Flows, Sent, Received, Retransmits string
	RTT, Duration, Remarks                        string
}

func (r Result) tcpRows() []tcpRow {
	var rows []tcpRow
	for i, t := range r.TCP {
		totals := totalsOf(t)
		rows = append(rows, tcpRow{
			Number: i + 1, Direction: r.direction(t.Reverse), Flows: flowsOf(t), Duration: formatDuration(t.Elapsed),
			Sent: formatRate(t.SentGoodputRate()), Received: formatRate(t.ReceivedGoodputRate()), Retransmits: formatCount(t.Retransmits()),
			RTT:     formatDuration(totals.minRTT) + " / " + formatDuration(totals.meanRTT) + " / " + formatDuration(totals.maxRTT),
			Remarks: listed(stopped(t.Stopped), counted(t.TunnelDrops, "dropped in the tunnel"+byReason(t.SenderTunnel, t.ReceiverTunnel))),
		})
	}
	return rows
}

// describe is a row as one line.
func (t tcpRow) describe() string {
	return fmt.Sprintf("%s: %s goodput received, %s retransmitted, %s", t.Direction, t.Received, t.Retransmits, t.Flows)
}

// stopped says why a load ended before its time.
func stopped(why string) string {
	if why == "" {
		return ""
	}
	return "stopped: " + Clean(why)
}
