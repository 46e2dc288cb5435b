package udp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// Send offers the load to the peer at the other end of conn, where Receive must
// be waiting or come soon. It returns when the peer has confirmed the end. conn
// must be connected, and not be used by others meanwhile.
//
// progress, if not nil, is called some ten times a second from another
// goroutine, but never after Send has returned.
//
// Before the peer's hello, errors mean that no load was sent: probe.ErrNoHello
// when it did not come. Later ones come with what was sent until then:
// probe.ErrPeerSilent when the peer was heard no more, or ctx's error.
func Send(ctx context.Context, conn *net.UDPConn, trial Trial, load probe.Load, progress func(probe.Progress)) (probe.Sent, error) {
	size, err := payloadSize(conn, trial, load)
	if err != nil {
		return probe.Sent{}, err
	}
	if err := prepareSender(conn); err != nil {
		return probe.Sent{}, err
	}
	release := interruptOn(ctx, conn)
	defer release()
	s, err := newSender(conn, trial, load, size)
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

// sender is the sending end of one trial.
type sender struct {
	conn  *net.UDPConn
	trial Trial
	clock *machineClock
	// nonce is this end's, peer the receiver's, known once it has replied.
	nonce, peer wire.Nonce
	out         *transmission
}

func newSender(conn *net.UDPConn, trial Trial, load probe.Load, size int) (*sender, error) {
	clock, err := newMachineClock()
	if err != nil {
		return nil, err
	}
	s := &sender{conn: conn, trial: trial, clock: clock}
	_, _ = rand.Read(s.nonce[:]) // Never fails (crypto/rand).
	train := trainLength(load, size)
	writer, err := newSocketWriter(conn, train)
	if err != nil {
		return nil, fmt.Errorf("take the trial's socket: %w", err)
	}
	// Random bytes: a path that compresses must not look faster than it is.
	buffer := make([]byte, train*size)
	_, _ = rand.Read(buffer)
	s.out = &transmission{
		clock: clock, out: writer, size: size, buffer: buffer,
		header: trial.header(wire.TypeData),
	}
	return s, nil
}

// greet says HELLO until the peer proves that it holds the key, and is there
// now, by echoing this end's fresh nonce. It returns the round trip's time.
func (s *sender) greet(ctx context.Context) (rtt time.Duration, err error) {
	ends := s.clock.Now() + s.trial.helloWithin()
	for n := uint64(0); ; n++ {
		now := s.clock.Now()
		if now >= ends {
			return 0, fmt.Errorf("%w within %v", probe.ErrNoHello, s.trial.helloWithin())
		}
		// Until the peer's socket is open, ICMP may make this fail.
		_, _ = s.conn.Write(s.hello(wire.HelloOpen, n))
		reply, err := s.awaitReply(ctx, min(helloEvery, ends-now))
		switch {
		case err == nil:
			s.peer = reply.Nonce
			return wire.StampOf(s.clock.Now()).Sub(reply.SendTime), nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, fmt.Errorf("await the peer's hello: %w", err)
		}
	}
}

// awaitReply reads until the reply to this end's hello comes, for at most d.
func (s *sender) awaitReply(ctx context.Context, d time.Duration) (wire.Hello, error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(d)) // Fails only when closed; so will Read.
	var b [wire.HelloSize + 1]byte
	for {
		if ctx.Err() != nil {
			return wire.Hello{}, ctx.Err()
		}
		n, err := s.conn.Read(b[:])
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return wire.Hello{}, err
		}
		if err != nil {
			continue // An ICMP error of an earlier hello; reading clears it.
		}
		h, err := wire.OpenHello(b[:n], s.trial.Key)
		if err == nil && h.Kind == wire.HelloReply && s.trial.owns(h.Header) && h.Echo == s.nonce {
			return h, nil
		}
	}
}

func (s *sender) hello(kind wire.HelloKind, sequence uint64) []byte {
	h := wire.Hello{Header: s.trial.header(wire.TypeHello), Kind: kind, Nonce: s.nonce}
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
		if mtu, mtuErr := pathMTU(s.conn); mtuErr == nil {
			err = fmt.Errorf("%w (inner packets have %d bytes, the path takes %d)", err, load.InnerSize, mtu)
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
	if load.Packets > 0 {
		elapsed, err = s.out.burst(load.Packets)
		return elapsed, 0, err
	}
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
		_, _ = s.conn.Write(s.hello(wire.HelloLast, n)) // Repeated; one may fail.
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
