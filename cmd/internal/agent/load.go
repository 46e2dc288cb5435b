package agent

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/probe"
	"tunnelmark/probe/latency"
	"tunnelmark/probe/tcp"
)

// leastInnerSize holds the headers of IPv4 and UDP and the probe's own; IPv6 needs
// more, which the probe itself sees to.
const leastInnerSize = 20 + 8 + 16

// leastNewFlows is one in a longer time than any load has.
const leastNewFlows = 0.001

// checkLoad holds a load against the limits of both agents and the tunnel's
// MTU, before anything is sent. A controller may ask for anything at all.
func checkLoad(l probe.Load, limits control.Limits, mtu int) error {
	if err := l.Mix.Check(leastInnerSize, min(mtu, limits.MaxInnerSize)); err != nil {
		return fmt.Errorf("%w, by the tunnel's MTU and the agents' limit", err)
	}
	switch {
	case l.Burst < 0:
		return fmt.Errorf("bursts of %d packets: allowed are 0 or more", l.Burst)
	case l.Flows < 0 || l.Flows > probe.MaxFlows:
		return fmt.Errorf("%d flows: allowed are up to %d", l.Flows, probe.MaxFlows)
	case l.Lanes < 0 || l.Lanes > probe.MaxLanes:
		return fmt.Errorf("%d lanes: allowed are up to %d", l.Lanes, probe.MaxLanes)
	case !(l.NewFlowsPerSecond >= 0 && l.NewFlowsPerSecond <= probe.MaxFlows):
		return fmt.Errorf("%g new flows a second: allowed are up to %d", l.NewFlowsPerSecond, probe.MaxFlows)
	case l.NewFlowsPerSecond > 0 && l.NewFlowsPerSecond < leastNewFlows:
		return fmt.Errorf("%g new flows a second: allowed are 0, or %g and more", l.NewFlowsPerSecond, leastNewFlows)
	// Not the other way round: NaN is no rate.
	case !(l.InnerBitsPerSecond > 0 && l.InnerBitsPerSecond <= float64(limits.MaxInnerBitsPerSecond)):
		return fmt.Errorf("inner rate %.0f bit/s: allowed are rates above zero up to the agents' limit of %d bit/s", l.InnerBitsPerSecond, limits.MaxInnerBitsPerSecond)
	case l.Duration <= 0 || l.Duration > limits.MaxDuration:
		return fmt.Errorf("duration %v: allowed are times above zero up to the agents' limit of %v", l.Duration, limits.MaxDuration)
	}
	return nil
}

// mostWindows bounds the buffers of all connections of a load together, in bytes: the
// kernel takes them beyond its own limits, and its memory for TCP is the host's. It
// fills 100 Gbit/s over 80 ms.
const mostWindows = 1 << 30

// checkTCP is checkLoad for a load of TCP, but for its rate (see pace). available are
// the congestion controls that the kernel has.
func checkTCP(l tcp.Load, limits control.Limits, available []string) error {
	switch {
	case l.Duration <= 0 || l.Duration > limits.MaxDuration:
		return fmt.Errorf("duration %v: allowed are times above zero up to the agents' limit of %v", l.Duration, limits.MaxDuration)
	case l.Flows < 1 || l.Flows > tcp.MaxFlows:
		return fmt.Errorf("%d connections: allowed are 1 to %d", l.Flows, tcp.MaxFlows)
	case !(l.GoodputBitsPerSecond >= 0): // NaN is no rate.
		return fmt.Errorf("%g bit/s of each connection: allowed are 0, for as fast as TCP goes, and more", l.GoodputBitsPerSecond)
	case l.Window < 0 || l.Window > mostWindows/l.Flows:
		return fmt.Errorf("windows of %d bytes of %d connections: allowed are %d bytes in all", l.Window, l.Flows, mostWindows)
	// Asked for by root, the kernel would load a module of that name.
	case l.Congestion != "" && !slices.Contains(available, l.Congestion):
		return fmt.Errorf("congestion control %q: this host has %s; load it there first: modprobe tcp_%s", l.Congestion, strings.Join(available, ", "), l.Congestion)
	}
	return nil
}

// congestionControls are those that the kernel has, without loading any.
func congestionControls() ([]string, error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		return nil, fmt.Errorf("list the congestion controls of TCP: %w", err)
	}
	return strings.Fields(string(text)), nil
}

