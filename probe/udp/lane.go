package udp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// lane is the sending end of one lane of a trial.
type lane struct {
	number int
	open   Open
	trial  Trial
	shared probe.Load // Of all lanes.
	clock  *machineClock
	flows  []flow // The peer's feedback comes on the first.
	// nonce is this end's, peer the receiver's, known once it has replied.
	nonce, peer wire.Nonce
	rtt         time.Duration // Of the hello.
	out         *transmission
	feedback    *listener
	fresh       *renewal // Nil where no flow is replaced.

	elapsed, skipped time.Duration
}

// openFirst opens the lane's first flow and makes ready what all flows share.
func (l *lane) openFirst() error {
	if err := checkFlows(l.shared); err != nil { // What follows counts on it.
		return fmt.Errorf("take load: %w", err)
	}
	if err := l.openFlow(); err != nil {
		return err
	}
	if err := checkTrial(l.flows[0].conn.headers, l.trial, l.shared); err != nil {
		return err
	}
	if err := l.flows[0].conn.readable(); err != nil {
		return err
	}
	l.nonce = wire.NewNonce()
	l.out = newTransmission(l.clock, l.trial, l.shared, l.flows[0].conn.headers)
	return nil
}

// openRest opens the lane's other flows, and sockets for those that are to take
// their place.
func (l *lane) openRest(ctx context.Context) error {
	for len(l.flows) < flowsIn(l.number, l.shared) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.openFlow(); err != nil {
			return err
		}
	}
	l.out.flows = l.flows
	if l.shared.NewFlowsPerSecond == 0 {
		return nil
	}
	l.fresh = newRenewal(l.openSocket, l.shared, l.number)
	l.out.renewal = l.fresh
	return l.fresh.fill()
}

func (l *lane) openFlow() error {
	number := l.number + len(l.flows)*l.shared.LaneCount()
	s, err := l.openSocket()
	if err != nil {
		return fmt.Errorf("open flow %d of %d: %w", number+1, l.shared.FlowCount(), err)
	}
	l.flows = append(l.flows, flow{number: number, conn: s})
	return nil
}

func (l *lane) openSocket() (*plain, error) { return openSocket(l.open, l.number, l.shared.DSCP) }

// greet says HELLO until the peer proves that it holds the key, and is there
// now, by echoing this end's fresh nonce. From then on the peer must be heard.
func (l *lane) greet(ctx context.Context) error {
	ends := l.clock.Now() + l.trial.helloWithin()
	for n := uint64(0); ; n++ {
		now := l.clock.Now()
		if now >= ends {
			return fmt.Errorf("%w within %v", probe.ErrNoHello, l.trial.helloWithin())
		}
		// Until the peer's socket is open, ICMP may make this fail.
		_, _ = l.flows[0].conn.Write(l.hello(wire.HelloOpen, n))
		reply, err := l.awaitReply(ctx, min(wire.HelloEvery, ends-now))
		switch {
		case err == nil:
			l.peer, l.rtt = reply.Nonce, wire.StampOf(l.clock.Now()).Sub(reply.SendTime)
			l.feedback = listen(l, ctx.Err)
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("await the peer's hello: %w", err)
		}
	}
}

