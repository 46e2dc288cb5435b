package pmtu

import (
	"context"
	"fmt"
	"net"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// Answered is what the answering end of a search did.
type Answered struct {
	Came int // Datagrams that tried a size and came.
	Sent int // Those that were asked for.
}

// Answer lets the peer of conn search which sizes pass, and returns when that is over.
// conn is connected, and not used by others meanwhile; it stays set to send with DF.
//
// Until its own fresh nonce has come back, which only a peer at that address can have
// seen, it sends nothing larger than what it answers. From then on it sends one datagram
// of the size that was asked for to each ASK, and to no more of them than a search has.
//
// Errors come with what was done until then: probe.ErrNoHello when the peer's hello
// did not come, probe.ErrPeerSilent when its end did not, or ctx's error.
func Answer(ctx context.Context, conn *net.UDPConn, o Options) (Answered, error) {
	e, err := newEnd(conn, o)
	if err != nil {
		return Answered{}, err
	}
	defer sockets.InterruptOn(ctx, conn)()
	a := &answerer{end: e, deadline: e.options.HelloWithin, asked: make(map[uint64]bool)}
	if err := a.run(ctx); err != nil {
		return a.answered, fmt.Errorf("answer the search of the path's MTU: %w", err)
	}
	return a.answered, nil
}

// answerer is the answering end.
type answerer struct {
	*end
	known    bool            // The peer has echoed this end's nonce.
	deadline time.Duration   // When the peer must have been heard again.
	asked    map[uint64]bool // Sequence numbers: none is answered twice.
	over     bool
	answered Answered
}

// run answers until the search is over, the peer is silent for too long, or it has
// lasted longer than any search.
func (a *answerer) run(ctx context.Context) error {
	within := a.options.HelloWithin + searchWithin + wire.LastWithin
	for a.now() < min(a.deadline, within) {
		if err := a.listen(ctx, min(a.deadline, within), a.handle); err != nil {
			return err
		}
	}
	switch {
	case a.over:
		return nil
	case !a.greeted():
		return fmt.Errorf("%w within %v", probe.ErrNoHello, a.options.HelloWithin)
	}
	return fmt.Errorf("%w: nothing for %v, or no end within %v", probe.ErrPeerSilent, silenceLimit, within)
}

// handle takes a datagram, if it is of the peer's and of this search.
func (a *answerer) handle(t wire.Type, b []byte, fragment int) {
	switch t {
	case wire.TypeHello:
		if m, err := wire.OpenHello(b, a.options.Key); err == nil {
			a.takeHello(m)
		}
	case wire.TypeSized:
		if m, ours := a.openSized(b); ours {
			a.heard()
			a.answered.Came++
			a.tell(m.Header, wire.Told{Kind: wire.ToldCame, InnerSize: m.InnerSize, Fragment: uint32(fragment)})
		}
	case wire.TypeAsk:
		if m, err := wire.OpenAsk(b, a.options.Key); err == nil && m.Echo == a.nonce {
			a.heard()
			a.takeAsk(m)
		}
	}
}

// heard notes that the peer echoes this end's nonce, which puts off the end of waiting;
// after "last" it does not.
func (a *answerer) heard() {
	a.known = true
	a.wait()
}

func (a *answerer) wait() {
	if !a.over {
		a.deadline = a.now() + silenceLimit
	}
}

// takeHello answers a hello. An older one, replayed or late, may come before the
// searcher's own; so the newest is taken until one has shown that it knows this end's
// nonce.
func (a *answerer) takeHello(m wire.Hello) {
	if m.Kind == wire.HelloOpen && !a.known {
		a.peer = m.Nonce
	}
	switch {
	case m.Nonce != a.peer:
	case m.Kind == wire.HelloOpen:
		a.wait()
		reply := wire.Hello{Header: m.Header, Kind: wire.HelloReply, Nonce: a.nonce, Echo: a.peer}
		a.send(reply.Append(nil, a.options.Key))
	case m.Kind == wire.HelloLast && m.Echo == a.nonce:
		a.over, a.deadline = true, a.now()+wire.Linger
		a.tell(m.Header, wire.Told{Kind: wire.ToldEnd})
	}
}

// takeAsk sends what was asked for, once and within bounds, and tells that it did.
func (a *answerer) takeAsk(m wire.Ask) {
	size := int(m.InnerSize)
	least := a.family.headers + wire.SizedSize
	if a.asked[m.Sequence] || len(a.asked) >= mostSent || size < least || size > a.options.Most {
		return
	}
	a.asked[m.Sequence] = true
	sized := wire.Sized{Header: m.Header, InnerSize: m.InnerSize, Echo: a.peer, Padding: a.padding[:size-least]}
	told := wire.Told{Kind: wire.ToldSent, InnerSize: m.InnerSize}
	if limit := a.send(sized.Append(nil, a.options.Key)); limit > 0 {
		told.Kind, told.Local = wire.ToldRefused, uint32(limit)
	} else {
		a.answered.Sent++
	}
	a.tell(m.Header, told)
}

// tell answers what had the header.
func (a *answerer) tell(h wire.Header, t wire.Told) {
	t.Header, t.Echo = h, a.peer
	t.ICMP, t.ICMPFrom, t.Cached = uint32(a.said), a.saidBy, uint32(a.cachedMTU())
	a.send(t.Append(nil, a.options.Key))
}

// send sends b. An answer that cannot be sent is like one that is lost: what it
// answers is repeated.
func (a *answerer) send(b []byte) (limit int) {
	limit, _ = a.write(b)
	return limit
}
