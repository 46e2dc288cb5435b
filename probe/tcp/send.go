package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// Send loads the peer that dial connects to, where Receive must be waiting or come
// soon. It returns when the peer has confirmed the end. It closes all connections.
//
// progress, if not nil, is called every Trial.ProgressEvery from another
// goroutine, but never after Send has returned.
//
// Before the peer's hello on every flow, errors mean that no load was sent:
// probe.ErrNoHello when one did not come. Later ones come with what was sent until
// then: probe.ErrPeerSilent when the peer was heard no more, or ctx's error.
func Send(ctx context.Context, dial Dial, trial Trial, load Load, progress func(Sample)) (Sent, error) {
	if err := check(trial, load); err != nil {
		return Sent{}, err
	}
	s := newSender(trial, load)
	defer s.close()
	if err := s.open(ctx, dial); err != nil {
		return Sent{}, err
	}
	report := newReporter(progress)
	defer report.close()
	if err := s.await(ctx); err != nil {
		return Sent{}, err
	}
	if err := s.begin(); err != nil {
		return Sent{}, err
	}
	err := s.run(ctx, report)
	s.close()
	if err != nil {
		err = fmt.Errorf("send the load: %w", err)
	}
	return s.result(), err
}

// sender is the sending end of one trial.
type sender struct {
	trial   Trial
	load    Load
	nonce   wire.Nonce
	payload payload
	file    *os.File // Of the payload, for a load without copies.
	flows   []*outFlow
	clock   time.Time // Zero of the times below.
	heard   atomic.Int64
	ready   chan struct{} // Closed by the first feedback.
	isReady sync.Once
	failed  chan error    // Of a flow's goroutines.
	finals  atomic.Int64  // Final feedbacks yet to come.
	over    chan struct{} // Closed by the last of them.
	quit    chan struct{} // Closed by close.
	closing sync.Once
	running sync.WaitGroup

	// What follows is of the goroutine that calls run.
	began time.Duration
	ended bool // The load's duration is over: what TCP sees counts no more.
	signs signs
	sent  Sent
}

// outFlow is one flow at the sender's end.
type outFlow struct {
	number     int
	conn       *net.TCPConn
	raw        syscall.RawConn
	helloRTT   time.Duration
	congestion string
	written    atomic.Uint64
	acked      uint64       // While the load lasted.
	confirmed  uint64       // By the final feedback.
	info       unix.TCPInfo // As it was read last.
	tally      tally
}

func newSender(trial Trial, load Load) *sender {
	s := &sender{
		trial: trial, load: load, nonce: wire.NewNonce(), clock: time.Now(),
		ready: make(chan struct{}), over: make(chan struct{}), quit: make(chan struct{}),
		failed: make(chan error, 2*load.Flows), // Never blocks: each flow has two goroutines.
	}
	s.payload = newPayload(load, s.nonce)
	for i := range load.Flows {
		s.flows = append(s.flows, &outFlow{number: i})
	}
	return s
}

func (s *sender) now() time.Duration { return time.Since(s.clock) }

// open connects and greets all flows.
func (s *sender) open(ctx context.Context, dial Dial) error {
	if s.load.ZeroCopy {
		file, err := s.payload.file()
		if err != nil {
			return err
		}
		s.file = file
	}
	within, cancel := context.WithTimeout(ctx, s.trial.helloWithin())
	defer cancel()
	err := s.openAll(within, dial)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("open the flows: %w", ctx.Err())
	}
	return err
}

