package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/scripts/internal/bench"
	"tunnelmark/tunnel"
)

var brief = bench.Options{Rounds: 1, Duration: time.Second}

func mustPlan(t *testing.T, only ...string) plan {
	t.Helper()
	p, err := newPlan(only)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// buildWireGuardGo puts wireguard-go's program where this one looks for it.
func buildWireGuardGo(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(folder, wireguardGoName), "golang.zx2c4.com/wireguard")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

// Every kind of data plane carries load; how much is not this test's to say.
func TestIntegrationMeasure(t *testing.T) {
	labtest.CheckLeaks(t)
	labtest.NeedProgram(t, "iperf3")
	labtest.NeedProgram(t, "swanctl")
	buildWireGuardGo(t)
	p := mustPlan(t, "esp/aes-128-gcm", "wireguard-go", "strongswan", "tcp/1", "udp/1400")
	got, err := measure(t.Context(), brief, p, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, failure := range append(got.Failures, got.missing...) {
		t.Error(failure)
	}
	jobs := p.jobs([]string{"esp/aes-128-gcm", "wireguard-go", "strongswan"})
	for _, j := range jobs {
		o := got.Outcomes[0][j]
		carried := o.packetsReceived > 0 || o.goodputBytesReceived > 0
		if !carried || o.elapsed < brief.Duration/2 || o.senderCPU <= 0 || o.receiverCPU <= 0 || o.hostBusy <= 0 {
			t.Errorf("%s: got %+v", j, o)
		}
	}
	if details := got.details[wireguardGoName]; len(details) != 1 || !strings.HasPrefix(details[0].Value, "v0.") {
		t.Errorf("got %v of wireguard-go, want its module's version", details)
	}
}

// A data plane that this machine lacks, and one that does not come up, are told; the
// others are measured.
func TestIntegrationMeasureGoesOn(t *testing.T) {
	labtest.CheckLeaks(t)
	labtest.NeedProgram(t, "iperf3")
	p := mustPlan(t, "esp/aes-128-gcm", "tcp/1")
	lacking := plane{name: "lacking", check: func(tunnel.Spec) error { return tunnel.ErrNotSupported }}
	unknown := plane{name: "unknown to halves", check: func(tunnel.Spec) error { return nil }}
	p.planes = append(p.planes, lacking, unknown)
	got, err := measure(t.Context(), brief, p, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.missing) != 1 || !strings.HasPrefix(got.missing[0], "lacking: ") {
		t.Errorf("got %q as missing", got.missing)
	}
	if len(got.Failures) != 1 || !strings.Contains(got.Failures[0], `there is no data plane "unknown to halves"`) {
		t.Errorf("got failures %q", got.Failures)
	}
	if len(got.Outcomes[0]) != 1 {
		t.Errorf("got %d outcomes, want one", len(got.Outcomes[0]))
	}
}

// interrupter cancels soon after a word has been written.
type interrupter struct {
	word   string
	cancel context.CancelFunc
}

func (i interrupter) Write(b []byte) (int, error) {
	if strings.Contains(string(b), i.word) {
		time.AfterFunc(100*time.Millisecond, i.cancel)
	}
	return len(b), nil
}

// An interrupt leaves neither processes nor namespaces, whatever it meets:
// CheckLeaks looks.
func TestIntegrationMeasureInterrupted(t *testing.T) {
	for _, word := range []string{"wireguard-go: ", "strongswan: ", "load 1 of"} {
		t.Run(word, func(t *testing.T) {
			labtest.CheckLeaks(t)
			labtest.NeedProgram(t, "iperf3")
			labtest.NeedProgram(t, "swanctl")
			buildWireGuardGo(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p := mustPlan(t, "esp/aes-128-gcm", "wireguard-go", "strongswan", "tcp/1")
			if _, err := measure(ctx, brief, p, interrupter{word, cancel}); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want that it was cancelled", err)
			}
		})
	}
}
