package pmtu

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// Search finds which sizes pass between conn and its peer, where Answer must be
// waiting or come soon. conn is connected, and not used by others meanwhile; it stays
// set to send with DF.
//
// probe.ErrNoHello means that the peer's hello did not come, and that nothing larger
// than a hello was sent. Later errors come with what was found until then:
// probe.ErrPeerSilent when the peer was heard no more, or ctx's error.
func Search(ctx context.Context, conn *net.UDPConn, o Options) (Result, error) {
	o, err := o.filled(familyOf(conn))
	if err != nil {
		return Result{}, err
	}
	socket, err := newSocket(conn)
	if err != nil {
		return Result{}, err
	}
	defer sockets.InterruptOn(ctx, conn)()
	s := newSearcher(socket, o)
	if err := s.greet(ctx); err != nil {
		return Result{}, fmt.Errorf("search the path's MTU: %w", err)
	}
	if err := s.run(ctx); err != nil {
		// The end of ctx interrupts writing, too.
		return s.result(), fmt.Errorf("search the path's MTU: %w", cmp.Or(ctx.Err(), err))
	}
	s.finish(ctx)
	return s.result(), nil
}

// searcher is the searching end.
type searcher struct {
	socket  *socket
	options Options
	start   time.Time  // Zero of the searcher's clock.
	nonce   wire.Nonce // This end's.
	padding []byte
	// peer is the answerer's nonce, rtt its reply's, told what it said of itself
	// last.
	peer  wire.Nonce
	rtt   time.Duration
	told  wire.Told
	heard time.Duration // When the peer was, by the searcher's clock.
	ended bool          // The peer has heard "last".

	sequence    uint64 // Of the datagram sent last.
	there, back *way
}

func newSearcher(socket *socket, o Options) *searcher {
	return &searcher{socket: socket, options: o, start: time.Now(), nonce: wire.NewNonce(), padding: newPadding()}
}

// newPadding is random, so that nothing on the way compresses it, and enough for the
// largest packet.
func newPadding() []byte {
	padding := make([]byte, sockets.MaxInner)
	_, _ = rand.Read(padding) // Never fails (crypto/rand).
	return padding
}

func (s *searcher) now() time.Duration { return time.Since(s.start) }

func (s *searcher) number() uint64 {
	s.sequence++
	return s.sequence
}

func (s *searcher) header(sequence uint64) wire.Header {
	return wire.Header{Trial: s.options.Trial, Sequence: sequence, SendTime: wire.StampOf(s.now())}
}

// greet says HELLO until the peer proves that it holds the key, and is there now, by
// echoing this end's fresh nonce.
func (s *searcher) greet(ctx context.Context) error {
	greeted := func() bool { return s.peer != (wire.Nonce{}) }
	if err := s.repeat(ctx, wire.HelloOpen, wire.HelloEvery, s.options.HelloWithin, greeted); err != nil {
		return err
	}
	if !greeted() {
		return fmt.Errorf("%w within %v", probe.ErrNoHello, s.options.HelloWithin)
	}
	s.there = newWay(s.options, s.rtt, s.try)
	s.back = newWay(s.options, s.rtt, s.ask)
	return nil
}

// repeat says a hello again and again until it is answered or its time is over.
func (s *searcher) repeat(ctx context.Context, kind wire.HelloKind, every, within time.Duration, answered func() bool) error {
	due := s.now()
	for ends := due + within; !answered() && s.now() < ends; {
		if s.now() >= due {
			s.hello(kind)
			due += every
		}
		if err := s.listen(ctx, min(due, ends)); err != nil {
			return err
		}
	}
	return nil
}

func (s *searcher) hello(kind wire.HelloKind) {
	h := wire.Hello{Header: s.header(s.number()), Kind: kind, Nonce: s.nonce}
	if kind == wire.HelloLast {
		h.Echo = s.peer
	}
	_, _ = s.socket.write(h.Append(nil, s.options.Key)) // Repeated; one may fail.
}

// run searches both ways until both are settled, or may take no more.
func (s *searcher) run(ctx context.Context) error {
	greeted, ends := s.heard, s.heard+searchWithin
	for {
		now := s.now()
		next, err := s.advance(now)
		if err != nil || next == never || now >= ends {
			return err
		}
		if now-s.heard >= silenceLimit {
			return fmt.Errorf("%w: nothing for %v", probe.ErrPeerSilent, silenceLimit)
		}
		if now-max(s.heard, greeted) >= greetAfter {
			greeted = now
			s.hello(wire.HelloOpen)
		}
		if err := s.listen(ctx, min(next, now+greetAfter)); err != nil {
			return err
		}
	}
}

