package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/cmd/internal/control/bridgetest"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/hoststat"
	"tunnelmark/tunnel"
)

// Every number that this side has reaches the contract, and every field of the
// contract is filled.
func TestNothingIsLostInConversion(t *testing.T) {
	var load controlv1.Load
	bridgetest.Fill(&load)
	var sent probe.Sent
	bridgetest.Fill(&sent)
	var received probe.Received
	bridgetest.Fill(&received)
	var counters tunnel.Counters
	bridgetest.Fill(&counters)
	var host hoststat.Delta
	bridgetest.Fill(&host)
	host.Cores[0].SoftnetTimeSqueezed = 0 // No verdict looks at it.
	for name, c := range map[string]struct{ from, to any }{
		"load":     {&load, loadFrom(&load)},
		"sent":     {sent, sentTo(sent)},
		"received": {received, receivedTo(received)},
		"counters": {counters, countersTo(counters, tunnel.Counters{})},
		"host":     {host, hostTo(host)},
	} {
		if diff := cmp.Diff(bridgetest.Numbers(c.from), bridgetest.Numbers(c.to)); diff != "" {
			t.Errorf("numbers of %s (-want +got):\n%s", name, diff)
		}
	}
	for name, c := range map[string]struct{ whole, to any }{
		"sent":     {&controlv1.Sent{}, sentTo(sent)},
		"received": {&controlv1.Received{}, receivedTo(received)},
		"counters": {&controlv1.TunnelCounters{}, countersTo(counters, tunnel.Counters{})},
		"host":     {&controlv1.Host{}, hostTo(host)},
	} {
		bridgetest.Fill(c.whole)
		if got, want := len(bridgetest.Numbers(c.to)), len(bridgetest.Numbers(c.whole)); got != want {
			t.Errorf("%d fields of the contract's %s are filled, want all %d", got, name, want)
		}
	}
}

// Counters are of the trial, not of the tunnel's life.
func TestCountersAreDifferences(t *testing.T) {
	var before, after tunnel.Counters
	bridgetest.Fill(&before)
	bridgetest.Fill(&after)
	if left := bridgetest.Numbers(countersTo(after, before)); len(left) > 0 {
		t.Errorf("between equal readings there is %v", left)
	}
}
