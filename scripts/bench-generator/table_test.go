package main

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/scripts/internal/bench"
)

var update = flag.Bool("update", false, "write the golden files anew")

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
		options: bench.Options{Rounds: 3, Duration: 2 * time.Second},
		rows:    rows,
		machine: bench.Machine{Cores: 2, CPU: "a CPU", Kernel: "6.18", Golang: "go1.26", Iperf3: "iperf 3.12"},
	}
	r.Failures = []string{"round 3: iperf3: UDP, 1400 B: iperf3: exit status 1:\nno route"}
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
		r.Outcomes = append(r.Outcomes, round)
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
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("report (-want +got), -update writes it anew:\n%s", diff)
	}
}
