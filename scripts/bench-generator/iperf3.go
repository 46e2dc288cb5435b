package main

import (
	"context"
	"math"
	"time"

	"tunnelmark/scripts/internal/bench"
)

// runIperf3 offers a load with iperf3.
func runIperf3(ctx context.Context, p *bench.Pair, j job, d time.Duration) (outcome, error) {
	load := bench.Iperf3{To: receiverAddress, Duration: d, Flows: j.Flows, InnerSize: j.InnerSize, InnerBitsPerSecond: j.InnerBitsPerSecond}
	result, done, err := p.Iperf3(ctx, load)
	if err != nil {
		return outcome{}, err
	}
	o := iperf3Outcome(result, j)
	o.senderCPU, o.receiverCPU, o.hostBusy = done.SenderCPU, done.ReceiverCPU, done.HostBusy
	return o, nil
}

func iperf3Outcome(r bench.Iperf3Result, j job) outcome {
	o := outcome{elapsed: r.Elapsed()}
	if j.Protocol == tcpLoad {
		o.goodputBytesReceived = r.GoodputBytesReceived()
		return o
	}
	o.packetsSent, o.packetsReceived = r.PacketsSent(), r.PacketsReceived()
	o.innerBytesReceived = o.packetsReceived * uint64(j.InnerSize)
	if j.paced() {
		o.pacing = iperf3Pacing(r, j)
	}
	return o
}

// iperf3Pacing judges iperf3 by what it says it sent. How much it sends back to
// back it does not say, so that two of its bursts are two datagrams here.
func iperf3Pacing(r bench.Iperf3Result, j job) pacing {
	payload := float64(j.InnerSize - bench.Headers)
	mean := r.End.Sent.Bytes / r.End.Sent.Seconds
	even := 0
	for _, i := range r.Intervals {
		want := mean * i.Sum.Seconds
		if math.Abs(i.Sum.Bytes-want) <= max(want/100, 2*payload) {
			even++
		}
	}
	return pacing{
		rateError: mean*8*float64(j.InnerSize)/payload/j.InnerBitsPerSecond - 1,
		within:    float64(even) / float64(len(r.Intervals)),
	}
}
