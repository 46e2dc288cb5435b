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

// reception is the receiving end's part of the protocol in one lane, without I/O:
// it is told the datagrams and the time, and says what to answer.
type reception struct {
	trial  Trial
	lane   uint16 // Also the number of the lane's first flow.
	lanes  uint16
	flows  int // Of all lanes.
	sizes  payloads
	limit  uint64        // No sequence number reaches it.
	length time.Duration // That the trial can take, once there is load.
	begins time.Duration // That the load can take to begin: until other lanes are greeted.
	answer func(to netip.AddrPort, b []byte)
	nonce  wire.Nonce // This end's.

	// source is whence the datagrams in hand came, first whence the lane's first
	// flow comes. On a connected socket both are zero.
	source, first netip.AddrPort

	phase     phase
	peer      wire.Nonce // The sender's.
	counts    *counts
	malformed uint64
	counter   uint64 // Of feedback.
	heard     bool   // The sender said "last".

	ends         time.Duration // Of the phase, whatever comes.
	settles      time.Duration // Of the phase, if nothing more comes.
	nextFeedback time.Duration
}

// newReception begins to wait for the lane's hello now. headers are what datagrams
// have in front of their payload, in bytes.
func newReception(trial Trial, load probe.Load, lane, headers int, o *origin, nonce wire.Nonce, now time.Duration, answer func(netip.AddrPort, []byte)) *reception {
	length := load.Duration + silenceLimit + wire.LastWithin + silenceLimit
	var begins time.Duration
	if load.LaneCount() > 1 {
		begins = trial.helloWithin()
	}
	return &reception{
		trial: trial, lane: uint16(lane), lanes: uint16(load.LaneCount()), flows: load.FlowCount(),
		sizes: payloadsOf(load.Mix, headers), limit: packetLimit(load), length: length, begins: begins,
		answer: answer, nonce: nonce,
		counts: newCounts(flowsIn(lane, load), length, o), ends: now + trial.helloWithin(),
	}
}

// payloads are those of a load's packets.
type payloads struct {
	known   []bool // By their length in bytes.
	headers int
}

func payloadsOf(m probe.Mix, headers int) payloads {
	p := payloads{known: make([]bool, m.Most()-headers+1), headers: headers}
	for _, size := range m.Sizes {
		p.known[size-headers] = true
	}
	return p
}

func (p payloads) has(length int) bool { return length < len(p.known) && p.known[length] }

// handle takes one datagram that arrived at.
func (r *reception) handle(b []byte, at time.Duration) {
	h, err := wire.ParseHeader(b)
	switch {
	case err != nil || !r.owns(&h):
		r.malformed++
	case h.Type == wire.TypeData:
		r.data(&h, len(b), at)
	case h.Type == wire.TypeHello:
		r.hello(b, at)
	default:
		r.malformed++
	}
}

// owns says whether a datagram with header h belongs to a flow of the lane.
func (r *reception) owns(h *wire.Header) bool {
	return r.trial.owns(h, r.flows) && h.Stream%r.lanes == r.lane
}

func (r *reception) data(h *wire.Header, length int, at time.Duration) {
	if r.phase == waiting || !r.sizes.has(length) || h.Sequence >= r.limit {
		r.malformed++
		return
	}
	if r.phase == lingering || r.phase == over {
		return // The final count has been told.
	}
	if r.counts.packets == 0 && r.phase == counting {
		r.ends = at + r.length // All lanes have been greeted.
	}
	r.counts.add(int(h.Stream/r.lanes), h.Sequence, length+r.sizes.headers, h.SendTime, at)
	r.settles = max(r.settles, at+quiet)
}

func (r *reception) hello(b []byte, at time.Duration) {
	h, err := wire.OpenHello(b, r.trial.Key)
	switch {
	case err != nil || h.Stream != r.lane:
		r.malformed++
	case h.Kind == wire.HelloOpen:
		r.open(h, at)
	case h.Kind == wire.HelloLast && r.phase != waiting && h.Echo == r.nonce && h.Nonce == r.peer:
		r.last(h, at)
	default:
		r.malformed++
	}
}

// open answers a hello, which shows where the lane's first flow comes from. An older
// one, replayed or late, may come before the sender's own; so the newest is taken
// until there is load.
func (r *reception) open(h wire.Hello, at time.Duration) {
	loaded := r.counts.packets > 0
	if r.phase > counting || loaded && h.Nonce != r.peer {
		return
	}
	if r.phase == waiting {
		r.phase = counting
		r.nextFeedback = at
	}
	if !loaded {
		r.first = r.source
		r.ends = at + r.begins + r.length
	}
	r.peer = h.Nonce
	reply := wire.Hello{Header: h.Header, Kind: wire.HelloReply, Nonce: r.nonce, Echo: h.Nonce}
	r.answer(r.first, reply.Append(nil, r.trial.Key))
}

// last notes how much was sent; what has not come now is late or lost.
func (r *reception) last(h wire.Hello, at time.Duration) {
	switch r.phase {
	case counting:
		r.phase, r.heard, r.counts.sent = draining, true, h.Sent
		r.settles = at + quiet
		// The final feedback must come while the sender still asks for it.
		r.ends = at + wire.LastWithin - quiet
	case lingering:
		r.settles = at + wire.Linger
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
	case r.phase == draining && (r.counts.packets >= r.counts.sent || now >= r.settles || now >= r.ends):
		r.phase = lingering
		r.settles, r.ends = now+wire.Linger, now+wire.LastWithin
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

// feedback tells the sender the lane's count so far, on its first flow: before its
// hello nobody reads it yet.
func (r *reception) feedback(now time.Duration, final bool) {
	r.counter++
	c := r.counts
	f := wire.Feedback{
		Header: r.trial.header(wire.TypeFeedback, int(r.lane)), Final: final, Echo: r.peer,
		Received: c.packets, Highest: c.expected - min(c.expected, 1), Lost: c.lost(),
	}
	f.Sequence, f.SendTime = r.counter, wire.StampOf(now)
	r.answer(r.first, f.Append(nil, r.trial.Key))
}

// err is why the lane's trial did not end as it should: the sender was not heard, or
// did not say that it was over.
func (r *reception) err() error {
	switch {
	case r.phase == waiting || r.peer == wire.Nonce{}:
		return probe.ErrNoHello
	case !r.heard:
		return probe.ErrPeerSilent
	}
	return nil
}
