package udp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// Send offers the load to the peer at the other end of conns, where Receive must
// be waiting or come soon. It returns when the peer has confirmed the end. There
// is one of conns for each flow: connected, from ports of their own to the same
// port of the peer, and not used by others meanwhile.
//
// progress, if not nil, is called some ten times a second from another
// goroutine, but never after Send has returned.
//
// Before the peer's hello on every flow, errors mean that no load was sent:
// probe.ErrNoHello when one did not come. Later ones come with what was sent
// until then: probe.ErrPeerSilent when the peer was heard no more, or ctx's error.
func Send(ctx context.Context, open Open, trial Trial, load probe.Load, progress func(probe.Progress)) (probe.Sent, error) {
	conns := make([]*net.UDPConn, flowsOf(load))
	for flow := range conns {
		conn, err := open(flow % lanesOf(load))
		if err != nil {
			return probe.Sent{}, err
		}
		defer conn.Close()
		conns[flow] = conn
	}
	if err := checkTrial(conns[0], trial, load); err != nil {
		return probe.Sent{}, err
	}
	size := load.Mix.Most() - headers(conns[0])
	release := interruptOn(ctx, conns...)
	defer release()
	s, err := newSender(conns, trial, load, size)
	if err != nil {
		return probe.Sent{}, err
	}
	rtt, err := s.greet(ctx)
	if err != nil {
		return probe.Sent{}, err
	}
	sent, err := s.load(ctx, load, progress)
	sent.HelloRTT = rtt
	return sent, err
}

// Open opens a socket that is connected to the receiver's port of the lane, from
// a source port not used before.
type Open func(lane int) (*net.UDPConn, error)

// sender is the sending end of one trial.
type sender struct {
	conns []*net.UDPConn // One for each flow. The peer's feedback comes on the first.
	trial Trial
	clock *machineClock
	// nonce is this end's, peer the receiver's, known once it has replied.
	nonce, peer wire.Nonce
	out         *transmission
}

func newSender(conns []*net.UDPConn, trial Trial, load probe.Load, size int) (*sender, error) {
	clock, err := newMachineClock()
	if err != nil {
		return nil, err
	}
	s := &sender{conns: conns, trial: trial, clock: clock}
	_, _ = rand.Read(s.nonce[:]) // Never fails (crypto/rand).
	train := trainLength(load, size)
	// Random bytes: a path that compresses must not look faster than it is.
	buffer := make([]byte, train*size)
	_, _ = rand.Read(buffer)
	s.out = &transmission{clock: clock, trial: trial, size: size, buffer: buffer}
	for _, conn := range conns {
		if err := prepareSender(conn); err != nil {
			return nil, err
		}
		writer, err := newSocketWriter(conn, train)
		if err != nil {
			return nil, fmt.Errorf("take the trial's socket: %w", err)
		}
		s.out.flows = append(s.out.flows, writer)
	}
	return s, nil
}

// greet says HELLO on every flow, on all at the same time, and returns the
// longest round trip.
func (s *sender) greet(ctx context.Context) (rtt time.Duration, err error) {
	greeted := make([]greeting, len(s.conns))
	var all sync.WaitGroup
	for flow := range s.conns {
		all.Go(func() { greeted[flow] = s.greetFlow(ctx, flow) })
	}
	all.Wait()
	for flow, g := range greeted {
		if g.err != nil {
			return 0, s.onFlow(flow, g.err)
		}
		rtt = max(rtt, g.rtt)
	}
	s.peer = greeted[0].peer
	return rtt, nil
}

// onFlow says which of several flows an error is of.
func (s *sender) onFlow(flow int, err error) error {
	if len(s.conns) == 1 {
		return err
	}
	return fmt.Errorf("flow %d of %d, from %s: %w", flow+1, len(s.conns), s.conns[flow].LocalAddr(), err)
}

// greeting is how one flow was opened.
type greeting struct {
	peer wire.Nonce
	rtt  time.Duration
	err  error
}

