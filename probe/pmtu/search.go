package pmtu

import (
	"cmp"
	"context"
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
	e, err := newEnd(conn, o)
	if err != nil {
		return Result{}, err
	}
	defer sockets.InterruptOn(ctx, conn)()
	s := &searcher{end: e}
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
	*end
	rtt   time.Duration // Of the first hello.
	told  wire.Told     // What the peer said of itself last.
	heard time.Duration // When the peer was, by the searcher's clock.
	ended bool          // The peer has heard "last".

	sequence    uint64 // Of the datagram sent last.
	there, back *way
}

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
	if err := s.repeat(ctx, wire.HelloOpen, wire.HelloEvery, s.options.HelloWithin, s.greeted); err != nil {
		return err
	}
	if !s.greeted() {
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
		if err := s.listen(ctx, min(due, ends), s.handle); err != nil {
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
	_, _ = s.write(h.Append(nil, s.options.Key)) // Repeated; one may fail.
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
		if err := s.listen(ctx, min(next, now+greetAfter), s.handle); err != nil {
			return err
		}
	}
}

// advance lets both ways do what is due.
func (s *searcher) advance(now time.Duration) (time.Duration, error) {
	s.there.finder.hint, s.back.finder.hint = s.said, int(s.told.ICMP)
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
	m.Padding = s.padding[:max(0, size-s.family.headers-wire.SizedSize)]
	return s.write(m.Append(nil, s.options.Key))
}

// ask has the peer send one.
func (s *searcher) ask(size int, sequence uint64) (limit int, err error) {
	m := wire.Ask{Header: s.header(sequence), InnerSize: uint32(size), Echo: s.peer}
	_, err = s.write(m.Append(nil, s.options.Key))
	return 0, err
}

// handle takes a datagram, if it is of the peer's and answers this search.
func (s *searcher) handle(t wire.Type, b []byte, fragment int) {
	switch t {
	case wire.TypeHello:
		if m, err := wire.OpenHello(b, s.options.Key); err == nil && m.Kind == wire.HelloReply && m.Echo == s.nonce {
			s.takeReply(m)
		}
	case wire.TypeTold:
		if m, err := wire.OpenTold(b, s.options.Key); err == nil && m.Echo == s.nonce && s.there != nil {
			s.takeTold(m)
		}
	case wire.TypeSized:
		if m, ours := s.openSized(b); ours && s.back != nil {
			s.takeSized(m, fragment)
		}
	}
}

// takeReply takes the peer's hello; the first tells its nonce.
func (s *searcher) takeReply(m wire.Hello) {
	s.heard = s.now()
	if !s.greeted() {
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
	r.There.said(s.said, s.saidBy)
	r.There.CachedMTU = s.cachedMTU()
	r.Back.said(int(s.told.ICMP), s.told.ICMPFrom)
	r.Back.CachedMTU = int(s.told.Cached)
	return r
}
