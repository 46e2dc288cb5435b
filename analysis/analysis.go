// Package analysis turns trials into a ceiling, a verdict and a report.
//
// It is pure: no I/O, no clock. Between it and the islands that build tunnels
// and send load only numbers cross, with unit and layer in their names.
//
// This package holds the words that its children share.
package analysis

import (
	"math"
	"slices"
	"time"
)

// Load is what one trial offers: a rate for a duration, or a burst.
type Load struct {
	InnerBitsPerSecond float64       `json:"inner_bits_per_second,omitempty"`
	Duration           time.Duration `json:"duration_ns"`
	// Packets, where it is not zero, are sent back to back instead: a burst.
	Packets int `json:"packets,omitempty"`
	// Train is how many packets may leave back to back when paced; zero: the
	// generator's choice.
	Train int `json:"train_packets,omitempty"`
	// Idle is for how long nothing is sent before the load, so that queues
	// drain and buckets refill. It is not part of Duration.
	Idle time.Duration `json:"idle_ns,omitempty"`
}

// Trial is one load and all that was counted while it ran.
type Trial struct {
	Load Load `json:"load"`
	// InnerSize and OuterSize are the length, in bytes, of each packet as it
	// enters the tunnel and as it leaves it. OuterSize is zero where nobody knows
	// what somebody else's tunnel adds.
	InnerSize int `json:"inner_size_bytes"`
	OuterSize int `json:"outer_size_bytes"`

	Sent       uint64 `json:"sent_packets"`
	Received   uint64 `json:"received_packets"`
	Duplicated uint64 `json:"duplicated_packets"`
	Reordered  uint64 `json:"reordered_packets"`
	// Refused were not taken by the sender's own stack, SocketDrops did not fit
	// the receiver's socket.
	Refused     uint64 `json:"refused_packets"`
	SocketDrops uint64 `json:"socket_drops_packets"`

	Elapsed time.Duration `json:"elapsed_ns"`
	// Skipped is the part of Elapsed in which the sender was off the CPU.
	Skipped time.Duration `json:"skipped_ns"`

	Windows   []Window   `json:"windows,omitempty"`
	FirstLoss *FirstLoss `json:"first_loss,omitempty"`
	Variation Variation  `json:"delay_variation"`
	// Hosts are the sender's and the receiver's CPU while the trial ran.
	Sender   Host `json:"sender_host"`
	Receiver Host `json:"receiver_host"`
	// Tunnel is what the drivers at both ends dropped while the trial ran.
	TunnelDrops uint64 `json:"tunnel_drops_packets"`
}

// Window counts what arrived in about 20 ms: Packets in exactly End-Start, by
// the receiver's clock.
type Window struct {
	Packets uint64        `json:"packets"`
	Start   time.Duration `json:"start_ns"`
	End     time.Duration `json:"end_ns"`
	// MinDelay is the window's least one-way delay less the trial's least.
	MinDelay time.Duration `json:"min_delay_ns"`
}

// FirstLoss is where the first packet of a trial was lost: after Packets in
// order, which took After to arrive.
type FirstLoss struct {
	Packets uint64        `json:"packets"`
	After   time.Duration `json:"after_ns"`
}

// Variation summarises one-way delay variation between consecutive packets.
type Variation struct {
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// Host is one end's CPU during a trial.
type Host struct {
	Cores []Core `json:"cores,omitempty"`
	// SoftnetDrops are packets that the network stack dropped, on all cores.
	SoftnetDrops uint64 `json:"softnet_drops"`
}

// Core is one core's time, as shares of one: 0 to 1.
type Core struct {
	User    float64 `json:"user"`
	System  float64 `json:"system"`
	SoftIRQ float64 `json:"softirq"`
	Steal   float64 `json:"steal"`
	Idle    float64 `json:"idle"`
}

// ValidShare is the least share of a load that must have been sent for its
// trial to say anything about the path.
const ValidShare = 0.98

// Lost is how many packets were sent and never received.
func (t Trial) Lost() uint64 {
	if t.Received >= t.Sent {
		return 0
	}
	return t.Sent - t.Received
}

// LossRatio is the share of sent packets that were lost, 0 to 1; 0 where none
// was sent.
func (t Trial) LossRatio() float64 {
	if t.Sent == 0 {
		return 0
	}
	return float64(t.Lost()) / float64(t.Sent)
}

// Lossy says that a trial lost more than a goal, a ratio of 0 to 1, and more than
// chance makes of that among so few packets: one, and three standard deviations.
func (t Trial) Lossy(goal float64) bool {
	expected := goal * float64(t.Sent)
	return float64(t.Lost()) > 1+expected+3*math.Sqrt(expected)
}

// DelayGrowth is by how much the least one-way delay of the windows grew from the
// first quarter of a trial to the last, by medians; ok is false where there are too
// few windows. Clocks that drift by some ppm add as many microseconds per second.
func (t Trial) DelayGrowth() (growth time.Duration, ok bool) {
	quarter := len(t.Windows) / 4
	if quarter < 2 {
		return 0, false
	}
	return medianDelay(t.Windows[len(t.Windows)-quarter:]) - medianDelay(t.Windows[:quarter]), true
}

func medianDelay(windows []Window) time.Duration {
	delays := make([]time.Duration, len(windows))
	for i, w := range windows {
		delays[i] = w.MinDelay
	}
	slices.Sort(delays)
	return delays[len(delays)/2]
}

// InnerSentBitsPerSecond is the load that was really offered: what was sent
// over the time in which the sender ran.
func (t Trial) InnerSentBitsPerSecond() float64 {
	return bitsPerSecond(t.Sent, t.InnerSize, t.Elapsed)
}

// InnerReceivedBitsPerSecond is what arrived, over the sender's time.
func (t Trial) InnerReceivedBitsPerSecond() float64 {
	return bitsPerSecond(t.Received, t.InnerSize, t.Elapsed)
}

// Outer converts an inner rate of this trial's packets into their outer rate.
func (t Trial) Outer(innerBitsPerSecond float64) float64 {
	if t.InnerSize == 0 {
		return 0
	}
	return innerBitsPerSecond * float64(t.OuterSize) / float64(t.InnerSize)
}

// Valid says whether the generator sent what was asked of it; a burst always
// is valid once all of it was sent.
func (t Trial) Valid() bool {
	if t.Load.Packets > 0 {
		return t.Sent == uint64(t.Load.Packets)
	}
	return t.InnerSentBitsPerSecond() >= ValidShare*t.Load.InnerBitsPerSecond
}

// InnerOnCPUBitsPerSecond is the load while the host let the sender run.
func (t Trial) InnerOnCPUBitsPerSecond() float64 {
	return bitsPerSecond(t.Sent, t.InnerSize, t.Elapsed-t.Skipped)
}

// Interrupted says that a trial is not valid only because the host kept the
// sender off the CPU: while it ran, it sent what was asked. That says nothing
// about what the generator can do.
func (t Trial) Interrupted() bool {
	return !t.Valid() && t.Load.Packets == 0 && t.InnerOnCPUBitsPerSecond() >= ValidShare*t.Load.InnerBitsPerSecond
}

func bitsPerSecond(packets uint64, size int, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return float64(packets) * float64(size) * 8 / elapsed.Seconds()
}
