// Package latency measures round-trip time and loss with pings of its own, at a low
// rate, beside a load or on an idle path; and its Guard says when a load must stop.
//
// It goes like this, in the words of package wire:
//
//  1. The prober says HELLO every 50 ms with a fresh nonce. It sends no PING before
//     the holder of the session's key has echoed that nonce (prober.go).
//  2. In each interval it sends one PING, at a random moment of the first half, so
//     that it does not keep step with a load's bursts (RFC 3432, Section 4). Each
//     carries a tag and echoes the answerer's nonce.
//  3. The answerer answers each authentic PING once, with a PONG of the same length:
//     when the PING arrived, and when this PONG was written (answerer.go). When it
//     truly left is told by the next PONG.
//  4. When time is up, the prober waits for what is still on its way, as long as
//     four round trips and at most 2 s, and takes the rest for lost.
//  5. It says "last" HELLO every 20 ms, until the answerer has confirmed it with the
//     number of PINGs that it answered, which tells on which way the others were lost.
//
// A ping has four times: it left (1) and arrived at the answerer (2), its PONG left
// (3) and came back (4). All four are the kernel's where it gives them (link.go,
// socket_linux.go), so that a busy host does not look like a slow path. A departure is
// when the packet entered its device's queue (SOF_TIMESTAMPING_TX_SCHED): what it waits
// there, behind the load, is latency that production traffic has, too. Arrival is when
// the device handed it to the stack. The round-trip time is (4-1)-(3-2).
//
// Both ends are bounded by their own clocks. A prober that hears nothing for 1 s slows
// down to a ping each 100 ms, and ends after 5 s; the answerer ends after 5 s of silence.
// Neither allocates per ping. A prober keeps 40 bytes of each, and as many again to sum
// them up: 10 min at 1000 a second, the most that Options allow, are 50 MB.
package latency

import (
	"cmp"
	"fmt"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// Bounds and defaults of Options.
const (
	LeastEvery = time.Millisecond
	MostEvery  = time.Second

	defaultEvery = 10 * time.Millisecond
	defaultInner = 128
)

// Bounds of the protocol.
const (
	// slowAfter and slowEvery spare a peer that may be gone; an overloaded path may
	// yet come back within silenceLimit.
	slowAfter    = time.Second
	slowEvery    = 100 * time.Millisecond
	silenceLimit = 5 * time.Second
	// leastGrace to mostGrace is how long after its PING a PONG is awaited, and beyond
	// which it is late.
	leastGrace = 200 * time.Millisecond
	mostGrace  = 2 * time.Second
)

// Options of a probe. Both ends need the same, HelloWithin and Until excepted.
type Options struct {
	Key   wire.Key // Of the session; both ends hold it.
	Trial uint8    // Tells late packets of the trial before from this one's.
	// Every is the interval between pings. Optional: zero means 10 ms.
	Every time.Duration
	// Duration is how long pings are sent.
	Duration time.Duration
	// InnerSize is the length of the IP packets, in bytes, in both directions.
	// Optional: zero means 128.
	InnerSize int
	// DSCP is the code point of every packet (RFC 2474), 0 to 63.
	DSCP uint8
	// HelloWithin is how long each end waits for the other. Optional: zero means 5 s.
	HelloWithin time.Duration
	// Until ends the pings, when it is closed, as if Duration were over; that is
	// noticed at the next ping. Optional, and for the prober only.
	Until <-chan struct{}
}

// withDefaults sets what was left out, and refuses what is out of bounds.
func (o Options) withDefaults() (Options, error) {
	o.Every = cmp.Or(o.Every, defaultEvery)
	o.InnerSize = cmp.Or(o.InnerSize, defaultInner)
	o.HelloWithin = cmp.Or(o.HelloWithin, wire.HelloWithin)
	switch {
	case o.Key == wire.Key{}:
		return o, fmt.Errorf("take the latency probe of trial %d: it has no key", o.Trial)
	case o.Every < LeastEvery || o.Every > MostEvery:
		return o, fmt.Errorf("take the latency probe: a ping every %v, allowed are %v to %v", o.Every, LeastEvery, MostEvery)
	case o.Duration <= 0 || o.Duration > probe.MaxDuration:
		return o, fmt.Errorf("take the latency probe: duration is %v, allowed are up to %v", o.Duration, probe.MaxDuration)
	case o.HelloWithin < 0:
		return o, fmt.Errorf("take the latency probe: %v to wait for the peer", o.HelloWithin)
	case o.DSCP > probe.MaxDSCP:
		return o, fmt.Errorf("take the latency probe: DSCP %d, allowed are 0 to %d", o.DSCP, probe.MaxDSCP)
	}
	return o, nil
}

// limit is how many pings there can be at most. No sequence number reaches it.
func (o Options) limit() uint64 { return uint64(o.Duration/o.Every) + 1 }

func (o Options) header(sequence uint64, at time.Duration) wire.Header {
	return wire.Header{Trial: o.Trial, Stream: wire.StreamLatency, Sequence: sequence, SendTime: wire.StampOf(at)}
}

// owns says whether a datagram with header h belongs to the probe.
func (o Options) owns(h wire.Header) bool {
	return h.Trial == o.Trial && h.Stream == wire.StreamLatency
}
