package agent

import (
	"context"
	"fmt"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/probe"
)

const (
	// leastInnerSize holds the IP and UDP headers and the probe's own.
	leastInnerSize = 64
	// maxBurst bounds a burst: it is to empty a bucket or a queue, not to fill
	// a link.
	maxBurst = 1 << 16
	// burstTime is how long a burst's bits may take at the agents' limit.
	burstTime = time.Second
)

// checkLoad holds a load against the limits of both agents and the tunnel's
// MTU, before anything is sent. A controller may ask for anything at all.
func checkLoad(l probe.Load, limits control.Limits, mtu int) error {
	if most := min(mtu, limits.MaxInnerSize); l.InnerSize < leastInnerSize || l.InnerSize > most {
		return fmt.Errorf("inner size %d B: allowed are %d to %d B, by the tunnel's MTU and the agents' limit", l.InnerSize, leastInnerSize, most)
	}
	if l.Train < 0 {
		return fmt.Errorf("a train of %d packets: allowed are 0 or more", l.Train)
	}
	if l.Flows < 0 || l.Flows > probe.MaxFlows {
		return fmt.Errorf("%d flows: allowed are up to %d", l.Flows, probe.MaxFlows)
	}
	if l.Packets != 0 {
		return checkBurst(l, limits)
	}
	return checkPaced(l, limits)
}

func checkPaced(l probe.Load, limits control.Limits) error {
	// Not the other way round: NaN is no rate.
	if !(l.InnerBitsPerSecond > 0 && l.InnerBitsPerSecond <= float64(limits.MaxInnerBitsPerSecond)) {
		return fmt.Errorf("inner rate %.0f bit/s: allowed are rates above zero up to the agents' limit of %d bit/s", l.InnerBitsPerSecond, limits.MaxInnerBitsPerSecond)
	}
	if l.Duration <= 0 || l.Duration > limits.MaxDuration {
		return fmt.Errorf("duration %v: allowed are times above zero up to the agents' limit of %v", l.Duration, limits.MaxDuration)
	}
	return nil
}

func checkBurst(l probe.Load, limits control.Limits) error {
	switch {
	case l.InnerBitsPerSecond != 0 || l.Duration != 0:
		return fmt.Errorf("a burst of %d packets with a rate or a duration: allowed is one or the other", l.Packets)
	case l.Packets < 0 || l.Packets > maxBurst:
		return fmt.Errorf("a burst of %d packets: allowed are up to %d", l.Packets, maxBurst)
	case burstLasts(l, limits) > burstTime:
		return fmt.Errorf("a burst of %d packets of %d B: allowed is what passes within %v at the agents' limit of %d bit/s", l.Packets, l.InnerSize, burstTime, limits.MaxInnerBitsPerSecond)
	}
	return nil
}

// burstLasts is how long a burst would take at the agents' limit.
func burstLasts(l probe.Load, limits control.Limits) time.Duration {
	bits := float64(l.Packets) * float64(l.InnerSize) * 8
	seconds := min(bits/float64(limits.MaxInnerBitsPerSecond), 3600) // A limit of zero allows none.
	return time.Duration(seconds * float64(time.Second))
}

// take counts a paced load against what the owner allows the agent to send in all:
// sessions side by side must not add up to more. free must be called when it ends.
func (a *Agent) take(l probe.Load) (free func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rate, most := uint64(l.InnerBitsPerSecond), a.policy.limits().MaxInnerBitsPerSecond
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

// settle waits until the bursts before have been paid for. A burst leaves as
// fast as the machine can; many of them must not add up to more than the limit.
func (a *Agent) settle(ctx context.Context, l probe.Load, limits control.Limits) error {
	if l.Packets == 0 {
		return nil
	}
	a.mu.Lock()
	now := time.Now()
	wait := max(0, a.settled.Sub(now))
	a.settled = now.Add(wait + burstLasts(l, limits))
	a.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
