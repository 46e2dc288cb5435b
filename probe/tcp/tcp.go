// Package tcp measures one trial with TCP: Send loads a number of connections at
// one end, Receive takes what they carry at the other.
//
// A trial goes like this, in the words of package wire, whose counts are of bytes
// here:
//
//  1. The sender connects its flows and says HELLO on each, with a nonce of the
//     trial. The receiver's HELLO echoes that and has a nonce of this connection,
//     which the sender's second HELLO echoes: now each knows that the other holds
//     the session's key, and is there now (greet.go). The other flows follow the
//     first when that is done. What does not say who it is within 2 s is closed, and
//     only a few strangers are heard at once (admit.go).
//  2. When all flows are there, the receiver sends FEEDBACK on the first of them,
//     ten times a second. The sender begins with the first FEEDBACK, not before.
//  3. The sender writes random bytes to all flows for the load's duration
//     (write.go), and asks TCP what it sees (info.go). The receiver discards them
//     in the kernel (read.go).
//  4. The sender shuts down writing. When the receiver has come to the end of all
//     flows, it sends the final FEEDBACK on each: how many of its bytes arrived.
//  5. The sender resets its connections, which leaves no port in TIME-WAIT. It
//     does not wait longer than 5 s for that final FEEDBACK, and where the load was
//     ended before its time 50 ms.
//
// The load stops by a reset, which also drops what is queued, when no sign of life
// has come for 1 s: neither FEEDBACK nor the acknowledgement of a byte, on any
// flow. A queue or a loss on the way back can hold FEEDBACK up, but not
// acknowledgements too, unless nothing gets through. They are not authenticated,
// so they alone count for 3 s only (signs.go).
//
// Each end is bounded by its own clock and ends by itself when the other dies.
package tcp

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// Bounds of a load.
const (
	MaxFlows  = 128
	MaxWrite  = 16 << 20  // Bytes.
	MaxWindow = 128 << 20 // Bytes.
	// MinMSS and MaxMSS are what the kernel takes (TCP_MIN_MSS and
	// MAX_TCP_WINDOW, include/net/tcp.h).
	MinMSS = 88
	MaxMSS = 32767
)

// Bounds of the protocol.
const (
	feedbackEvery = 100 * time.Millisecond
	// drainWithin is how long what was written may take to arrive after the
	// load's duration.
	drainWithin = 5 * time.Second
	// stopWithin is the same after Trial.Until: what is queued is load too, and whoever
	// ends a load early means all of it.
	stopWithin = 50 * time.Millisecond
	// lingerWithin is how long the receiver waits for the sender's reset after
	// the final FEEDBACK.
	lingerWithin = time.Second
)

// Bounds of Trial.ProgressEvery, and what it is unless the trial says otherwise.
const (
	leastProgressEvery = 10 * time.Millisecond
	mostProgressEvery  = time.Second
	progressEvery      = 100 * time.Millisecond
)

// Load is what a trial offers. Both ends must be given the same.
type Load struct {
	Flows    int // 1 to MaxFlows.
	Duration time.Duration
	// GoodputBitsPerSecond is the payload's rate on each flow, evenly paced.
	// Optional: zero means as fast as TCP goes.
	GoodputBitsPerSecond float64
	// Congestion names the congestion control. Optional: empty means the
	// system's default; FlowSent says which it was.
	Congestion string
	// MSS is the largest segment in bytes, and Window the size of the send and of
	// the receive buffer, which the kernel doubles for what it stores beside the
	// payload (socket(7)). Optional: zero leaves both to the kernel. They take
	// effect by Control.
	MSS, Window int
	// Write is how many bytes are handed to the kernel at once, at most. Optional:
	// zero means 1 MiB.
	Write int
	// ZeroCopy sends from pages that the kernel need not copy (sendfile). It may pay
	// with a network card; over veth it had 0.6 to 0.9 of the speed, and MSG_ZEROCOPY
	// a third.
	ZeroCopy bool
	// Verify makes the receiver read and check the payload, instead of discarding
	// it in the kernel, at 0.6 of the speed.
	Verify bool
	// DSCP is the code point of every packet (RFC 2474), 0 to 63. It takes effect
	// by Control.
	DSCP uint8
}

