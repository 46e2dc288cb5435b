package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tunnelmark/scripts/internal/bench"
)

func TestIperf3Outcome(t *testing.T) {
	sum := bench.Iperf3Sum{Seconds: 2, Bytes: 70000, Packets: 1000, Lost: 100}
	udp := job{Protocol: udpLoad, InnerSize: 98, InnerBitsPerSecond: 392_392}
	for _, tt := range []struct {
		job  job
		want outcome
	}{
		{job{Protocol: tcpLoad, Flows: 2}, outcome{goodputBytesReceived: 70000, elapsed: 2e9}},
		{job{Protocol: udpLoad, InnerSize: 98}, outcome{packetsSent: 1000, packetsReceived: 900, innerBytesReceived: 900 * 98, elapsed: 2e9}},
		{udp, outcome{
			packetsSent: 1000, packetsReceived: 900, innerBytesReceived: 900 * 98, elapsed: 2e9,
			pacing: pacing{rateError: -0.000999, within: 1},
		}},
	} {
		var r bench.Iperf3Result
		r.End.Sent, r.End.Received = sum, sum
		r.Intervals = []bench.Iperf3Interval{{Sum: sum}}
		got := iperf3Outcome(r, tt.job)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(outcome{}, pacing{}), cmpopts.EquateApprox(0, 1e-6)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.job, diff)
		}
	}
}

// A window may be off by 1 %, or by two datagrams where those are more.
func TestIperf3Pacing(t *testing.T) {
	interval := func(bytes float64) bench.Iperf3Interval {
		return bench.Iperf3Interval{Sum: bench.Iperf3Sum{Seconds: 0.1, Bytes: bytes}}
	}
	for _, tt := range []struct {
		name  string
		bytes []float64 // Of each interval; the mean is 100,000.
		size  int
		want  float64
	}{
		{"even", []float64{100_000, 100_000}, 128, 1},
		{"within 1 %", []float64{101_000, 99_000}, 128, 1},
		{"beyond 1 %", []float64{101_001, 99_001, 100_000, 99_998}, 128, 0.75},
		{"within two datagrams", []float64{102_000, 98_000}, 1028, 1},
		{"beyond two datagrams", []float64{102_001, 97_999}, 1028, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r bench.Iperf3Result
			for _, bytes := range tt.bytes {
				r.Intervals = append(r.Intervals, interval(bytes))
			}
			r.End.Sent = bench.Iperf3Sum{Seconds: 1, Bytes: 1e6}
			if got := iperf3Pacing(r, job{InnerSize: tt.size, InnerBitsPerSecond: 8e6}); got.within != tt.want {
				t.Errorf("got a share of %g within, want %g", got.within, tt.want)
			}
		})
	}
}
