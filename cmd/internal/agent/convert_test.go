package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/cmd/internal/control/bridgetest"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/hoststat"
	"tunnelmark/probe/pmtu"
	"tunnelmark/probe/tcp"
	"tunnelmark/tunnel"
)

// Every number that this side has reaches the contract, and every field of the
// contract is filled.
func TestNothingIsLostInConversion(t *testing.T) {
	var load controlv1.Load
	bridgetest.Fill(&load)
	var tcpLoad controlv1.TCPLoad
	bridgetest.Fill(&tcpLoad)
	sent, tcpSent := filled[probe.Sent](), filled[tcp.Sent]()
	received, counters := filled[probe.Received](), filled[tunnel.Counters]()
	host, clear := filled[hoststat.Delta](), filled[hoststat.Network]()
	quantiles, direction := filled[probe.Quantiles](), filled[pmtu.Direction]()
	for name, c := range map[string]struct{ from, to any }{
		"load":      {&load, loadFrom(&load)},
		"TCP load":  {&tcpLoad, tcpLoadFrom(&tcpLoad)},
		"sent":      {sent, sentTo(sent)},
		"received":  {received, receivedTo(received)},
		"counters":  {counters, countersTo(counters, tunnel.Counters{})},
		"quantiles": {quantiles, quantilesTo(quantiles)},
	} {
		if diff := cmp.Diff(bridgetest.Numbers(c.from), bridgetest.Numbers(c.to)); diff != "" {
			t.Errorf("numbers of %s (-want +got):\n%s", name, diff)
		}
	}
	for name, c := range map[string]struct{ whole, to any }{
		"sent":      {&controlv1.Sent{}, sentTo(sent)},
		"TCP sent":  {&controlv1.TCPSent{}, tcpSentTo(tcpSent)},
		"received":  {&controlv1.Received{}, receivedTo(received)},
		"counters":  {&controlv1.TunnelCounters{}, countersTo(counters, tunnel.Counters{})},
		"direction": {&controlv1.PathMTU{}, directionTo(direction)},
	} {
		bridgetest.Fill(c.whole)
		if got, want := len(bridgetest.Numbers(c.to)), len(bridgetest.Numbers(c.whole)); got != want {
			t.Errorf("%d fields of the contract's %s are filled, want all %d", got, name, want)
		}
	}
	got := hostTo(host, clear)
	if len(got.GetInterfaces()) != 2 || got.GetUdpReceiveErrors() != clear.UDP.ReceiveBufferErrors || got.GetBusyNs() != int64(host.Busy) {
		t.Errorf("of the host: %v", got)
	}
}

// filled is a value of which every number is set.
func filled[T any]() (value T) {
	bridgetest.Fill(&value)
	return value
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
