package latency

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// Sample is what a prober sees of one ping: first that it was sent, or that the local
// stack refused it; then, if its PONG comes, the round-trip time.
type Sample struct {
	Sequence uint64
	// At is when this became known, Sent when the ping left: both since the first
	// interval began.
	At, Sent time.Duration
	// Answered says that the PONG has come, and RTT is known to within what the
	// answerer's host took to write it; Result has it exactly.
	Answered bool
	RTT      time.Duration
}

// Probe pings the peer at the other end of conn, where Answer must be waiting or come
// soon. conn is connected, and not used by others meanwhile. It returns when the peer
// has confirmed the end.
//
// watch, if not nil, is called from the probe's own loop for every ping sent and every
// one answered: it must return at once.
//
// probe.ErrNoHello means that the peer's hello did not come, and nothing was sent but
// hellos. Later errors come with what was measured until then: probe.ErrPeerSilent when
// the peer was heard no more, or ctx's error.
func Probe(ctx context.Context, conn *net.UDPConn, o Options, watch func(Sample)) (Result, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Result{}, err
	}
	size, err := o.payload(conn)
	if err != nil {
		return Result{}, err
	}
	l, err := newLink(conn, o, size)
	if err != nil {
		return Result{}, err
	}
	p := newProber(o, size, l.now, l.send, watch)
	err = l.run(ctx, p)
	if err != nil {
		p.abandon(l.now())
	}
	if err = firstOf(err, p.failed); err != nil {
		err = fmt.Errorf("probe latency: %w", err)
	}
	return p.result(), err
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// phase is how far a prober has come.
type phase int

const (
	greeting phase = iota // HELLO, until the peer echoes it.
	pinging
	draining // For what is still on its way.
	closing  // "last", until the peer confirms it.
	over
)

// ping is what is known of one ping.
type ping struct {
	left, heard       time.Duration // By the prober's clock.
	arrived, answered wire.Stamp    // By the answerer's.
	flags             pingFlags
}

type pingFlags uint8

const (
	refused    pingFlags = 1 << iota // The local stack did not take it.
	received                         // Its PONG came,
	late                             // more than mostGrace after it.
	unsettled                        // The probe was abandoned before the grace was over.
	kernelLeft                       // Which times are the kernel's.
	kernelArrived
	kernelAnswered
	kernelHeard
)

func (p *ping) is(flag pingFlags) bool { return p.flags&flag != 0 }

// prober is the asking end's part of the protocol.
type prober struct {
	o     Options
	now   func() time.Duration
	send  func(b []byte, number uint64) error
	watch func(Sample)
	auth  *wire.Authenticator
	out   []byte // One PING.

	// nonce is this end's, peer the answerer's, known once it has replied.
	nonce, peer wire.Nonce
	phase       phase
	failed      error

	first    time.Duration // The first interval began.
	interval time.Duration // The current one began,
	due      time.Duration // and its ping is due.
	pings    []ping        // By sequence number. It never grows beyond its room.
	sums     sums
	heard    time.Duration // The last authentic PONG.
	refusal  error         // Of the last ping, by the local stack.
	longest  time.Duration // Round trip.
	repeat   time.Duration // When to say hello again,
	hellos   uint64        // said so often.
	ends     time.Duration // Of the phase, whatever comes.
}

// sums are counted while the probe runs.
type sums struct {
	sent, refused, received, duplicated, malformed, skipped uint64
	// answered is what the answerer said at the end; zero until then.
	answered uint64
}

func newProber(o Options, size int, now func() time.Duration, send func([]byte, uint64) error, watch func(Sample)) *prober {
	if watch == nil {
		watch = func(Sample) {}
	}
	p := &prober{
		o: o, now: now, send: send, watch: watch, auth: wire.NewAuthenticator(o.Key),
		out: make([]byte, size), nonce: wire.NewNonce(), pings: make([]ping, 0, o.limit()),
	}
	p.enter(greeting, now(), o.HelloWithin)
	return p
}

