package udp

import (
	"net/netip"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// phase is how far a reception has come.
type phase int

const (
	waiting   phase = iota // For the sender's hello.
	counting               // DATA.
	draining               // The sender said "last": for what is still on its way.
	lingering              // Final feedback sent: for repetitions of "last".
	over
)

// reception is the receiving end's part of the protocol, without I/O: it is
// told the datagrams and the time, and says what to answer.
type reception struct {
	trial  Trial
	size   int    // Payload of this trial's DATA.
	limit  uint64 // No sequence number reaches it.
	length time.Duration
	answer func(to netip.AddrPort, b []byte)
	nonce  wire.Nonce // This end's.

	// source is whence the datagrams in hand came, flows whence each flow comes.
	// On a connected socket all of them are zero.
	source netip.AddrPort
	flows  []netip.AddrPort

	phase     phase
	peer      wire.Nonce // The sender's.
	counts    *counts
	malformed uint64
	sent      uint64 // What "last" said.
	counter   uint64 // Of feedback.
	heard     bool   // The sender said "last".

	ends         time.Duration // Of the phase, whatever comes.
	settles      time.Duration // Of the phase, if nothing more comes.
	nextFeedback time.Duration
}

func newReception(trial Trial, load probe.Load, size int, nonce wire.Nonce, now time.Duration, answer func(netip.AddrPort, []byte)) *reception {
	length := loadTime(load) + silenceLimit + lastWithin + silenceLimit
	return &reception{
		trial: trial, size: size, limit: packetLimit(load), length: length,
		answer: answer, nonce: nonce, flows: make([]netip.AddrPort, flowsOf(load)),
		counts: newCounts(flowsOf(load), length), ends: now + trial.helloWithin(),
	}
}

// handle takes one datagram that arrived at.
func (r *reception) handle(b []byte, at time.Duration) {
	h, err := wire.ParseHeader(b)
	switch {
	case err != nil || !r.trial.owns(h, len(r.flows)):
		r.malformed++
	case h.Type == wire.TypeData:
		r.data(h, len(b), at)
	case h.Type == wire.TypeHello:
		r.hello(b, at)
	default:
		r.malformed++
	}
}

func (r *reception) data(h wire.Header, size int, at time.Duration) {
	if r.phase == waiting || size != r.size || h.Sequence >= r.limit {
		r.malformed++
		return
	}
	if r.phase == lingering || r.phase == over {
		return // The final count has been told.
	}
	r.counts.add(int(h.Stream), h.Sequence, h.SendTime, at)
	r.settles = max(r.settles, at+quiet)
}

func (r *reception) hello(b []byte, at time.Duration) {
	h, err := wire.OpenHello(b, r.trial.Key)
	switch {
	case err == nil && h.Kind == wire.HelloOpen:
		r.open(h, at)
	case err == nil && h.Kind == wire.HelloLast && r.phase != waiting && h.Echo == r.nonce && h.Nonce == r.peer:
		r.last(h, at)
	default:
		r.malformed++
	}
}

// open answers a hello, which shows where its flow comes from. An older one,
// replayed or late, may come before the sender's own; so the newest is taken
// until there is load.
func (r *reception) open(h wire.Hello, at time.Duration) {
	if r.phase > counting || r.counts.any && h.Nonce != r.peer {
		return
	}
	if r.phase == waiting {
		r.phase = counting
		r.nextFeedback = at
	}
	if !r.counts.any {
		r.flows[h.Stream] = r.source
	}
	r.peer = h.Nonce
	r.ends = at + r.length
	reply := wire.Hello{Header: h.Header, Kind: wire.HelloReply, Nonce: r.nonce, Echo: h.Nonce}
	r.answer(r.flows[h.Stream], reply.Append(nil, r.trial.Key))
}

// last notes how much was sent; what has not come now is late or lost.
func (r *reception) last(h wire.Hello, at time.Duration) {
	switch r.phase {
	case counting:
		r.phase, r.heard, r.sent = draining, true, h.Sent
		r.settles = at + quiet
		// The final feedback must come while the sender still asks for it.
		r.ends = at + lastWithin - quiet
	case lingering:
		r.settles = at + linger
		r.feedback(at, true)
	}
}

// next is when tick must be called at the latest.
func (r *reception) next() time.Duration {
	next := r.ends
	if r.phase == draining || r.phase == lingering {
		next = min(next, r.settles)
	}
	if r.phase == counting || r.phase == draining {
		next = min(next, r.nextFeedback)
	}
	return next
}

// tick does what is due now.
func (r *reception) tick(now time.Duration) {
	if r.phase == counting || r.phase == draining {
		r.periodic(now)
	}
	switch {
	case r.phase == draining && (r.counts.tracker.packets >= r.sent || now >= r.settles || now >= r.ends):
		r.phase = lingering
		r.settles, r.ends = now+linger, now+lastWithin
		r.feedback(now, true)
	case r.phase == lingering && now >= r.settles, now >= r.ends:
		r.phase = over
	}
}

func (r *reception) periodic(now time.Duration) {
	if now < r.nextFeedback {
		return
	}
	r.nextFeedback = now + feedbackEvery
	r.feedback(now, false)
}

// feedback tells the sender the count so far, on the first flow: before its hello
// nobody reads it yet.
func (r *reception) feedback(now time.Duration, final bool) {
	r.counter++
	f := wire.Feedback{
		Header: r.trial.header(wire.TypeFeedback, 0), Final: final, Echo: r.peer,
		Received: r.counts.tracker.packets, Highest: r.counts.highest(),
		Lost: r.counts.tracker.lost(max(r.sent, r.counts.tracker.next)),
	}
	f.Sequence, f.SendTime = r.counter, wire.StampOf(now)
	r.answer(r.flows[0], f.Append(nil, r.trial.Key))
}

// result is what was counted, and an error when the sender did not say that it
// was over.
func (r *reception) result() (probe.Received, error) {
	got := r.counts.result(r.sent)
	got.Malformed = r.malformed
	switch {
	case r.phase == waiting || r.peer == wire.Nonce{}:
		return got, probe.ErrNoHello
	case !r.heard:
		return got, probe.ErrPeerSilent
	}
	return got, nil
}