// awaitReply reads until the reply to this end's hello comes, for at most d.
func (l *lane) awaitReply(ctx context.Context, d time.Duration) (wire.Hello, error) {
	conn := l.flows[0].conn
	_ = conn.SetReadDeadline(time.Now().Add(d)) // Fails only when closed; so will Read.
	var b [wire.HelloSize + 1]byte
	for {
		if ctx.Err() != nil {
			return wire.Hello{}, ctx.Err()
		}
		n, err := conn.Read(b[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return wire.Hello{}, err
		}
		if err != nil {
			continue // An ICMP error of an earlier hello; reading clears it.
		}
		h, err := wire.OpenHello(b[:n], l.trial.Key)
		if err == nil && l.owns(&h.Header) && h.Kind == wire.HelloReply && h.Echo == l.nonce {
			return h, nil
		}
	}
}

// owns says whether a hello or a feedback is of this trial and lane.
func (l *lane) owns(h *wire.Header) bool {
	return l.trial.owns(h, l.shared.LaneCount()) && int(h.Stream) == l.number
}

func (l *lane) hello(kind wire.HelloKind, sequence uint64) []byte {
	h := wire.Hello{Header: l.trial.header(wire.TypeHello, l.number), Kind: kind, Nonce: l.nonce}
	h.Sequence = sequence
	h.SendTime = wire.StampOf(l.clock.Now())
	if kind == wire.HelloLast {
		h.Echo, h.Sent = l.peer, l.out.packets.Load()
	}
	return h.Append(nil, l.trial.Key)
}

// run sends the lane's share of the load from start on, while the peer is heard,
// and then says that it is over.
func (l *lane) run(ctx context.Context, start time.Duration) error {
	l.out.stop = l.stop
	if err := l.transmit(start + l.stagger()); err != nil {
		return fmt.Errorf("send the load: %w", l.explain(err))
	}
	return l.finish(ctx)
}

// errEnded says that the load is to end before its time.
var errEnded = errors.New("the load ends early")

// stop says why the load must not go on.
func (l *lane) stop(now time.Duration) error {
	select {
	case <-l.trial.Until:
		return errEnded
	default:
		return l.feedback.stop(now)
	}
}

// stagger is by how much this lane begins later, so that the bursts of all lanes
// take turns.
func (l *lane) stagger() time.Duration {
	turn := packetInterval(l.shared) * float64(l.out.train) / float64(l.shared.LaneCount())
	return time.Duration(float64(l.number) * turn)
}

// transmit sends the load from a thread of its own, while another goroutine sees
// to sockets for new flows.
func (l *lane) transmit(start time.Duration) (err error) {
	if l.fresh != nil {
		defer l.fresh.serve()()
	}
	release := preciseThread()
	defer release()
	plan := newSchedule(l.shared, l.out.train)
	l.elapsed, err = l.out.paced(plan, start)
	l.skipped = plan.skipped
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

// explain adds what the path takes to the error of a packet that is too large.
func (l *lane) explain(err error) error {
	if !errors.Is(err, unix.EMSGSIZE) {
		return err
	}
	mtu, mtuErr := sockets.PathMTUOf(l.flows[0].conn.fd, l.flows[0].conn.ipv4)
	if mtuErr != nil {
		return err
	}
	return fmt.Errorf("%w (inner packets have up to %d bytes, the path takes %d)", err, l.shared.Mix.Most(), mtu)
}

// finish says "last" until the final feedback comes.
func (l *lane) finish(ctx context.Context) error {
	ticker := time.NewTicker(wire.LastEvery)
	defer ticker.Stop()
	ends := l.clock.Now() + wire.LastWithin
	for n := uint64(0); l.clock.Now() < ends; n++ {
		_, _ = l.flows[0].conn.Write(l.hello(wire.HelloLast, n)) // Repeated; one may fail.
		select {
		case <-l.feedback.final:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("end the trial: %w", ctx.Err())
		case <-l.feedback.done:
			return fmt.Errorf("end the trial: %w", l.feedback.stop(l.clock.Now()))
		case <-ticker.C:
		}
	}
	return fmt.Errorf("end the trial: %w: no final count within %v", probe.ErrPeerSilent, wire.LastWithin)
}

// result is what the lane has sent.
func (l *lane) result() probe.Sent {
	sent := l.out.counts()
	sent.Elapsed, sent.Skipped, sent.HelloRTT = l.elapsed, l.skipped, l.rtt
	return sent
}

// close ends the listening and closes the sockets.
func (l *lane) close() {
	if l.feedback != nil {
		l.feedback.close()
	}
	if l.fresh != nil {
		l.fresh.close()
	}
	for _, f := range l.flows {
		_ = f.conn.Close()
	}
}