func (p *prober) over() bool { return p.phase == over }

func (p *prober) next() time.Duration {
	switch p.phase {
	case pinging:
		return min(p.due, p.ends)
	case draining:
		return p.ends
	}
	return min(p.repeat, p.ends)
}

func (p *prober) tick(now time.Duration) {
	switch p.phase {
	case greeting:
		p.greet(now)
	case pinging:
		p.ping(now)
	case draining:
		if p.sums.received >= p.sums.sent || now >= p.ends {
			p.enter(closing, now, wire.LastWithin)
			p.last(now)
		}
	case closing:
		p.last(now)
	}
}

// enter begins a phase that takes so long at most.
func (p *prober) enter(next phase, now, atMost time.Duration) {
	p.phase, p.ends, p.repeat = next, now+atMost, now
}

func (p *prober) fail(err error) { p.phase, p.failed = over, err }

// greet says HELLO when it is time.
func (p *prober) greet(now time.Duration) {
	switch {
	case now >= p.ends:
		p.fail(fmt.Errorf("%w within %v", probe.ErrNoHello, p.o.HelloWithin))
	case now >= p.repeat:
		p.repeat = now + wire.HelloEvery
		p.say(wire.Hello{Kind: wire.HelloOpen})
	}
}

// say sends a hello. Each is repeated; one may fail.
func (p *prober) say(h wire.Hello) {
	h.Header = p.o.header(p.hellos, p.now())
	h.Nonce = p.nonce
	p.hellos++
	_ = p.send(h.Append(nil, p.o.Key), unnumbered)
}

// begin starts pinging the peer, which has proved that it holds the key and is there
// now.
func (p *prober) begin(peer wire.Nonce, now time.Duration) {
	p.peer = peer
	p.first, p.interval, p.heard = now, now, now
	p.enter(pinging, now, p.o.Duration)
	p.draw()
}

// draw chooses when the ping of the current interval is due.
func (p *prober) draw() { p.due = p.interval + mathrand.N(p.every()/2) }

// every is the interval, longer where the peer has not been heard for some time.
func (p *prober) every() time.Duration {
	if p.interval-p.heard < slowAfter {
		return p.o.Every
	}
	return max(p.o.Every, slowEvery)
}

// ping sends a PING when it is time.
func (p *prober) ping(now time.Duration) {
	switch {
	case now-p.heard >= silenceLimit:
		p.fail(p.silence())
	case now >= p.ends || p.stopped():
		p.enter(draining, now, p.grace())
	case now >= p.due && len(p.pings) < cap(p.pings):
		p.ask()
		p.advance(now)
	case now >= p.due:
		p.advance(now)
	}
}

// silence says why there was no answer, where this end knows.
func (p *prober) silence() error {
	if p.refusal != nil {
		return fmt.Errorf("%w: no answer for %v, and the local stack refuses pings: %w", probe.ErrPeerSilent, silenceLimit, p.refusal)
	}
	return fmt.Errorf("%w: no answer for %v", probe.ErrPeerSilent, silenceLimit)
}

func (p *prober) stopped() bool {
	select {
	case <-p.o.Until: // A nil channel is never ready.
		return true
	default:
		return false
	}
}

// grace is how long a PONG is awaited.
func (p *prober) grace() time.Duration { return min(max(leastGrace, 4*p.longest), mostGrace) }

// ask sends one PING.
func (p *prober) ask() {
	sequence, now := uint64(len(p.pings)), p.now()
	p.pings = append(p.pings, ping{left: now})
	wire.Ping{Header: p.o.header(sequence, now), Echo: p.peer}.Put(p.out, p.auth)
	if p.refusal = p.send(p.out, sequence); p.refusal == nil {
		p.sums.sent++
	} else {
		p.sums.refused++
		p.pings[sequence].flags |= refused
	}
	p.watch(Sample{Sequence: sequence, At: now - p.first, Sent: p.pings[sequence].left - p.first})
}