// defaultWrite was the fastest size of writes from 128 KiB to 4 MiB.
const defaultWrite = 1 << 20

func (l Load) write() int { return cmp.Or(l.Write, defaultWrite) }

func (l Load) paced() bool { return l.GoodputBitsPerSecond > 0 }

// limit is how many bytes a flow may carry.
func (l Load) limit() uint64 {
	if !l.paced() {
		return math.MaxUint64
	}
	return uint64(l.GoodputBitsPerSecond / 8 * l.Duration.Seconds())
}

// maxGoodput keeps all sums within their types.
const maxGoodput = 1e12

func (l Load) check() error {
	switch {
	case l.Flows < 1 || l.Flows > MaxFlows:
		return fmt.Errorf("take load: %d flows, allowed are 1 to %d", l.Flows, MaxFlows)
	case l.Duration <= 0 || l.Duration > probe.MaxDuration:
		return fmt.Errorf("take load: duration is %v, allowed are up to %v", l.Duration, probe.MaxDuration)
	case !(l.GoodputBitsPerSecond >= 0) || l.GoodputBitsPerSecond > maxGoodput:
		return fmt.Errorf("take load: goodput of %g bit/s, allowed are up to %g", l.GoodputBitsPerSecond, float64(maxGoodput))
	case l.limit() == 0:
		return fmt.Errorf("take load: not one byte in %v at a goodput of %g bit/s", l.Duration, l.GoodputBitsPerSecond)
	case l.MSS != 0 && (l.MSS < MinMSS || l.MSS > MaxMSS):
		return fmt.Errorf("take load: MSS of %d bytes, allowed are %d to %d", l.MSS, MinMSS, MaxMSS)
	case l.Window < 0 || l.Window > MaxWindow:
		return fmt.Errorf("take load: window of %d bytes, allowed are up to %d", l.Window, MaxWindow)
	case l.Write < 0 || l.Write > MaxWrite:
		return fmt.Errorf("take load: writes of %d bytes, allowed are up to %d", l.Write, MaxWrite)
	case l.DSCP > probe.MaxDSCP:
		return fmt.Errorf("take load: DSCP %d, allowed are up to %d", l.DSCP, probe.MaxDSCP)
	}
	return nil
}

// Trial names one trial between two ends.
type Trial struct {
	Key    wire.Key // Of the session; both ends hold it.
	Number uint8    // Tells flows of the trial before from this one's.
	// Peer is the only address that the receiver hears. Optional.
	Peer netip.Addr
	// HelloWithin is how long each end waits for the other. Optional: zero
	// means 5 s.
	HelloWithin time.Duration
	// ProgressEvery is the time between two samples, 10 ms to 1 s. Optional: zero
	// means 100 ms.
	ProgressEvery time.Duration
	// Until ends the load, when it is closed, before Duration is over: what is queued
	// then has 50 ms to arrive, and the rest is dropped. Optional, and for the sender
	// only. Where it is there, no more than a little is queued in a flow before it
	// leaves, lest the load go on by itself; that makes fast flows slower.
	Until <-chan struct{}
}

func (t Trial) helloWithin() time.Duration { return cmp.Or(t.HelloWithin, wire.HelloWithin) }

func (t Trial) progressEvery() time.Duration { return cmp.Or(t.ProgressEvery, progressEvery) }

func (t Trial) check() error {
	every := t.progressEvery()
	switch {
	case t.Key == (wire.Key{}):
		return fmt.Errorf("take trial %d: it has no key", t.Number)
	case t.HelloWithin < 0:
		return fmt.Errorf("take trial %d: %v to wait for the peer", t.Number, t.HelloWithin)
	case every < leastProgressEvery || every > mostProgressEvery:
		return fmt.Errorf("take trial %d: samples every %v, allowed are %v to %v", t.Number, every, leastProgressEvery, mostProgressEvery)
	}
	return nil
}

