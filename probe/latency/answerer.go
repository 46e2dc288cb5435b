package latency

import (
	"context"
	"fmt"
	"net"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// Answered is what the answering end counted.
type Answered struct {
	Pings uint64 // Answered, each once.
	// Repeated came again and were not answered again.
	Repeated uint64
	// Refused counts PONGs that the local stack did not take.
	Refused uint64
	// Malformed counts datagrams on the probe's socket that were not its own.
	Malformed uint64
}

// Answer answers the pings of Probe at the other end of conn, which is connected and
// not used by others meanwhile. It returns when the prober has said that it is over.
//
// Errors come with what was counted until then: probe.ErrNoHello when the prober's
// hello did not come, probe.ErrPeerSilent when its end did not, or ctx's error.
func Answer(ctx context.Context, conn *net.UDPConn, o Options) (Answered, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Answered{}, err
	}
	size, err := o.payload(conn)
	if err != nil {
		return Answered{}, err
	}
	l, err := newLink(conn, o, size)
	if err != nil {
		return Answered{}, err
	}
	a := newAnswerer(o, size, l.now, l.send)
	if err := firstOf(l.run(ctx, a), a.failed); err != nil {
		return a.counts, fmt.Errorf("answer pings: %w", err)
	}
	return a.counts, nil
}

// answerer is the answering end's part of the protocol.
type answerer struct {
	o    Options
	now  func() time.Duration
	send func(b []byte, number uint64) error
	auth *wire.Authenticator
	out  []byte // One PONG.

	// nonce is this end's, peer the prober's.
	nonce, peer wire.Nonce
	greeted     bool // By an authentic hello.
	done        bool
	failed      error

	counts   Answered
	answered []uint64 // A bit for each sequence number.

	hasEarlier  bool // A departure that the kernel has stamped: the newest.
	earlier     uint64
	earlierLeft time.Duration

	lingers bool          // The prober has said "last".
	ends    time.Duration // Whatever comes.
	silent  time.Duration // Unless something comes.
}

func newAnswerer(o Options, size int, now func() time.Duration, send func([]byte, uint64) error) *answerer {
	a := &answerer{
		o: o, now: now, send: send, auth: wire.NewAuthenticator(o.Key), out: make([]byte, size), nonce: wire.NewNonce(),
		answered: make([]uint64, o.limit()/64+1),
	}
	a.ends = now() + o.HelloWithin
	a.silent = a.ends
	return a
}

func (a *answerer) over() bool { return a.done }

func (a *answerer) next() time.Duration { return min(a.ends, a.silent) }

func (a *answerer) tick(now time.Duration) {
	if now < a.next() {
		return
	}
	a.done = true
	switch {
	case !a.greeted:
		a.failed = fmt.Errorf("%w within %v", probe.ErrNoHello, a.o.HelloWithin)
	case !a.lingers:
		a.failed = fmt.Errorf("%w: its end did not come", probe.ErrPeerSilent)
	}
}

func (a *answerer) handle(b []byte, came moment) {
	h, err := wire.ParseHeader(b)
	switch {
	case err != nil || !a.o.owns(h):
		a.counts.Malformed++
	case h.Type == wire.TypePing:
		a.ping(b, came)
	case h.Type == wire.TypeHello:
		a.hello(b, came.at)
	default:
		a.counts.Malformed++
	}
}

func (a *answerer) hello(b []byte, at time.Duration) {
	h, err := wire.OpenHello(b, a.o.Key)
	switch {
	case err == nil && h.Kind == wire.HelloOpen:
		a.open(h, at)
	case err == nil && h.Kind == wire.HelloLast && a.greeted && h.Echo == a.nonce && h.Nonce == a.peer:
		a.last(h, at)
	default:
		a.counts.Malformed++
	}
}

// open answers a hello. An older one, replayed or late, may come before the prober's
// own; so the newest is taken until there are pings.
func (a *answerer) open(h wire.Hello, at time.Duration) {
	if a.lingers || a.counts.Pings > 0 && h.Nonce != a.peer {
		return
	}
	if !a.greeted {
		a.greeted = true
		a.ends = at + a.o.HelloWithin + a.o.Duration + mostGrace + wire.LastWithin + wire.Linger
	}
	a.peer = h.Nonce
	a.silent = at + silenceLimit
	reply := wire.Hello{Header: h.Header, Kind: wire.HelloReply, Nonce: a.nonce, Echo: h.Nonce}
	_ = a.send(reply.Append(nil, a.o.Key), unnumbered) // The prober asks again; one may fail.
}

// last confirms the end with what was answered.
func (a *answerer) last(h wire.Hello, at time.Duration) {
	a.lingers = true
	a.silent = at + wire.Linger
	confirmed := wire.Hello{
		Header: h.Header, Kind: wire.HelloLast, Nonce: a.nonce, Echo: h.Nonce, Sent: a.counts.Pings,
	}
	_ = a.send(confirmed.Append(nil, a.o.Key), unnumbered) // The same.
}

// ping answers a PING, which shows by this end's fresh nonce that it is no replay of
// another probe, and by its number that it is none of this one.
func (a *answerer) ping(b []byte, came moment) {
	m, err := wire.OpenPing(b, a.auth)
	if err != nil || len(b) != len(a.out) || !a.greeted || a.lingers || m.Echo != a.nonce || m.Sequence >= a.o.limit() {
		a.counts.Malformed++
		return
	}
	word, bit := &a.answered[m.Sequence/64], uint64(1)<<(m.Sequence%64)
	if *word&bit != 0 {
		a.counts.Repeated++
		return
	}
	*word |= bit
	a.silent = came.at + silenceLimit
	a.pong(m, came)
}

func (a *answerer) pong(m wire.Ping, came moment) {
	wire.Pong{
		Header: a.o.header(m.Sequence, a.now()), Echo: a.peer,
		Arrived: wire.StampOf(came.at), KernelArrived: came.kernel,
		HasEarlier: a.hasEarlier, Earlier: a.earlier, EarlierLeft: wire.StampOf(a.earlierLeft),
	}.Put(a.out, a.auth)
	if a.send(a.out, m.Sequence) != nil {
		a.counts.Refused++
	}
	a.counts.Pings++
}

// departed notes when the kernel saw a PONG leave; the next one tells.
func (a *answerer) departed(sequence uint64, at time.Duration) {
	a.hasEarlier, a.earlier, a.earlierLeft = true, sequence, at
}
