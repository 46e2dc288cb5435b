package iperf

import (
	"math"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

// direction is one direction of a load that is over, as iperf3 counts.
type direction struct {
	protocol Protocol
	reverse  bool // From To to From.
	// flows is empty where only their sum is known.
	flows      []flow
	sum        flow
	congestion string
	sender     analysis.Host
	receiver   analysis.Host
	elapsed    time.Duration
}

// flow is one stream of iperf3, or all of a direction together. Bytes are of payload.
type flow struct {
	id int // Counts from 1 over both directions; iperf3 shows the socket's number there.
	// Ports are those of From and of To. Zero: not known.
	localPort, remotePort uint16

	sent, received       uint64
	sentFor, receivedFor time.Duration

	// Of TCP.
	retransmits               uint64
	minRTT, meanRTT, maxRTT   time.Duration
	maxCwnd                   int
	packets, lost, outOfOrder uint64         // Of UDP.
	jitter                    *time.Duration // Nil where it is not known: of one of several flows of UDP.
}

// sentRate and receivedRate are in bit/s.
func (f flow) sentRate() float64     { return rate(f.sent, f.sentFor) }
func (f flow) receivedRate() float64 { return rate(f.received, f.receivedFor) }

func rate(bytes uint64, in time.Duration) float64 {
	if in <= 0 {
		return 0
	}
	return float64(bytes) * 8 / in.Seconds()
}

// percent is 0 to 100.
func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return min(100, 100*float64(part)/float64(whole))
}

// directions are those of a result: the load that went there, then the one that came
// back. A command offers at most one load each way; of more the first are taken.
func (s Setup) directions(r report.Result) []direction {
	var there, back []direction
	for _, d := range s.all(r) {
		if d.reverse {
			back = append(back, d)
		} else {
			there = append(there, d)
		}
	}
	chosen := append(there[:min(1, len(there))], back[:min(1, len(back))]...)
	number(chosen)
	return chosen
}

func (s Setup) all(r report.Result) []direction {
	var all []direction
	for _, t := range r.Trials {
		all = append(all, s.ofUDP(t))
	}
	for _, t := range r.TCP {
		all = append(all, ofTCP(t))
	}
	return all
}

// number gives each flow its number.
func number(directions []direction) {
	id := 0
	for _, d := range directions {
		for i := range d.flows {
			id++
			d.flows[i].id = id
		}
	}
}

func ofTCP(t analysis.TCPTrial) direction {
	d := direction{
		protocol: TCP, reverse: t.Reverse, sender: t.Sender, receiver: t.Receiver, elapsed: t.Elapsed, congestion: t.Load.Congestion,
		sum: flow{
			sent: t.SentGoodputBytes, received: t.ReceivedGoodputBytes, sentFor: t.Elapsed, receivedFor: t.ReceivedElapsed,
			retransmits: t.Retransmits(),
		},
	}
	for _, f := range t.PerFlow {
		one := flow{
			localPort: f.LocalPort, remotePort: f.RemotePort,
			sent: f.SentGoodputBytes, received: f.ReceivedGoodputBytes, sentFor: t.Elapsed, receivedFor: t.ReceivedElapsed,
			retransmits: f.Retransmits, minRTT: f.MinRTT, meanRTT: f.MeanRTT, maxRTT: f.MaxRTT, maxCwnd: f.MaxCwnd,
		}
		if t.Reverse { // The ports are the sender's view.
			one.localPort, one.remotePort = one.remotePort, one.localPort
		}
		d.flows, d.congestion = append(d.flows, one), f.Congestion
	}
	return d
}

// ofUDP takes the sender's time for both ends: the receiver counts no other.
func (s Setup) ofUDP(t analysis.Trial) direction {
	jitter := t.Variation.Jitter
	sum := flow{
		sent:     s.goodput(bytesOf(t.SentInnerBytes, t.Sent, t.InnerSize), t.Sent),
		received: s.goodput(bytesOf(t.ReceivedInnerBytes, t.Received, t.InnerSize), t.Received),
		sentFor:  t.Elapsed, receivedFor: t.Elapsed,
		packets: t.Sent, lost: t.Lost(), outOfOrder: t.Reordered, jitter: &jitter,
	}
	return direction{
		protocol: UDP, reverse: t.Reverse, sender: t.Sender, receiver: t.Receiver, elapsed: t.Elapsed, sum: sum,
		flows: s.flowsOfUDP(t, sum),
	}
}

// bytesOf is what was counted, or what packets of one size make.
func bytesOf(counted, packets uint64, size int) uint64 {
	if counted > 0 {
		return counted
	}
	return packets * uint64(max(0, size))
}

// flowsOfUDP shares the bytes by packets, since all flows send the same mix.
func (s Setup) flowsOfUDP(t analysis.Trial, sum flow) []flow {
	if len(t.PerFlow) == 0 && t.Load.Flows <= 1 {
		sum.localPort, sum.remotePort = s.Local.Port(), s.Remote.Port()
		return []flow{sum}
	}
	var flows []flow
	for _, f := range t.PerFlow {
		one := flow{
			sent: share(sum.sent, f.Sent, t.Sent), received: share(sum.received, f.Received, t.Received),
			sentFor: t.Elapsed, receivedFor: t.Elapsed,
			packets: f.Sent, lost: f.Sent - min(f.Sent, f.Received), outOfOrder: f.Reordered,
			localPort: f.Port, remotePort: s.Remote.Port(),
		}
		if t.Reverse {
			one.localPort, one.remotePort = s.Local.Port(), f.Port
		}
		flows = append(flows, one)
	}
	return flows
}

func share(bytes, part, whole uint64) uint64 {
	if whole == 0 {
		return 0
	}
	return uint64(math.Round(float64(bytes) * min(1, float64(part)/float64(whole))))
}
