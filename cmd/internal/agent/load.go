package agent

import (
	"fmt"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/probe"
)

// leastInnerSize holds the headers of IPv4 and UDP and the probe's own; IPv6 needs
// more, which the probe itself sees to.
const leastInnerSize = 20 + 8 + 16

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
	// Not the other way round: NaN is no rate.
	case !(l.InnerBitsPerSecond > 0 && l.InnerBitsPerSecond <= float64(limits.MaxInnerBitsPerSecond)):
		return fmt.Errorf("inner rate %.0f bit/s: allowed are rates above zero up to the agents' limit of %d bit/s", l.InnerBitsPerSecond, limits.MaxInnerBitsPerSecond)
	case l.Duration <= 0 || l.Duration > limits.MaxDuration:
		return fmt.Errorf("duration %v: allowed are times above zero up to the agents' limit of %v", l.Duration, limits.MaxDuration)
	}
	return nil
}

// take counts a load against what the owner allows the agent to send in all:
// sessions side by side must not add up to more. free must be called when it ends.
func (a *Agent) take(innerBitsPerSecond float64) (free func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rate, most := uint64(innerBitsPerSecond), a.policy.limits().MaxInnerBitsPerSecond
	if a.sending+rate > most {
		return nil, fmt.Errorf("inner rate %d bit/s beside loads of %d bit/s that run: this agent's limit for all is %d bit/s", rate, a.sending, most)
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
