package main

import (
	"time"

	"tunnelmark/scripts/internal/bench"
)

// outcome is what one load came to over one data plane.
type outcome struct {
	packetsSent, packetsReceived uint64 // Of UDP.
	innerBytesReceived           uint64 // Of UDP.
	goodputBytesReceived         uint64 // Of TCP.
	elapsed                      time.Duration

	// senderCPU and receiverCPU are of the data plane's processes at both ends.
	senderCPU, receiverCPU time.Duration
	iperf3CPU              time.Duration // Of both ends.
	hostBusy               time.Duration // Of all cores, whatever they did.
}

func newOutcome(r bench.Iperf3Result, l load) outcome {
	if l.isTCP() {
		return outcome{elapsed: r.Elapsed(), goodputBytesReceived: r.GoodputBytesReceived()}
	}
	return outcome{
		elapsed: r.Elapsed(), packetsSent: r.PacketsSent(), packetsReceived: r.PacketsReceived(),
		innerBytesReceived: r.PacketsReceived() * uint64(l.InnerSize),
	}
}

// Brief is an outcome for the progress line.
func (o outcome) Brief() string {
	if o.goodputBytesReceived > 0 {
		return bench.Quantity(o.goodputBitsPerSecond()) + "bit/s of goodput"
	}
	return bench.Quantity(o.packetsPerSecond()) + "packets/s"
}

func (o outcome) packetsPerSecond() float64 { return float64(o.packetsReceived) / o.elapsed.Seconds() }

func (o outcome) innerBitsPerSecond() float64 {
	return float64(o.innerBytesReceived) * 8 / o.elapsed.Seconds()
}

func (o outcome) goodputBitsPerSecond() float64 {
	return float64(o.goodputBytesReceived) * 8 / o.elapsed.Seconds()
}

func (o outcome) lossRatio() float64 {
	return 1 - float64(o.packetsReceived)/float64(o.packetsSent)
}

// coresPerGbit and its like are CPU time per 10^9 bits: of TCP's goodput, or of
// UDP's inner packets that were received. All cores' is a half of it, since there
// are two ends.
func (o outcome) coresPerGbit() float64 { return o.perGbit(o.hostBusy) / 2 }

func (o outcome) senderCoresPerGbit() float64 { return o.perGbit(o.senderCPU) }

func (o outcome) receiverCoresPerGbit() float64 { return o.perGbit(o.receiverCPU) }

// restCores is how many cores were busy with neither the data plane nor iperf3. The
// kernel counts both sides by its ticks, so that the difference may fall below zero.
func (o outcome) restCores() float64 {
	rest := o.hostBusy - o.senderCPU - o.receiverCPU - o.iperf3CPU
	return max(0, rest.Seconds()/o.elapsed.Seconds())
}

// perGbit of nothing is not finite, and shown as missing.
func (o outcome) perGbit(spent time.Duration) float64 {
	bits := 8 * float64(o.goodputBytesReceived+o.innerBytesReceived)
	return spent.Seconds() / (bits / 1e9)
}
