// Package probe measures one trial: from an offered load to what was counted
// at both ends.
//
// A trial has a sender and a receiver, each in its agent, joined by a UDP
// socket that is already open in the right namespace. Rates and sizes are of
// inner IP packets: what enters the tunnel.
//
// This package holds the words that the kinds of probe share.
package probe

import (
	"errors"
	"time"
)

var (
	// ErrNoHello means that the peer's authenticated hello did not come in
	// time: no load was sent.
	ErrNoHello = errors.New("no authenticated hello from the peer")
	// ErrPeerSilent means that the peer was heard at first and then no more.
	// What was counted until then is returned beside it.
	ErrPeerSilent = errors.New("the peer fell silent")
)

// Bounds of a load.
const (
	MaxDuration = 10 * time.Minute
	MaxFlows    = 10_000
	MaxLanes    = 16
	MaxSizes    = 64 // In a mix.
	MaxDSCP     = 63 // Six bits: RFC 2474, Section 3.
)

// Window is the length of the receive windows in which a trial is counted.
const Window = 20 * time.Millisecond

// Load is what a trial offers: paced packets.
type Load struct {
	// InnerBitsPerSecond of all flows and sizes together, for Duration.
	InnerBitsPerSecond float64
	Duration           time.Duration
	Mix                Mix
	// Burst is how many packets may leave back to back. Optional: zero lets the
	// sender choose what no bottleneck's queue should mind at this rate.
	Burst int
	// Flows is over how many source ports the load is spread, burst by burst in
	// turn. Optional: zero means one.
	Flows int
	// NewFlowsPerSecond ends that many flows a second, the oldest first, and
	// begins others in their place from source ports not used before.
	NewFlowsPerSecond float64
	// Lanes is over how many threads the flows are shared at each end, each with
	// a port of the receiver's and a share of the rate of its own. Optional: zero
	// means one; more than there are flows are not used.
	Lanes int
	// DSCP is the code point of every packet (RFC 2474), 0 to 63.
	DSCP uint8
}

// FlowCount is how many flows the load has at a time.
func (l Load) FlowCount() int { return max(1, l.Flows) }

// LaneCount is how many lanes the load uses.
func (l Load) LaneCount() int { return min(max(1, l.Lanes), l.FlowCount()) }

// Progress is how a trial stands while it runs. Each end knows its own part, and
// the sender what the receiver last told.
type Progress struct {
	Elapsed time.Duration
	// Sent is known to the sender only.
	Sent, SentInnerBytes uint64
	Received             uint64 // Without duplicates.
	ReceivedInnerBytes   uint64 // Known to the receiver only.
	Lost                 uint64 // So far; a late packet may yet lower it.
}

// Sent is what the sender counted.
type Sent struct {
	Packets    uint64
	InnerBytes uint64
	// Refused counts datagrams that the local stack did not take; they are
	// neither sent nor lost.
	Refused uint64
	// Elapsed is from the first packet to the end of the last one's interval. Of
	// several lanes, the mean.
	Elapsed time.Duration
	// Skipped is the part of Elapsed in which the host kept the sender off the
	// CPU for longer than a burst lasts; it is not made up for. Of several lanes,
	// the mean.
	Skipped time.Duration
	// Burst is how many packets left back to back. Where the sender chose it, lateness
	// of up to as much, or of four packets, is made up by sending sooner: so many may
	// go before it.
	Burst int
	// Segmented says that the stack took whole bursts, as one packet that is cut
	// up later (UDP_SEGMENT).
	Segmented bool
	// HelloRTT is the round trip of the hello that opened the trial.
	HelloRTT time.Duration
	// PerFlow is what was sent on each flow, in the order of their numbers; of
	// one that was replaced, on all that had its number.
	PerFlow []FlowSent
	// Pace is how even the load was.
	Pace Pace
}

// FlowSent is what was sent on one flow.
type FlowSent struct {
	Port    uint16 // The last source port that it had.
	Packets uint64
}

// Pace says how even a load left, in windows of 100 ms of the time on the CPU.
type Pace struct {
	Windows int
	// Within is the share of the windows, 0 to 1, whose rate was within 1 % of the
	// mean, or within two bursts of it where those are more.
	Within float64
	// Worst is the greatest deviation of a window's rate, as a ratio of the load.
	Worst float64
}

// Received is what the receiver counted. Lost is not here: it is what was sent
// less what was received once.
type Received struct {
	Packets    uint64 // Without duplicates.
	InnerBytes uint64
	Duplicated uint64
	Reordered  Reordering
	// Malformed counts datagrams on the trial's socket that were not its own.
	Malformed uint64
	Windows   []WindowCount
	FirstLoss *FirstLoss // Nil where nothing was lost, or it could not be told from reordering.
	// Variation is of one-way delay between packets of a flow that were sent one
	// after the other (RFC 3393).
	Variation Variation
	// Delay is of every packet, above the least of the trial: what queues and the
	// hosts added. No clock needs to be synchronised (RFC 5481, Section 4.2: PDV).
	Delay Quantiles
	// DelayDrift is by how much the least delay grew over the trial, as a line
	// through the windows' least delays says: a queue that fills, or clocks that
	// drift.
	DelayDrift time.Duration
	// SocketDrops counts datagrams dropped because the receiver's socket was
	// full (the counter of SO_RXQ_OVFL): the receiver's fault, not the path's.
	SocketDrops uint64
	// PerFlow is what arrived of each flow, in the order of their numbers.
	PerFlow []FlowReceived
}

// FlowReceived is what arrived of one flow.
type FlowReceived struct {
	Packets   uint64 // Without duplicates.
	Reordered uint64
	// MinDelay and MeanDelay are of one-way delay above the least of the whole
	// trial: flows that take another way differ in them.
	MinDelay, MeanDelay time.Duration
}

// Reordering counts packets that arrived after a later one of their flow
// (RFC 4737, Section 3.3).
type Reordering struct {
	Packets uint64
	// MaxExtent is the greatest extent: how many packets of the flow had arrived
	// since the first one that was later (RFC 4737, Section 4.2).
	MaxExtent uint64
	// MaxLate is the greatest lateness in time (RFC 4737, Section 4.3).
	MaxLate time.Duration
}

// WindowCount is what arrived in one window of the receiver's clock, without
// duplicates. Of several lanes, whose windows begin at different packets, it is right
// to within a burst of each. A window without packets is not listed: the one before spans it.
type WindowCount struct {
	Packets uint64
	// Start and End are when the first packet of this window and the first of
	// the next one arrived, since the first packet of the trial: Packets were
	// received in End-Start exactly, whatever the window's borders. The last
	// window of a trial has no next one: its End is its own last packet.
	Start, End time.Duration
	// MinDelay is the least one-way delay in the window, less the least of the
	// whole trial, so that no clock needs to be synchronised.
	MinDelay time.Duration
}

// FirstLoss is where the first packet was lost.
type FirstLoss struct {
	Packets uint64        // Received before it, of all flows.
	After   time.Duration // From the first packet's arrival to the last one before the loss.
}

// Variation is a summary of |D(i) - D(i-1)|, and Jitter its running mean as
// RTP has it (RFC 3550, Section 6.4.1) and iperf3 shows it.
type Variation struct {
	P50, P99, Max time.Duration
	Jitter        time.Duration
}

// Quantiles summarise a distribution, of Count samples.
type Quantiles struct {
	Count                               uint64
	Min, Mean, P50, P90, P99, P999, Max time.Duration
}