// advance lets both ways do what is due.
func (s *searcher) advance(now time.Duration) (time.Duration, error) {
	s.there.finder.hint, s.back.finder.hint = s.socket.said, int(s.told.ICMP)
	there, err := s.there.advance(now, s.heard, s.number)
	if err != nil {
		return never, err
	}
	back, err := s.back.advance(now, s.heard, s.number)
	return min(there, back), err
}

// try sends a datagram of an inner size.
func (s *searcher) try(size int, sequence uint64) (limit int, err error) {
	m := wire.Sized{Header: s.header(sequence), InnerSize: uint32(size), Echo: s.peer}
	m.Padding = s.padding[:max(0, size-s.socket.family.headers-wire.SizedSize)]
	return s.socket.write(m.Append(nil, s.options.Key))
}

// ask has the peer send one.
func (s *searcher) ask(size int, sequence uint64) (limit int, err error) {
	m := wire.Ask{Header: s.header(sequence), InnerSize: uint32(size), Echo: s.peer}
	_, err = s.socket.write(m.Append(nil, s.options.Key))
	return 0, err
}

// listen takes the next datagram, if one comes until then.
func (s *searcher) listen(ctx context.Context, until time.Duration) error {
	_ = s.socket.conn.SetReadDeadline(s.start.Add(until)) // Fails only when closed; so will reading.
	if err := ctx.Err(); err != nil {
		return err
	}
	b, fragment, err := s.socket.read()
	switch {
	case err == nil:
		s.handle(b, fragment)
	case errors.Is(err, net.ErrClosed):
		return err
	}
	return ctx.Err() // Other errors are the deadline, and what ICMP said.
}

// handle takes a datagram, if it is of the peer's and answers this search.
func (s *searcher) handle(b []byte, fragment int) {
	header, err := wire.ParseHeader(b)
	if err != nil || header.Trial != s.options.Trial {
		return
	}
	switch header.Type {
	case wire.TypeHello:
		if m, err := wire.OpenHello(b, s.options.Key); err == nil && m.Kind == wire.HelloReply && m.Echo == s.nonce {
			s.greeted(m)
		}
	case wire.TypeTold:
		if m, err := wire.OpenTold(b, s.options.Key); err == nil && m.Echo == s.nonce && s.there != nil {
			s.takeTold(m)
		}
	case wire.TypeSized:
		whole := len(b) + s.socket.family.headers
		if m, err := wire.OpenSized(b, s.options.Key); err == nil && m.Echo == s.nonce && s.back != nil && int(m.InnerSize) == whole {
			s.takeSized(m, fragment)
		}
	}
}

// greeted takes the peer's hello; the first tells its nonce.
func (s *searcher) greeted(m wire.Hello) {
	s.heard = s.now()
	if s.peer == (wire.Nonce{}) {
		s.peer, s.rtt = m.Nonce, wire.StampOf(s.heard).Sub(m.SendTime)
	}
}

func (s *searcher) takeTold(m wire.Told) {
	s.heard, s.told = s.now(), m
	switch m.Kind {
	case wire.ToldCame:
		s.there.passed(m.Sequence, int(m.InnerSize), int(m.Fragment), s.heard)
	case wire.ToldRefused:
		s.back.toldRefused(m.Sequence, int(m.Local))
	case wire.ToldEnd:
		s.ended = true
	}
}

func (s *searcher) takeSized(m wire.Sized, fragment int) {
	s.heard = s.now()
	s.back.passed(m.Sequence, int(m.InnerSize), fragment, s.heard)
}

// finish says "last" until the peer has heard it. Where it does not, the peer ends by
// its own clock, and what was found holds.
func (s *searcher) finish(ctx context.Context) {
	_ = s.repeat(ctx, wire.HelloLast, wire.LastEvery, wire.LastWithin, func() bool { return s.ended })
}

func (s *searcher) result() Result {
	r := Result{There: s.there.result(), Back: s.back.result(), HelloRTT: s.rtt}
	r.There.said(s.socket.said, s.socket.saidBy)
	r.There.CachedMTU = s.socket.cachedMTU()
	r.Back.said(int(s.told.ICMP), s.told.ICMPFrom)
	r.Back.CachedMTU = int(s.told.Cached)
	return r
}
