package pmtu

import (
	"context"
	"errors"
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
	o, err := o.filled(familyOf(conn))
	if err != nil {
		return Answered{}, err
	}
	socket, err := newSocket(conn)
	if err != nil {
		return Answered{}, err
	}
	defer sockets.InterruptOn(ctx, conn)()
	a := newAnswerer(socket, o)
	if err := a.run(ctx); err != nil {
		return a.answered, fmt.Errorf("answer the search of the path's MTU: %w", err)
	}
	return a.answered, nil
}

// answerer is the answering end.
type answerer struct {
	socket  *socket
	options Options
	start   time.Time  // Zero of the answerer's clock.
	nonce   wire.Nonce // This end's.
	padding []byte
	// peer is the searcher's nonce, the zero nonce until it has said hello.
	peer     wire.Nonce
	deadline time.Duration   // When the peer must have been heard again.
	asked    map[uint64]bool // Sequence numbers: none is answered twice.
	over     bool
	answered Answered
}

func newAnswerer(socket *socket, o Options) *answerer {
	return &answerer{
		socket: socket, options: o, start: time.Now(), nonce: wire.NewNonce(), padding: newPadding(),
		deadline: o.HelloWithin, asked: make(map[uint64]bool),
	}
}

func (a *answerer) now() time.Duration { return time.Since(a.start) }

// run answers until the search is over, the peer is silent for too long, or it has
// lasted longer than any search.
func (a *answerer) run(ctx context.Context) error {
	within := a.options.HelloWithin + searchWithin + wire.LastWithin
	for a.now() < min(a.deadline, within) {
		_ = a.socket.conn.SetReadDeadline(a.start.Add(min(a.deadline, within))) // Fails only when closed; so will reading.
		if err := ctx.Err(); err != nil {
			return err
		}
		b, fragment, err := a.socket.read()
		switch {
		case err == nil:
			a.handle(b, fragment)
		case errors.Is(err, net.ErrClosed):
			return err
		} // Other errors are the deadline, and what ICMP said.
	}
	switch {
	case a.over:
		return nil
	case a.peer == (wire.Nonce{}):
		return fmt.Errorf("%w within %v", probe.ErrNoHello, a.options.HelloWithin)
	}
	return fmt.Errorf("%w: nothing for %v, or no end within %v", probe.ErrPeerSilent, silenceLimit, within)
}

// handle takes a datagram, if it is of the peer's and of this search.
func (a *answerer) handle(b []byte, fragment int) {
	header, err := wire.ParseHeader(b)
	if err != nil || header.Trial != a.options.Trial {
		return
	}
	switch header.Type {
	case wire.TypeHello:
		if m, err := wire.OpenHello(b, a.options.Key); err == nil {
			a.takeHello(m)
		}
	case wire.TypeSized:
		if m, err := wire.OpenSized(b, a.options.Key); err == nil && a.knows(m.Echo) && int(m.InnerSize) == len(b)+a.socket.family.headers {
			a.heard()
			a.answered.Came++
			a.tell(m.Header, wire.Told{Kind: wire.ToldCame, InnerSize: m.InnerSize, Fragment: uint32(fragment)})
		}
	case wire.TypeAsk:
		if m, err := wire.OpenAsk(b, a.options.Key); err == nil && a.knows(m.Echo) {
			a.heard()
			a.takeAsk(m)
		}
	}
}

// knows says whether the peer echoes this end's nonce, and is the one that said hello.
func (a *answerer) knows(echo wire.Nonce) bool { return a.peer != (wire.Nonce{}) && echo == a.nonce }

// heard puts off the end of waiting; after "last" it does not.
func (a *answerer) heard() {
	if !a.over {
		a.deadline = a.now() + silenceLimit
	}
}

// takeHello answers a hello. The first searcher is the only one.
func (a *answerer) takeHello(m wire.Hello) {
	if a.peer == (wire.Nonce{}) && m.Kind == wire.HelloOpen {
		a.peer = m.Nonce
	}
	switch {
	case m.Nonce != a.peer:
	case m.Kind == wire.HelloOpen:
		a.heard()
		reply := wire.Hello{Header: m.Header, Kind: wire.HelloReply, Nonce: a.nonce, Echo: a.peer}
		a.send(reply.Append(nil, a.options.Key))
	case m.Kind == wire.HelloLast && a.knows(m.Echo):
		a.over, a.deadline = true, a.now()+wire.Linger
		a.tell(m.Header, wire.Told{Kind: wire.ToldEnd})
	}
}

// takeAsk sends what was asked for, once and within bounds, and tells that it did.
func (a *answerer) takeAsk(m wire.Ask) {
	size := int(m.InnerSize)
	least := a.socket.family.headers + wire.SizedSize
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
	t.ICMP, t.ICMPFrom, t.Cached = uint32(a.socket.said), a.socket.saidBy, uint32(a.socket.cachedMTU())
	a.send(t.Append(nil, a.options.Key))
}

// send sends b. An answer that cannot be sent is like one that is lost: what it
// answers is repeated.
func (a *answerer) send(b []byte) (limit int) {
	limit, _ = a.socket.write(b)
	return limit
}
