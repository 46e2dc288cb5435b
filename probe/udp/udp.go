// Package udp measures one trial with UDP datagrams: Send offers the load at
// one end, Receive counts it at the other.
//
// A trial goes like this, in the words of package wire:
//
//  1. The sender says HELLO every 50 ms with a nonce of its own, on every flow.
//     It sends no load before the holder of the session's key has echoed that
//     nonce on each of them.
//  2. The receiver ignores all DATA until it has seen an authentic HELLO of
//     this trial. From then on it sends FEEDBACK ten times a second, to the
//     first flow.
//  3. The sender paces DATA (pace.go), and stops 1 s after the last FEEDBACK.
//     Flows take turns, train by train; packets are numbered across them all.
//  4. The sender says "last" HELLO every 20 ms, with what it has sent. The
//     receiver waits until all has arrived or nothing more comes, and answers
//     with the final FEEDBACK.
//
// Each end is bounded by its own clock and ends by itself when the other dies.
//
// Send waits for train departures by sleeping and spinning: it takes a good
// part of one core. Neither end allocates per packet or per batch.
package udp

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// Bounds of the protocol.
const (
	helloEvery    = 50 * time.Millisecond
	helloWithin   = 5 * time.Second // Unless Trial says otherwise.
	feedbackEvery = 100 * time.Millisecond
	silenceLimit  = time.Second
	lastEvery     = 20 * time.Millisecond
	lastWithin    = time.Second
	// quiet is how long nothing must come after "last" before the receiver
	// takes what is missing for lost.
	quiet = 50 * time.Millisecond
	// linger is how long the receiver answers repetitions of "last".
	linger = 3 * lastEvery
	// burstWithin bounds a load that is not paced.
	burstWithin = 10 * time.Second
)

// Trial names one trial between two ends.
type Trial struct {
	Key    wire.Key // Of the session; both ends hold it.
	Number uint8    // Tells late packets of the trial before from this one's.
	// Peer is the address that the flows come from, for a receiver whose socket
	// is not connected because they come from several ports. Optional.
	Peer netip.Addr
	// HelloWithin is how long each end waits for the other. Optional: zero
	// means 5 s.
	HelloWithin time.Duration
}

func (t Trial) helloWithin() time.Duration {
	if t.HelloWithin > 0 {
		return t.HelloWithin
	}
	return helloWithin
}

func (t Trial) header(kind wire.Type, flow int) wire.Header {
	return wire.Header{Type: kind, Trial: t.Number, Stream: uint16(flow)}
}

// owns says whether a datagram with header h belongs to the trial, which has so
// many flows.
func (t Trial) owns(h wire.Header, flows int) bool {
	return h.Trial == t.Number && int(h.Stream) < flows
}

func flowsOf(l probe.Load) int { return max(1, l.Flows) }

// loadTime bounds how long the load is sent.
func loadTime(l probe.Load) time.Duration {
	if l.Packets > 0 {
		return burstWithin
	}
	return l.Duration
}

// packetInterval is the time between two packets of a paced load, in ns.
func packetInterval(l probe.Load) float64 {
	return float64(l.InnerSize) * 8 * 1e9 / l.InnerBitsPerSecond
}

// packetLimit is how many packets the load can have at most.
func packetLimit(l probe.Load) uint64 {
	if l.Packets > 0 {
		return uint64(l.Packets)
	}
	return uint64(math.Ceil(float64(l.Duration)/packetInterval(l))) + 1
}

const (
	udpHeader  = 8
	ipv4Header = 20
	ipv6Header = 40
	// maxInner is the largest inner IP packet, RFC 791, Section 3.1.
	maxInner = 1<<16 - 1
	// maxPackets keeps sequence numbers within their 48 bits.
	maxPackets = 1 << 47
)

// headers is the length of the IP and UDP headers in front of each datagram.
func headers(conn *net.UDPConn) int {
	if isIPv4(conn) {
		return ipv4Header + udpHeader
	}
	return ipv6Header + udpHeader
}

func isIPv4(conn *net.UDPConn) bool {
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().Is4()
}

// payloadSize checks what a trial is made of and returns the length of its
// datagrams' payload.
func payloadSize(conn *net.UDPConn, trial Trial, l probe.Load) (int, error) {
	if trial.Key == (wire.Key{}) {
		return 0, fmt.Errorf("take trial %d: it has no key", trial.Number)
	}
	least := headers(conn) + wire.HeaderSize
	if l.InnerSize < least || l.InnerSize > maxInner {
		return 0, fmt.Errorf("take load: inner size is %d bytes, allowed are %d to %d", l.InnerSize, least, maxInner)
	}
	if l.Flows < 0 || l.Flows > probe.MaxFlows {
		return 0, fmt.Errorf("take load: %d flows, allowed are up to %d", l.Flows, probe.MaxFlows)
	}
	return l.InnerSize - headers(conn), checkAmount(l)
}

func checkAmount(l probe.Load) error {
	paced := l.InnerBitsPerSecond != 0 || l.Duration != 0
	switch {
	case l.Train < 0:
		return fmt.Errorf("take load: a train of %d packets", l.Train)
	case paced && l.Packets != 0, !paced && l.Packets <= 0:
		return fmt.Errorf("take load: need either a rate with a duration, or a number of packets")
	case !paced && l.Packets > maxPackets:
		return fmt.Errorf("take load: %d packets, at most %d", l.Packets, int64(maxPackets))
	case !paced:
		return nil
	case !(l.InnerBitsPerSecond > 0) || math.IsInf(l.InnerBitsPerSecond, 0):
		return fmt.Errorf("take load: inner rate of %g bit/s", l.InnerBitsPerSecond)
	case l.Duration <= 0 || l.Duration > probe.MaxDuration:
		return fmt.Errorf("take load: duration is %v, allowed are up to %v", l.Duration, probe.MaxDuration)
	case packetInterval(l) > float64(l.Duration):
		return fmt.Errorf("take load: not one packet in %v at an inner rate of %g bit/s", l.Duration, l.InnerBitsPerSecond)
	case float64(l.Duration)/packetInterval(l) > maxPackets:
		return fmt.Errorf("take load: inner rate of %g bit/s is more packets than can be numbered", l.InnerBitsPerSecond)
	}
	return nil
}

// interruptOn makes the end of ctx interrupt whatever waits on conns. The caller
// must call release, after which nothing touches conns any more.
//
// Whoever sets a deadline of its own looks at ctx afterwards: the end of ctx
// comes either before that look or after that deadline.
func interruptOn(ctx context.Context, conns ...*net.UDPConn) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		setDeadlines(conns, longAgo)
	})
	return func() {
		if !stop() {
			<-done
		}
		setDeadlines(conns, time.Time{})
	}
}

func setDeadlines(conns []*net.UDPConn, t time.Time) {
	for _, conn := range conns {
		_ = conn.SetDeadline(t) // Fails only when closed, which interrupts too.
	}
}

var longAgo = time.Unix(1, 0)