// openAll opens one flow, and then all others at the same time: whoever is at the
// address without being the peer is not to get their many SYNs.
func (s *sender) openAll(ctx context.Context, dial Dial) error {
	first, others := s.flows[0], s.flows[1:]
	if err := s.openFlow(ctx, first, dial); err != nil {
		return onFlow(first.number, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, f := range others {
		group.Go(func() error { return onFlow(f.number, s.openFlow(ctx, f, dial)) })
	}
	return group.Wait()
}

func (s *sender) openFlow(ctx context.Context, f *outFlow, dial Dial) (err error) {
	if f.conn, err = s.connect(ctx, f, dial); err != nil {
		return err
	}
	if err := f.take(s.load, s.trial.unsent()); err != nil {
		return err
	}
	defer sockets.InterruptOn(ctx, f.conn)()
	if f.helloRTT, err = greetReceiver(f.conn, s.trial, f.number, s.nonce); err != nil {
		return fmt.Errorf("%w within %v: %w", probe.ErrNoHello, s.trial.helloWithin(), err)
	}
	return nil
}

// dialEvery is the time between two attempts to connect.
const dialEvery = 50 * time.Millisecond

// connect tries again until ctx ends, and its error is the same then, whatever the
// network answered: who has trials made must not learn by them who else is there.
// What this machine refuses is told at once.
func (s *sender) connect(ctx context.Context, f *outFlow, dial Dial) (*net.TCPConn, error) {
	for {
		conn, err := dial(ctx, f.number)
		if err == nil || ctx.Err() == nil && !isAnswer(err) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: connect to the peer: no connection within %v", probe.ErrNoHello, s.trial.helloWithin())
		case <-time.After(dialEvery):
		}
	}
}

// isAnswer says that connecting failed by what the network answered, or did not.
func isAnswer(err error) bool {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Syscall == "connect" && !errors.Is(call, unix.EADDRNOTAVAIL) // No port is left.
	}
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// take makes the flow's connection ready for the load.
func (f *outFlow) take(load Load, unsent int) (err error) {
	if f.raw, err = f.conn.SyscallConn(); err != nil {
		return err
	}
	return sockets.ControlRaw(f.raw, func(fd int) error {
		if f.congestion, err = unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err != nil {
			return fmt.Errorf("ask for the congestion control: %w", err)
		}
		if load.Congestion != "" && load.Congestion != f.congestion {
			return fmt.Errorf("take the connection: its congestion control is %q, not %q; dial it with Load.Control", f.congestion, load.Congestion)
		}
		return load.tune(fd, unsent)
	})
}

// await begins to listen on all flows, and returns when the receiver has them all
// and says so.
func (s *sender) await(ctx context.Context) error {
	s.listen()
	late := time.NewTimer(s.trial.helloWithin())
	defer late.Stop()
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("await the receiver: %w", ctx.Err())
	case err := <-s.failed:
		return fmt.Errorf("%w: await the receiver's feedback: %w", probe.ErrNoHello, err)
	case <-late.C:
		return fmt.Errorf("%w: no feedback within %v", probe.ErrNoHello, s.trial.helloWithin())
	}
}

// listen hears the receiver on all flows, until the final feedback of each.
func (s *sender) listen() {
	s.finals.Store(int64(len(s.flows)))
	for _, f := range s.flows {
		s.start(f, func() error { return s.hear(f) })
	}
}

// start runs one of the flow's goroutines; close waits for it.
func (s *sender) start(f *outFlow, run func() error) {
	s.running.Go(func() {
		if err := run(); err != nil {
			s.failed <- onFlow(f.number, err)
		}
	})
}

// hear reads feedback until the flow's final one.
func (s *sender) hear(f *outFlow) error {
	var b [wire.FeedbackSize]byte
	for last := uint64(0); ; {
		if _, err := io.ReadFull(f.conn, b[:]); err != nil {
			return fmt.Errorf("await feedback: %w", err)
		}
		told, err := wire.OpenFeedback(b[:], s.trial.Key)
		if err != nil {
			return fmt.Errorf("take feedback: %w", err)
		}
		if told.Trial != s.trial.Number || int(told.Stream) != f.number || told.Echo != s.nonce || told.Sequence <= last {
			return fmt.Errorf("take feedback: %w: it is another's, or an old one", wire.ErrForeign)
		}
		last = told.Sequence
		s.heard.Store(int64(s.now()))
		s.isReady.Do(func() { close(s.ready) })
		if told.Final {
			f.confirmed = told.Received
			if s.finals.Add(-1) == 0 {
				close(s.over)
			}
			return nil
		}
	}
}

// begin starts the load on all flows.
func (s *sender) begin() error {
	for _, f := range s.flows {
		if err := f.read(); err != nil {
			return onFlow(f.number, err)
		}
		f.tally.begin(&f.info)
	}
	began := time.Now()
	s.began = began.Sub(s.clock)
	for _, f := range s.flows {
		_ = f.conn.SetWriteDeadline(began.Add(s.load.Duration)) // Fails only when closed; so will writing.
		w := &writer{
			conn: f.conn, flow: f.number, payload: s.payload, put: s.outlet(f), chunk: s.load.chunk(int(f.info.Snd_mss)),
			began: began, until: s.trial.Until, quit: s.quit, written: &f.written,
		}
		s.start(f, w.run)
	}
	return nil
}

func (s *sender) outlet(f *outFlow) outlet {
	if s.file != nil {
		return lending(f.raw, s.file)
	}
	return copying(f.conn, s.payload)
}

func (f *outFlow) read() error {
	return sockets.ControlRaw(f.raw, func(fd int) error { return readInfo(fd, &f.info) })
}