// greetFlow says HELLO until the peer proves that it holds the key, and is there
// now, by echoing this end's fresh nonce.
func (s *sender) greetFlow(ctx context.Context, flow int) greeting {
	ends := s.clock.Now() + s.trial.helloWithin()
	for n := uint64(0); ; n++ {
		now := s.clock.Now()
		if now >= ends {
			return greeting{err: fmt.Errorf("%w within %v", probe.ErrNoHello, s.trial.helloWithin())}
		}
		// Until the peer's socket is open, ICMP may make this fail.
		_, _ = s.conns[flow].Write(s.hello(wire.HelloOpen, flow, n))
		reply, err := s.awaitReply(ctx, flow, min(helloEvery, ends-now))
		switch {
		case err == nil:
			return greeting{peer: reply.Nonce, rtt: wire.StampOf(s.clock.Now()).Sub(reply.SendTime)}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return greeting{err: fmt.Errorf("await the peer's hello: %w", err)}
		}
	}
}

// awaitReply reads until the reply to this end's hello on the flow comes, for at
// most d.
func (s *sender) awaitReply(ctx context.Context, flow int, d time.Duration) (wire.Hello, error) {
	conn := s.conns[flow]
	_ = conn.SetReadDeadline(time.Now().Add(d)) // Fails only when closed; so will Read.
	var b [wire.HelloSize + 1]byte
	for {
		if ctx.Err() != nil {
			return wire.Hello{}, ctx.Err()
		}
		n, err := conn.Read(b[:])
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return wire.Hello{}, err
		}
		if err != nil {
			continue // An ICMP error of an earlier hello; reading clears it.
		}
		h, err := wire.OpenHello(b[:n], s.trial.Key)
		mine := err == nil && s.trial.owns(h.Header, len(s.conns)) && int(h.Stream) == flow
		if mine && h.Kind == wire.HelloReply && h.Echo == s.nonce {
			return h, nil
		}
	}
}

func (s *sender) hello(kind wire.HelloKind, flow int, sequence uint64) []byte {
	h := wire.Hello{Header: s.trial.header(wire.TypeHello, flow), Kind: kind, Nonce: s.nonce}
	h.Sequence = sequence
	h.SendTime = wire.StampOf(s.clock.Now())
	if kind == wire.HelloLast {
		h.Echo, h.Sent = s.peer, s.out.sequence.Load()
	}
	return h.Append(nil, s.trial.Key)
}

// load sends the load while the peer is heard, and then says that it is over.
func (s *sender) load(ctx context.Context, load probe.Load, progress func(probe.Progress)) (probe.Sent, error) {
	l := listen(s, ctx.Err, progress)
	defer l.close()
	s.out.stop = l.stop
	elapsed, skipped, err := s.transmit(load)
	sent := s.out.counts()
	sent.Elapsed, sent.Skipped = elapsed, skipped
	if errors.Is(err, unix.EMSGSIZE) {
		if mtu, mtuErr := pathMTU(s.conns[0]); mtuErr == nil {
			err = fmt.Errorf("%w (inner packets have %d bytes, the path takes %d)", err, load.Mix.Most(), mtu)
		}
	}
	if err != nil {
		return sent, fmt.Errorf("send the load: %w", err)
	}
	return sent, s.finish(ctx, l)
}

// transmit sends the load from a thread of its own.
func (s *sender) transmit(load probe.Load) (elapsed, skipped time.Duration, err error) {
	release := preciseThread()
	defer release()
	plan := newSchedule(load, len(s.out.buffer)/s.out.size)
	elapsed, err = s.out.paced(plan)
	return elapsed, plan.skipped, err
}

// finish says "last" until the final feedback comes.
func (s *sender) finish(ctx context.Context, l *listener) error {
	ticker := time.NewTicker(lastEvery)
	defer ticker.Stop()
	ends := s.clock.Now() + lastWithin
	for n := uint64(0); s.clock.Now() < ends; n++ {
		_, _ = s.conns[0].Write(s.hello(wire.HelloLast, 0, n)) // Repeated; one may fail.
		select {
		case <-l.final:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("end the trial: %w", ctx.Err())
		case <-l.done:
			return fmt.Errorf("end the trial: %w", l.stop(s.clock.Now()))
		case <-ticker.C:
		}
	}
	return fmt.Errorf("end the trial: %w: no final count within %v", probe.ErrPeerSilent, lastWithin)
}
