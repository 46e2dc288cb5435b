package controller

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
	"tunnelmark/cmd/internal/control/bridgetest"
	"tunnelmark/cmd/internal/control/controlv1"
)

// Every number of a load reaches the contract but the idle time, which the
// controller itself waits for.
func TestLoadTo(t *testing.T) {
	var load analysis.Load
	bridgetest.Fill(&load)
	load.Idle = 0
	const size = 99
	if diff := cmp.Diff(append(bridgetest.Numbers(load), size), bridgetest.Numbers(loadTo(load, size))); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
}

// Every number that the agents count reaches the trial, but those that no
// analysis looks at.
func TestTrialFrom(t *testing.T) {
	var sent controlv1.SendResponse
	bridgetest.Fill(&sent)
	var received controlv1.ReceiveResult
	bridgetest.Fill(&received)
	sent.Tunnel, received.Tunnel = nil, nil   // See TestDrops.
	sent.Tunnels, received.Tunnels = nil, nil // See TestCountOfSeveralTunnels.
	// Not in analysis.Trial:
	sent.Sent.HelloRttNs, received.Received.Malformed = 0, 0
	for _, host := range []*controlv1.Host{sent.Host, received.Host} {
		host.UdpReceiveErrors, host.Cores[0].Number = 0, 0
	}
	want := slices.Concat(bridgetest.Numbers(&sent), bridgetest.Numbers(&received))
	slices.Sort(want)
	trial := trialFrom(analysis.Load{}, 0, 0, &sent, &received)
	if diff := cmp.Diff(want, bridgetest.Numbers(trial)); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	if trial.Sent != sent.Sent.GetPackets() || trial.Received != received.Received.GetPackets() {
		t.Errorf("sent %d, received %d", trial.Sent, trial.Received)
	}
	if trial.Sender.Cores[0].User != sent.Host.Cores[0].GetUser() || trial.Receiver.Cores[0].Idle != received.Host.Cores[0].GetIdle() {
		t.Error("the hosts are mixed up")
	}
}

// Each reason for which a tunnel drops a packet counts, at both ends; packets
// that passed and reports of the outer network do not.
func TestDrops(t *testing.T) {
	var counters controlv1.TunnelCounters
	bridgetest.Fill(&counters)
	var all float64
	for _, number := range bridgetest.Numbers(&counters) {
		all += number
	}
	passed := counters.GetOutPackets() + counters.GetOutInnerBytes() + counters.GetInPackets() + counters.GetInInnerBytes() + counters.GetOuterErrors()
	want := 2 * (uint64(all) - passed)
	trial := trialFrom(analysis.Load{}, 0, 0, &controlv1.SendResponse{Tunnel: &counters}, &controlv1.ReceiveResult{Tunnel: &counters})
	if trial.TunnelDrops != want {
		t.Errorf("tunnel drops %d, want %d", trial.TunnelDrops, want)
	}
}
