package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/scripts/internal/bench"
)

var brief = bench.Options{Rounds: 1, Duration: time.Second}

func mustPlan(t *testing.T, only ...string) []row {
	t.Helper()
	rows, err := plan(only)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// Both tools carry load over the link; how much is not this test's to say.
func TestIntegrationMeasure(t *testing.T) {
	labtest.CheckLeaks(t)
	labtest.NeedProgram(t, "iperf3")
	rows := mustPlan(t, "udp/1400/gso", "tcp/1", "pacing/1400/10M")
	got, err := measure(t.Context(), brief, rows, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, failure := range got.Failures {
		t.Error(failure)
	}
	for _, j := range jobs(rows) {
		o := got.Outcomes[0][j]
		carried := o.packetsReceived > 0 || o.goodputBytesReceived > 0
		// The host's time is counted by the kernel's ticks (proc_stat(5)), between
		// which the short work of a paced load can fall every time.
		hostTold := o.hostBusy > 0 || j.paced()
		if !carried || o.elapsed < brief.Duration/2 || o.senderCPU <= 0 || o.receiverCPU <= 0 || !hostTold {
			t.Errorf("%s: got %+v", j, o)
		}
	}
}

// A load that fails is told, and the others are offered.
func TestIntegrationMeasureGoesOn(t *testing.T) {
	labtest.CheckLeaks(t)
	labtest.NeedProgram(t, "iperf3")
	small := job{Tool: ours, Protocol: udpLoad, InnerSize: 29}
	rows := append([]row{{section: sectionUDP, ours: small, theirs: job{Tool: iperf3, Protocol: udpLoad, InnerSize: 29}}},
		mustPlan(t, "pacing/1400/1M")...)
	got, err := measure(t.Context(), brief, rows, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Failures) != 2 || len(got.Outcomes[0]) != 2 {
		t.Errorf("got failures %q and %d outcomes, want two of each", got.Failures, len(got.Outcomes[0]))
	}
}

// interrupter cancels once a load has begun.
type interrupter struct{ cancel context.CancelFunc }

func (i interrupter) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "load 1 of") {
		time.AfterFunc(300*time.Millisecond, i.cancel)
	}
	return len(b), nil
}

func TestIntegrationMeasureInterrupted(t *testing.T) {
	for _, tool := range []string{"ours", "iperf3"} {
		t.Run(tool, func(t *testing.T) {
			labtest.CheckLeaks(t)
			labtest.NeedProgram(t, "iperf3")
			rows := mustPlan(t, "tcp/1")
			if tool == "iperf3" {
				rows[0].ours = rows[0].theirs
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if _, err := measure(ctx, brief, rows, interrupter{cancel}); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want that it was cancelled", err)
			}
		})
	}
}

func TestOfferWithoutMaximum(t *testing.T) {
	j := job{Tool: ours, Protocol: udpLoad, InnerSize: 64, ShareOfMaximum: 0.8}
	if _, err := offer(t.Context(), nil, j, time.Second, nil); err == nil || !strings.Contains(err.Error(), "maximum") {
		t.Errorf("got error %v, want that the maximum is not known", err)
	}
}