// advance goes to the next interval that has not passed; missed ones are not made up
// for.
func (p *prober) advance(now time.Duration) {
	every := p.every()
	passed := max(1, (now-p.interval)/every)
	p.sums.skipped += uint64(passed - 1)
	p.interval += passed * every
	p.draw()
}

// last says "last" HELLO when it is time.
func (p *prober) last(now time.Duration) {
	switch {
	case now >= p.ends:
		p.fail(fmt.Errorf("%w: it did not confirm the end within %v", probe.ErrPeerSilent, wire.LastWithin))
	case now >= p.repeat:
		p.repeat = now + wire.LastEvery
		p.say(wire.Hello{Kind: wire.HelloLast, Echo: p.peer, Sent: p.sums.sent})
	}
}

// abandon tells the peer, once, that it is over; what is still on its way is neither
// received nor lost.
func (p *prober) abandon(now time.Duration) {
	if p.phase != greeting {
		p.say(wire.Hello{Kind: wire.HelloLast, Echo: p.peer, Sent: p.sums.sent})
	}
	for i := range p.pings {
		if !p.pings[i].is(received|refused) && now-p.pings[i].left < p.grace() {
			p.pings[i].flags |= unsettled
		}
	}
}

// departed notes when the kernel saw the ping leave.
func (p *prober) departed(sequence uint64, at time.Duration) {
	p.pings[sequence].left = at
	p.pings[sequence].flags |= kernelLeft
}

func (p *prober) handle(b []byte, came moment) {
	h, err := wire.ParseHeader(b)
	switch {
	case err != nil || !p.o.owns(h):
		p.sums.malformed++
	case h.Type == wire.TypePong:
		p.pong(b, came)
	case h.Type == wire.TypeHello:
		p.hello(b, came.at)
	default:
		p.sums.malformed++
	}
}

func (p *prober) hello(b []byte, at time.Duration) {
	h, err := wire.OpenHello(b, p.o.Key)
	if err != nil || h.Echo != p.nonce {
		p.sums.malformed++
		return
	}
	switch {
	case h.Kind == wire.HelloReply && p.phase == greeting:
		p.begin(h.Nonce, at)
	case h.Kind == wire.HelloLast && p.phase == closing && h.Nonce == p.peer:
		p.phase, p.sums.answered = over, h.Sent
	}
}

func (p *prober) pong(b []byte, came moment) {
	m, err := wire.OpenPong(b, p.auth)
	if err != nil || len(b) != len(p.out) || m.Echo != p.nonce || m.Sequence >= uint64(len(p.pings)) {
		p.sums.malformed++
		return
	}
	if m.HasEarlier && m.Earlier < uint64(len(p.pings)) {
		q := &p.pings[m.Earlier]
		q.answered = m.EarlierLeft
		q.flags |= kernelAnswered
	}
	q := &p.pings[m.Sequence]
	if q.is(received) {
		p.sums.duplicated++
		return
	}
	p.heard = max(p.heard, came.at)
	p.receive(q, m, came)
	rtt := q.rtt()
	p.longest = max(p.longest, rtt)
	p.watch(Sample{Sequence: m.Sequence, At: p.now() - p.first, Sent: q.left - p.first, Answered: true, RTT: rtt})
}

// receive notes the first PONG of a ping.
func (p *prober) receive(q *ping, m wire.Pong, came moment) {
	p.sums.received++
	q.flags |= received
	q.heard, q.arrived = came.at, m.Arrived
	if !q.is(kernelAnswered) {
		q.answered = m.SendTime
	}
	if came.kernel {
		q.flags |= kernelHeard
	}
	if m.KernelArrived {
		q.flags |= kernelArrived
	}
	if q.heard-q.left > mostGrace {
		q.flags |= late
	}
}

// rtt is the round trip without what the answerer took, which cannot be more than all
// of it.
func (p *ping) rtt() time.Duration {
	all := p.heard - p.left
	return all - min(max(0, p.answered.Sub(p.arrived)), max(0, all))
}
