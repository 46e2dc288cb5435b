package main

import (
	"flag"
	"math"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		figures []float64
		want    float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 4}, 4},
		{[]float64{9, 1, 4, 6}, 5},
		{[]float64{-1, 1, 1000, 0, 2}, 1},
	} {
		if got := median(tt.figures); got != tt.want {
			t.Errorf("median of %v: got %g, want %g", tt.figures, got, tt.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing: got %g", got)
	}
}

func TestQuantity(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{
		{0, "0.00 "}, {1, "1.00 "}, {89.31, "89.3 "}, {999.4, "999 "}, {999.6, "1.00 k"},
		{255_312, "255 k"}, {9_994_000, "9.99 M"}, {9_996_000, "10.0 M"}, {31.4e9, "31.4 G"},
		{-120_000, "-120 k"}, {5e15, "5000 T"}, {math.NaN(), "– "}, {math.Inf(1), "– "},
	} {
		if got := quantity(tt.v); got != tt.want {
			t.Errorf("%g: got %q, want %q", tt.v, got, tt.want)
		}
	}
}

// sample is a round's outcome of a tool that got so many packets or bytes through.
func sample(received uint64, sender time.Duration) outcome {
	return outcome{
		packetsSent: 2 * received, packetsReceived: received, innerBytesReceived: 1400 * received,
		elapsed: time.Second, senderCPU: sender, receiverCPU: 900 * time.Millisecond, hostBusy: 2 * time.Second,
		pacing: pacing{rateError: 1e-6, within: 0.995, burst: 4, offCPU: 0.001},
	}
}

func goodput(bytes uint64) outcome {
	return outcome{goodputBytesReceived: bytes, elapsed: time.Second, senderCPU: time.Second, receiverCPU: time.Second, hostBusy: 2 * time.Second}
}

// Three rounds, of which iperf3 failed in the last at 1400 B.
func sampleResults(t testing.TB) results {
	t.Helper()
	rows, err := plan([]string{"udp/1400/gro", "udp/512/gso", "tcp/4", "pacing/1400/350M"})
	if err != nil {
		t.Fatal(err)
	}
	small, big, tcp, paced := rows[0], rows[1], rows[2], rows[3]
	r := results{
		options:  options{rounds: 3, duration: 2 * time.Second},
		rows:     rows,
		failures: []string{"round 3: iperf3: UDP, 1400 B: iperf3: exit status 1:\nno route"},
		machine:  machine{cores: 2, cpu: "a CPU", kernel: "6.18", golang: "go1.26", iperf3: "iperf 3.12"},
	}
	for i := range uint64(3) {
		round := map[job]outcome{
			big.ours:   sample((6+i)*1_000_000, time.Second),
			tcp.ours:   goodput(8e9 + i*1e9),
			tcp.theirs: goodput(5e9),
			paced.ours: sample(31_250, 400*time.Millisecond),
		}
		if i < 2 {
			round[big.theirs] = sample(250_000, time.Second)
			round[paced.theirs] = sample(31_000, 300*time.Millisecond)
		}
		round[small.ours] = sample(1000, time.Second) // Never one of iperf3.
		r.rounds = append(r.rounds, round)
	}
	return r
}

func TestReport(t *testing.T) {
	const golden = "testdata/report.md"
	got := report(sampleResults(t))
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(fixture(t, "report.md")), got); diff != "" {
		t.Errorf("report (-want +got), -update writes it anew:\n%s", diff)
	}
}