// run watches the load until the receiver has confirmed its end, or the path has
// had its time to let the rest through.
func (s *sender) run(ctx context.Context, report *reporter) error {
	watch, sample := time.NewTicker(watchEvery), time.NewTicker(s.trial.progressEvery())
	defer watch.Stop()
	defer sample.Stop()
	until := s.trial.Until
	ends, tooLate := time.NewTimer(s.load.Duration), time.NewTimer(s.load.Duration+drainWithin)
	defer ends.Stop()
	defer tooLate.Stop()
	for {
		var err error
		select {
		case <-watch.C:
			err = s.watch()
		case <-sample.C:
			err = s.sample(report)
		case <-until:
			until = nil
			s.stopWriting()
			tooLate.Reset(stopWithin)
			err = s.last(report)
		case <-ends.C:
			err = s.last(report)
		case <-s.over:
			return errors.Join(s.confirm(), s.last(report))
		case <-tooLate.C:
			return nil
		case err := <-s.failed:
			return errors.Join(fmt.Errorf("%w: %w", probe.ErrPeerSilent, err), s.last(report))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.last(report))
		}
		if err != nil {
			return err
		}
	}
}

// watch ends the load when there are no signs of life any more.
func (s *sender) watch() error {
	if err := s.look(); err != nil {
		return err
	}
	return s.signs.silence(s.now())
}

// sample samples the load, unless it is over or the last sample will come soon.
func (s *sender) sample(report *reporter) error {
	if s.ended || s.now()-s.began > s.load.Duration-s.trial.progressEvery()/2 {
		return nil
	}
	return s.record(report)
}

// stopWriting ends the load before its time.
func (s *sender) stopWriting() {
	for _, f := range s.flows {
		_ = f.conn.SetWriteDeadline(sockets.LongAgo()) // Fails only when closed; so will writing.
	}
}

// last is the sample at the end of the load.
func (s *sender) last(report *reporter) error {
	if s.ended {
		return nil
	}
	err := s.record(report)
	s.ended = true
	return err
}

func (s *sender) record(report *reporter) error {
	if err := s.look(); err != nil {
		return err
	}
	at := Sample{Elapsed: s.sent.Elapsed, GoodputBytes: s.signs.acked}
	var rtt time.Duration
	for _, f := range s.flows {
		at.Retransmits += f.tally.retransmits.total
		at.CwndBytes += cwndBytes(&f.info)
		rtt += micros(f.info.Rtt)
	}
	at.MeanRTT = rtt / time.Duration(len(s.flows))
	s.sent.Samples = append(s.sent.Samples, at)
	report.tell(at)
	return nil
}

// look asks TCP how all flows stand, and tallies that while the load lasts.
func (s *sender) look() error {
	var sum uint64
	for _, f := range s.flows {
		if err := f.read(); err != nil {
			return onFlow(f.number, err)
		}
		sum += acked(&f.info, f.written.Load())
		if !s.ended {
			f.acked = acked(&f.info, f.written.Load())
			f.tally.observe(&f.info)
		}
	}
	now := s.now()
	if !s.ended {
		s.sent.Elapsed = now - s.began
	}
	s.signs.feedback = time.Duration(s.heard.Load())
	s.signs.see(sum, now)
	return nil
}

// confirm holds what the receiver counted against what was written.
func (s *sender) confirm() error {
	for _, f := range s.flows {
		if written := f.written.Load(); f.confirmed != written {
			return onFlow(f.number, fmt.Errorf("the receiver counted %d bytes, %d were written", f.confirmed, written))
		}
	}
	s.sent.Drained = true
	return nil
}

// close resets all flows, drops what they have queued, and waits for their
// goroutines.
func (s *sender) close() {
	s.closing.Do(func() {
		close(s.quit)
		for _, f := range s.flows {
			if f.conn != nil {
				reset(f.conn)
			}
		}
		s.running.Wait()
		_ = s.file.Close() // Fails only when there is none.
	})
}

// result is what was sent; the flows' goroutines have ended.
func (s *sender) result() Sent {
	s.sent.HelloRTT = s.flows[0].helloRTT
	for _, f := range s.flows {
		s.sent.HelloRTT = min(s.sent.HelloRTT, f.helloRTT)
		flow := FlowSent{
			LocalPort: port(f.conn.LocalAddr()), RemotePort: port(f.conn.RemoteAddr()), Congestion: f.congestion,
			GoodputBytes: f.acked, ConfirmedBytes: f.confirmed,
		}
		f.tally.summarize(&flow)
		s.sent.Flows = append(s.sent.Flows, flow)
	}
	return s.sent
}
