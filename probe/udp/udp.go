// Package udp measures one trial with UDP datagrams: Send offers the load at
// one end, Receive counts it at the other.
//
// The load has flows, numbered from 0, each from a source port of its own. They
// are shared over lanes: flow f belongs to lane f modulo the number of lanes. A
// lane has a thread and a socket of its own at the receiver's end, and a thread
// and an equal share of the rate at the sender's. Lanes do not know of each other, but all
// of them begin together, and one that fails ends all.
//
// In each lane a trial goes like this, in the words of package wire:
//
//  1. The sender says HELLO every 50 ms with a nonce of its own, on the lane's
//     first flow: that with the lane's number. It sends no load before the holder
//     of the session's key has echoed that nonce, in every lane.
//  2. The receiver ignores all DATA until it has seen an authentic HELLO of
//     this trial. From then on it sends FEEDBACK ten times a second, to the
//     lane's first flow, with what it has counted of the lane.
//  3. The sender paces DATA (pace.go), and stops 1 s after the last FEEDBACK.
//     Flows take turns, burst by burst. The packets of a flow are numbered from
//     0; a flow that begins in the place of another goes on with its numbers, from
//     another port. The lane's first flow stays.
//  4. The sender says "last" HELLO every 20 ms, with what it has sent in the
//     lane. The receiver waits until all has arrived or nothing more comes, and
//     answers with the final FEEDBACK.
//
// Other flows than a lane's first say no HELLO: they go to the same address and
// port, and where a path swallows one of them, that is what is to be measured.
//
// Each end is bounded by its own clock and ends by itself when the other dies.
//
// Send waits for departures by sleeping and spinning: each lane takes a good
// part of one core. Neither end allocates per packet or per batch.
package udp

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// Bounds of the protocol.
const (
	feedbackEvery = 100 * time.Millisecond
	silenceLimit  = time.Second
	// quiet is how long nothing must come after "last" before the receiver
	// takes what is missing for lost.
	quiet = 50 * time.Millisecond
	// progressEvery is how often progress is told, unless Trial says otherwise.
	progressEvery = 100 * time.Millisecond
)

// Trial names one trial between two ends.
type Trial struct {
	Key    wire.Key // Of the session; both ends hold it.
	Number uint8    // Tells late packets of the trial before from this one's.
	// Peer is the address that the flows come from, for a receiver whose sockets
	// are not connected because they come from several ports. Optional.
	Peer netip.Addr
	// HelloWithin is how long each end waits for the other. Optional: zero
	// means 5 s.
	HelloWithin time.Duration
	// ProgressEvery is how often each end tells its progress: at multiples of it
	// since the load began. Optional: zero means 100 ms.
	ProgressEvery time.Duration
	// Until ends the load, when it is closed, as if Duration were over. Optional, and
	// for the sender only.
	Until <-chan struct{}
	// NoGRO has the receiver take datagrams from the kernel one by one, as most
	// programs do, instead of trains (UDP_GRO). Optional, to compare with those.
	NoGRO bool
}

func (t Trial) helloWithin() time.Duration { return cmp.Or(t.HelloWithin, wire.HelloWithin) }

func (t Trial) progressEvery() time.Duration { return cmp.Or(t.ProgressEvery, progressEvery) }

func (t Trial) header(kind wire.Type, flow int) wire.Header {
	return wire.Header{Type: kind, Trial: t.Number, Stream: uint16(flow)}
}

// owns says whether a datagram with header h belongs to the trial, which has so
// many flows.
func (t *Trial) owns(h *wire.Header, flows int) bool {
	return h.Trial == t.Number && int(h.Stream) < flows
}

// flowsIn is how many flows the lane has; the first of them has its number.
func flowsIn(lane int, l probe.Load) int {
	lanes := l.LaneCount()
	return (l.FlowCount() - lane + lanes - 1) / lanes
}

