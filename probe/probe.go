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

// MaxDuration bounds a paced load.
const MaxDuration = 10 * time.Minute

// MaxFlows bounds the flows of a load.
const MaxFlows = 256

// Window is the length of the receive windows in which a trial is counted.
const Window = 20 * time.Millisecond

// Load is what a trial offers. Exactly one of InnerBitsPerSecond and Packets
// is set.
type Load struct {
	// InnerBitsPerSecond paces packets for Duration.
	InnerBitsPerSecond float64
	Duration           time.Duration
	// Packets are sent back to back, as fast as the machine can: a burst.
	Packets int
	// InnerSize is the length of each inner IP packet, in bytes.
	InnerSize int
	// Train is how many packets may leave back to back when paced. Optional:
	// zero lets the sender choose.
	Train int
	// Flows is over how many source ports the load is spread, train by train in
	// turn, so that tunnels or cores side by side share it. Optional: zero means
	// one.
	Flows int
}

// Progress is how a trial stands while it runs. The receiver does not know Sent.
type Progress struct {
	Sent     uint64
	Received uint64 // Without duplicates, as last heard.
	Lost     uint64 // So far, as last heard; a late packet may yet lower it.
	Elapsed  time.Duration
}

// Sent is what the sender counted.
type Sent struct {
	Packets uint64
	// Refused counts datagrams that the local stack did not take; they are
	// neither sent nor lost.
	Refused uint64
	// Elapsed is from the first packet to the end of the last one's interval.
	Elapsed time.Duration
	// Skipped is the part of Elapsed in which the host kept the sender off the
	// CPU for longer than a train lasts; it is not made up for.
	Skipped time.Duration
	// Train is how many packets left back to back. Lateness of less than a
	// train, or than four packets, is made up: so many may go before it.
	Train int
	// HelloRTT is the round trip of the hello that opened the trial; of several
	// flows, the slowest one's.
	HelloRTT time.Duration
}

// Received is what the receiver counted. Lost is not here: it is what was sent
// less what was received once.
type Received struct {
	Packets    uint64 // Without duplicates.
	Duplicated uint64
	Reordered  uint64 // Arrived after a later one of its flow (RFC 4737, Section 3.3).
	// Malformed counts datagrams on the trial's socket that were not its own.
	Malformed uint64
	Windows   []WindowCount
	FirstLoss *FirstLoss // Nil where nothing was lost, or it could not be told from reordering.
	// Variation is of one-way delay between packets of a flow that were sent one
	// after the other (RFC 3393); zero where trains of one packet take turns
	// between flows.
	Variation Variation
	// SocketDrops counts datagrams dropped because the receiver's socket was
	// full (the counter of SO_RXQ_OVFL): the receiver's fault, not the path's.
	SocketDrops uint64
}

// WindowCount is what arrived in one window of the receiver's clock, without
// duplicates. A window without packets is not listed: the one before spans it.
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
	Packets uint64        // Received in order before it.
	After   time.Duration // From the first packet's arrival to the last one before the loss.
}

// Variation is a summary of |D(i) - D(i-1)|.
type Variation struct {
	P50, P99, Max time.Duration
}
