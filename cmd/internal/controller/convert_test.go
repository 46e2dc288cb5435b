package controller

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control/bridgetest"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/tunnel"
)

// Every number of a load reaches the contract but the idle time, which the
// controller itself waits for.
func TestLoadTo(t *testing.T) {
	var load analysis.Load
	bridgetest.Fill(&load)
	load.Idle = 0
	if diff := cmp.Diff(bridgetest.Numbers(load), bridgetest.Numbers(loadTo(load))); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	var tcp analysis.TCPLoad
	bridgetest.Fill(&tcp)
	if diff := cmp.Diff(bridgetest.Numbers(tcp), bridgetest.Numbers(tcpLoadTo(tcp))); diff != "" {
		t.Errorf("numbers of TCP (-want +got):\n%s", diff)
	}
}

// Every number that the agents count reaches the trial, but those that no
// analysis looks at.
func TestTrialFrom(t *testing.T) {
	sent, received := filledResults()
	sent.Tcp, sent.PathMtu, received.Tcp = nil, nil, nil
	sent.Udp.HelloRttNs, received.Udp.Malformed = 0, 0 // Not in analysis.Trial.
	want := slices.Concat(bridgetest.Numbers(sent), bridgetest.Numbers(received))
	slices.Sort(want)
	trial := trialFrom(analysis.Load{Flows: 2}, func(int) int { return 0 }, done{sent: sent, received: received})
	trial.Load.Flows = 0
	if diff := cmp.Diff(want, bridgetest.Numbers(trial)); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	if trial.Sent != sent.Udp.GetPackets() || trial.Received != received.Udp.GetPackets() {
		t.Errorf("sent %d, received %d", trial.Sent, trial.Received)
	}
	if trial.Sender.Cores[0].User != sent.Host.Cores[0].GetUser() || trial.Receiver.Cores[0].Idle != received.Host.Cores[0].GetIdle() {
		t.Error("the hosts are mixed up")
	}
}

// filledResults are what both ends say, without what TestDrops and
// TestCountOfSeveralTunnels look at.
func filledResults() (*controlv1.SendResult, *controlv1.ReceiveResult) {
	var sent controlv1.SendResult
	bridgetest.Fill(&sent)
	var received controlv1.ReceiveResult
	bridgetest.Fill(&received)
	sent.Tunnel, received.Tunnel = nil, nil
	sent.Tunnels, received.Tunnels = nil, nil
	for _, host := range []*controlv1.Host{sent.Host, received.Host} {
		host.Cores[0].Number = 0
	}
	return &sent, &received
}

// JSON has no word for what is no number, nor for sums that are none.
func TestCheckRatios(t *testing.T) {
	host := func(c *controlv1.Core) *controlv1.Host { return &controlv1.Host{Cores: []*controlv1.Core{{}, c}} }
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64} {
		for name, err := range map[string]error{
			"within":  checkRatios(nil, &controlv1.Pace{Within: bad}),
			"worst":   checkRatios(nil, &controlv1.Pace{Worst: bad}),
			"user":    checkRatios(host(&controlv1.Core{User: bad}), nil),
			"system":  checkRatios(host(&controlv1.Core{System: bad}), nil),
			"softirq": checkRatios(host(&controlv1.Core{Softirq: bad}), nil),
			"steal":   checkRatios(host(&controlv1.Core{Steal: bad}), nil),
			"idle":    checkRatios(host(&controlv1.Core{Idle: bad}), nil),
		} {
			if err == nil {
				t.Errorf("%s of %g is taken", name, bad)
			}
		}
	}
	core := &controlv1.Core{User: 0.25, System: 0.25, Softirq: 0.25, Steal: 0.25, Idle: 1}
	if err := checkRatios(host(core), &controlv1.Pace{Within: 1, Worst: 3}); err != nil {
		t.Error(err)
	}
}

// The same of TCP, of which each flow's bytes are summed up, too.
func TestTCPTrialFrom(t *testing.T) {
	sent, received := filledResults()
	sent.Udp, sent.PathMtu, received.Udp = nil, nil, nil
	want := slices.Concat(bridgetest.Numbers(sent), bridgetest.Numbers(received),
		[]float64{float64(sent.Tcp.Flows[0].GoodputBytes), float64(received.Tcp.FlowGoodputBytes[0])})
	slices.Sort(want)
	trial := tcpTrialFrom(analysis.TCPLoad{}, done{sent: sent, received: received})
	if diff := cmp.Diff(want, bridgetest.Numbers(trial)); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
}

// An interval and what was found of a path's MTU lose nothing.
func TestOthersFrom(t *testing.T) {
	var interval controlv1.Interval
	bridgetest.Fill(&interval)
	var mtu controlv1.PathMTU
	bridgetest.Fill(&mtu)
	for name, c := range map[string]struct{ from, to any }{
		"interval": {&interval, intervalFrom(&interval, true)},
		"path MTU": {&mtu, pathMTUFrom(&mtu)},
	} {
		if diff := cmp.Diff(bridgetest.Numbers(c.from), bridgetest.Numbers(c.to)); diff != "" {
			t.Errorf("numbers of %s (-want +got):\n%s", name, diff)
		}
	}
}

// Nothing that a half counts is lost: not on the way to package tunnel's words, nor
// from these to the trial, where each reason to drop has its name.
func TestCountsFrom(t *testing.T) {
	var wire controlv1.TunnelCounters
	bridgetest.Fill(&wire)
	counters := countersFrom(&wire)
	if diff := cmp.Diff(bridgetest.Numbers(&wire), bridgetest.Numbers(counters)); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	counts := countsFrom(&wire)
	got := bridgetest.Numbers(counts)
	for _, drop := range counters.Drops() {
		got = append(got, float64(counts.Dropped[drop.Reason]))
	}
	slices.Sort(got)
	if diff := cmp.Diff(bridgetest.Numbers(&wire), got); diff != "" {
		t.Errorf("numbers of the trial (-want +got):\n%s", diff)
	}
	if quiet := countsFrom(&controlv1.TunnelCounters{OutPackets: 1}); quiet.Dropped != nil {
		t.Errorf("reasons that no packet met: %v", quiet.Dropped)
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
	both := done{sent: &controlv1.SendResult{Tunnel: &counters}, received: &controlv1.ReceiveResult{Tunnel: &counters}}
	trial := trialFrom(analysis.Load{}, func(int) int { return 0 }, both)
	if trial.ReceiverOverruns != counters.GetInOverrun() {
		t.Errorf("overruns at the receiver %d, want %d", trial.ReceiverOverruns, counters.GetInOverrun())
	}
	if tcp := tcpTrialFrom(analysis.TCPLoad{}, both); trial.TunnelDrops != want || tcp.TunnelDrops != want {
		t.Errorf("tunnel drops %d, of TCP %d, want %d", trial.TunnelDrops, tcp.TunnelDrops, want)
	}
}

// Every reason has words in a report.
func TestReasonsHaveWords(t *testing.T) {
	for _, drop := range (tunnel.Counters{}).Drops() {
		trial := analysis.Trial{SenderTunnel: analysis.TunnelCounts{Dropped: map[string]uint64{drop.Reason: 7}}}
		var text strings.Builder
		if err := report.WriteText(&text, report.Result{Kind: report.Run, Trials: []analysis.Trial{trial}}, report.TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), "dropped: 7 ") || strings.Contains(text.String(), "reason "+drop.Reason) {
			t.Errorf("package report has no words for the reason %s:\n%s", drop.Reason, text.String())
		}
	}
}