// laneRate is a lane's share of the load, in bit/s of inner packets.
func laneRate(l probe.Load) float64 { return l.InnerBitsPerSecond / float64(l.LaneCount()) }

// packetInterval is the mean time between two packets of a lane, in ns.
func packetInterval(l probe.Load) float64 { return l.Mix.Mean() * 8 * 1e9 / laneRate(l) }

// packetLimit is how many packets a lane can have at most, and so a flow: sizes in
// their order may be below the mean for as long as a seeded order is.
func packetLimit(l probe.Load) uint64 {
	bits := laneRate(l) * l.Duration.Seconds()
	return uint64(math.Ceil(bits/8/l.Mix.Mean())) + orderLength
}

// orderLength is the most packets after which an order of sizes begins again (probe.Mix).
const orderLength = 64 * probe.MaxSizes

// maxPackets keeps sequence numbers within their 48 bits.
const maxPackets = 1 << 47

// checkTrial checks what a trial over conn is made of.
func checkTrial(headers int, trial Trial, l probe.Load) error {
	switch {
	case trial.Key == (wire.Key{}):
		return fmt.Errorf("take trial %d: it has no key", trial.Number)
	case trial.HelloWithin < 0:
		return fmt.Errorf("take trial %d: %v to wait for the peer", trial.Number, trial.HelloWithin)
	case trial.ProgressEvery < 0:
		return fmt.Errorf("take trial %d: progress every %v", trial.Number, trial.ProgressEvery)
	}
	if err := l.Mix.Check(headers+wire.HeaderSize, sockets.MaxInner); err != nil {
		return fmt.Errorf("take load: %w", err)
	}
	if err := checkFlows(l); err != nil {
		return fmt.Errorf("take load: %w", err)
	}
	if err := checkRate(l); err != nil {
		return fmt.Errorf("take load: %w", err)
	}
	return nil
}

func checkFlows(l probe.Load) error {
	churn := l.NewFlowsPerSecond
	switch {
	case l.Flows < 0 || l.Flows > probe.MaxFlows:
		return fmt.Errorf("%d flows, allowed are up to %d", l.Flows, probe.MaxFlows)
	case l.Lanes < 0 || l.Lanes > probe.MaxLanes:
		return fmt.Errorf("%d lanes, allowed are up to %d", l.Lanes, probe.MaxLanes)
	case !(churn >= 0 && churn <= probe.MaxFlows):
		return fmt.Errorf("%g new flows per second, allowed are up to %d", churn, probe.MaxFlows)
	case churn > 0 && l.FlowCount() < 2*l.LaneCount():
		return fmt.Errorf("new flows begin in the place of others, but the first of each lane stays: take %d flows at least, not %d", 2*l.LaneCount(), l.FlowCount())
	case l.DSCP > probe.MaxDSCP:
		return fmt.Errorf("DSCP %d, allowed are up to %d", l.DSCP, probe.MaxDSCP)
	}
	return nil
}

func checkRate(l probe.Load) error {
	switch {
	case l.Burst < 0:
		return fmt.Errorf("a burst of %d packets", l.Burst)
	case !(l.InnerBitsPerSecond > 0) || math.IsInf(l.InnerBitsPerSecond, 0):
		return fmt.Errorf("inner rate of %g bit/s", l.InnerBitsPerSecond)
	case l.Duration <= 0 || l.Duration > probe.MaxDuration:
		return fmt.Errorf("duration is %v, allowed are up to %v", l.Duration, probe.MaxDuration)
	case packetInterval(l) > float64(l.Duration):
		return fmt.Errorf("not one packet in %v at an inner rate of %g bit/s in each of %d lanes", l.Duration, laneRate(l), l.LaneCount())
	case float64(l.Duration)/packetInterval(l) > maxPackets:
		return fmt.Errorf("inner rate of %g bit/s is more packets than can be numbered", l.InnerBitsPerSecond)
	}
	return nil
}
