package main

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/scripts/internal/bench"
	"tunnelmark/tunnel"
)

var update = flag.Bool("update", false, "write the golden files anew")

func goodput(bytes uint64) outcome {
	return outcome{
		goodputBytesReceived: bytes, elapsed: time.Second,
		senderCPU: 700 * time.Millisecond, receiverCPU: 800 * time.Millisecond, iperf3CPU: 400 * time.Millisecond, hostBusy: 2 * time.Second,
	}
}

func packets(received uint64) outcome {
	o := goodput(0)
	o.packetsSent, o.packetsReceived, o.innerBytesReceived = 2*received, received, 1400*received
	return o
}

// Three rounds, in the last of which wireguard-go failed; strongSwan was not there.
func sampleResults() results {
	const ours, noCrypto = "esp/aes-128-gcm", "esp/null-null"
	one, big := load{Flows: 1}, load{InnerSize: 1400}
	r := results{
		options: bench.Options{Rounds: 3, Duration: 2 * time.Second},
		machine: bench.Machine{Cores: 2, CPU: "a CPU", Kernel: "6.18", Golang: "go1.26", Iperf3: "iperf 3.12"},
		plan:    plan{planes: []plane{{name: ours}, {name: noCrypto}, {name: wireguardGoName}, {name: strongSwanName}}, loads: []load{one, big}},
		details: map[string][]tunnel.Detail{wireguardGoName: {{Name: "module", Value: "v0.0.1"}}},
		missing: []string{"strongswan: no charon: not supported"},
	}
	r.Failures = []string{"round 3: tcp/1 over wireguard-go: iperf3: exit status 1:\nno route"}
	for i := range uint64(3) {
		round := map[job]outcome{
			{ours, one}:     goodput((6 + i) * 100_000_000),
			{noCrypto, one}: goodput(1_000_000_000),
			{ours, big}:     packets((2 + i) * 100_000),
		}
		if i < 2 {
			round[job{wireguardGoName, one}] = goodput(300_000_000)
			round[job{wireguardGoName, big}] = packets(100_000)
		}
		r.Outcomes = append(r.Outcomes, round)
	}
	return r
}

func TestReport(t *testing.T) {
	const golden = "testdata/report.md"
	got := report(sampleResults())
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

func TestNewOutcome(t *testing.T) {
	var r bench.Iperf3Result
	r.End.Received = bench.Iperf3Sum{Seconds: 2, Bytes: 36_000, Packets: 1000, Lost: 100}
	for l, want := range map[load]outcome{
		{Flows: 4}:      {elapsed: 2 * time.Second, goodputBytesReceived: 36_000},
		{InnerSize: 64}: {elapsed: 2 * time.Second, packetsSent: 1000, packetsReceived: 900, innerBytesReceived: 57_600},
	} {
		if diff := cmp.Diff(want, newOutcome(r, l), cmp.AllowUnexported(outcome{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l, diff)
		}
	}
}