// pace holds a load of TCP against most, in inner bit/s of all its flows, and returns
// what it takes of that. One that is to go as fast as TCP goes takes all, and is paced
// to it. share is the part of an inner packet that is payload.
func pace(l tcp.Load, most, share float64) (paced tcp.Load, taken float64, err error) {
	flows := float64(l.Flows)
	goodput := most * share / flows
	switch {
	case most <= 0:
		return l, 0, fmt.Errorf("a load of TCP: the agents' limit leaves no rate for it")
	case l.GoodputBitsPerSecond > goodput:
		return l, 0, fmt.Errorf("goodput of %.0f bit/s of each of %d connections: allowed are up to %.0f bit/s by the agents' limit of %.0f bit/s of inner packets", l.GoodputBitsPerSecond, l.Flows, goodput, most)
	case l.GoodputBitsPerSecond > 0:
		return l, l.GoodputBitsPerSecond * flows / share, nil
	case most < unpacedFrom:
		l.GoodputBitsPerSecond = goodput
	}
	return l, most, nil
}

// unpacedFrom is a limit, in bit/s, that no TCP has reached on a host on which this
// was tried; pacing it to that would only make it slower.
const unpacedFrom = 100e9

// payloadShare is the part of a full packet of TCP that is payload, on a path of that
// MTU, with that MSS unless it is zero, and behind an IP header of so many bytes.
func payloadShare(mtu, mss, ipHeader int) float64 {
	const tcpHeader, timestamps = 20, 12 // RFC 9293, Section 3.1; RFC 7323, Section 3.2.
	headers := ipHeader + tcpHeader
	segment := mtu - headers
	if mss > 0 {
		segment = min(segment, mss) // With the options.
	}
	return float64(max(1, segment-timestamps)) / float64(max(1, segment-timestamps)+timestamps+headers)
}

const (
	// probeMargin is how much longer than the longest load a latency probe beside it
	// may last.
	probeMargin = 10 * time.Second
	// probeEvery and probeSize, in bytes, are what package latency takes for zero.
	probeEvery = 10 * time.Millisecond
	probeSize  = 128
	// freeProbe is the rate of such a probe, in inner bit/s. Like hellos and feedback
	// it does not count, since it would make loads fail that are just at the limit.
	freeProbe = float64(probeSize*8) * float64(time.Second/probeEvery)
)

// probeRate is that of a latency probe, in inner bit/s each way.
func probeRate(o latency.Options) float64 {
	every, size := o.Every, o.InnerSize
	if every == 0 {
		every = probeEvery
	}
	if size == 0 {
		size = probeSize
	}
	return float64(size) * 8 / every.Seconds()
}

// checkProbe holds a latency probe against the limits of both agents, and beside a
// load against how long that may last.
func checkProbe(o latency.Options, limits control.Limits, beside bool) error {
	longest := limits.MaxDuration
	if beside {
		longest += probeMargin
	}
	most := float64(limits.MaxInnerBitsPerSecond)
	if most > 0 {
		most = max(most, freeProbe)
	}
	switch rate := probeRate(o); {
	case o.Duration <= 0 || o.Duration > longest:
		return fmt.Errorf("a latency probe for %v: allowed are times above zero up to the agents' limit of %v", o.Duration, longest)
	case o.InnerSize < 0 || o.InnerSize > limits.MaxInnerSize:
		return fmt.Errorf("a latency probe of %d B: allowed are up to %d B", o.InnerSize, limits.MaxInnerSize)
	case !(rate > 0 && rate <= most):
		return fmt.Errorf("a latency probe of %.0f bit/s inner: allowed are rates above zero up to the agents' limit of %.0f bit/s", rate, most)
	}
	return nil
}

// takeProbe counts a trial's latency probe like a load, unless it is a small one.
func (a *Agent) takeProbe(t *trial) (free func(), err error) {
	rate := 0.0
	if t.work.GetLatency() != nil {
		rate = probeRate(t.latency())
	}
	if rate <= freeProbe {
		rate = 0
	}
	return a.take(rate)
}

// take counts a load against what the owner allows the agent to send in all:
// sessions side by side must not add up to more. free must be called when it ends.
func (a *Agent) take(innerBitsPerSecond float64) (free func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rate, most := uint64(innerBitsPerSecond), a.policy.limits().MaxInnerBitsPerSecond
	if a.sending > most || rate > most-a.sending {
		return nil, fmt.Errorf("inner rate %d bit/s beside loads and latency probes of %d bit/s: this agent's limit for all is %d bit/s", rate, a.sending, most)
	}
	a.sending += rate
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.sending -= rate
	}, nil
}

// left is what the owner still allows beside the loads that run, in inner bit/s.
func (a *Agent) left() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	most := a.policy.limits().MaxInnerBitsPerSecond
	return float64(most - min(most, a.sending))
}