func (t Trial) header(flow int) wire.Header {
	return wire.Header{Trial: t.Number, Stream: uint16(flow)}
}

// Dial connects the flow, from 0, to the peer's listener. It returns when ctx
// ends. The connection is Send's, and nobody has used it; its dialer should have
// Load.Control as its Control and no multipath TCP.
type Dial func(ctx context.Context, flow int) (*net.TCPConn, error)

// Sample is how a trial stood at one time, all flows together, counted since the
// load began.
type Sample struct {
	Elapsed time.Duration
	// GoodputBytes are payload: acknowledged ones at the sender, those read at the
	// receiver.
	GoodputBytes uint64
	// What follows is known to the sender only.
	Retransmits uint64 // Segments.
	// MeanRTT is the mean of the flows' smoothed round trips (RFC 6298).
	MeanRTT   time.Duration
	CwndBytes uint64 // Sum of the flows' congestion windows.
}

// Sent is what the sender's TCP saw of the load, until its duration was over.
type Sent struct {
	Flows   []FlowSent
	Elapsed time.Duration
	Samples []Sample
	// HelloRTT is the shortest round trip of the hellos that opened the flows: the
	// path's without load.
	HelloRTT time.Duration
	// Drained says that all that was written has arrived, and that the receiver
	// has said so. Where the path is too slow for that, what is left 5 s after the
	// load's duration, or 50 ms after Trial.Until, is dropped.
	Drained bool
}

// FlowSent is what the sender's TCP saw of one flow (tcp(7), TCP_INFO).
type FlowSent struct {
	LocalPort, RemotePort uint16
	// Congestion is the congestion control, and MSS the largest segment's payload
	// in bytes.
	Congestion string
	MSS        int
	// GoodputBytes were acknowledged within Elapsed. ConfirmedBytes are those that
	// arrived in the end, as the receiver said; zero if it did not.
	GoodputBytes, ConfirmedBytes uint64
	// TransmittedBytes are payload that left, each time that it left;
	// RetransmittedBytes are the part that left again, in Retransmits segments.
	TransmittedBytes, RetransmittedBytes uint64
	Segments, Retransmits                uint64
	// MeanRTT and MaxRTT are of the smoothed round trip (RFC 6298) at each sample,
	// RTTVariation is its last mean deviation. MinRTT is of single round trips, of
	// the last 5 minutes (sysctl net.ipv4.tcp_min_rtt_wlen).
	MeanRTT, MaxRTT, MinRTT, RTTVariation time.Duration
	MaxCwndBytes                          uint64
	// MaxDeliveredBitsPerSecond is the greatest of TCP's own estimates of the rate
	// at which its payload arrived, at the samples.
	MaxDeliveredBitsPerSecond float64
	// Busy is how long there was something to send. In RwndLimited of it the
	// receiver's window stopped TCP, in SndbufLimited the size of its own buffer.
	Busy, RwndLimited, SndbufLimited time.Duration
}

// Received is what the receiver counted.
type Received struct {
	Flows []FlowReceived
	// Elapsed is from the first byte to the last flow's end: what arrived in it is
	// the load's goodput.
	Elapsed time.Duration
	Samples []Sample
	// Drained says that all flows came to their ends, instead of being reset by a
	// sender that dropped what was left.
	Drained bool
	// Strangers counts connections that were not the trial's.
	Strangers uint64
}

// FlowReceived is what arrived of one flow.
type FlowReceived struct {
	RemotePort   uint16
	GoodputBytes uint64
}

// check refuses what neither end can do.
func check(trial Trial, load Load) error {
	if err := trial.check(); err != nil {
		return err
	}
	return load.check()
}

func onFlow(flow int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("flow %d: %w", flow+1, err)
}

func port(a net.Addr) uint16 { return a.(*net.TCPAddr).AddrPort().Port() }
