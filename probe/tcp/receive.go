package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// Receive takes the load of the peer that connects to listener, with Send. It
// returns when all flows have ended, and closes them, but not listener, whose
// deadline it uses, and which should have Load.Control as its Control and no
// multipath TCP. trial and load must be the sender's.
//
// progress, if not nil, is called every Trial.ProgressEvery from another
// goroutine, but never after Receive has returned.
//
// Errors come with what was counted until then: probe.ErrNoHello when the
// sender's flows did not come, probe.ErrPeerSilent when their ends did not,
// ErrAltered, or ctx's error. A sender that resets its flows once it has loaded them
// is no error here, only not Drained: Send says why.
func Receive(ctx context.Context, listener *net.TCPListener, trial Trial, load Load, progress func(Sample)) (Received, error) {
	if err := check(trial, load); err != nil {
		return Received{}, err
	}
	gate := newGate(trial, load)
	if err := gate.admit(ctx, listener); err != nil {
		return Received{Strangers: gate.strangers}, fmt.Errorf("await the load: %w", err)
	}
	defer gate.resetAll()
	r, err := newReceiver(trial, load, gate)
	if err != nil {
		return Received{}, err
	}
	report := newReporter(progress)
	defer report.close()
	err = r.run(ctx, report)
	if err != nil {
		err = fmt.Errorf("receive the load: %w", err)
	}
	return r.result(), err
}

// receiver is the receiving end of one trial.
type receiver struct {
	trial    Trial
	load     Load
	gate     *gate
	flows    []*inFlow
	payload  payload // To verify; else empty.
	discards []byte  // Shared by all flows that do not verify.
	clock    time.Time
	first    atomic.Int64 // When the first byte came, by clock; zero: not yet.
	sequence uint64       // Of feedback.
	got      Received
}

func newReceiver(trial Trial, load Load, gate *gate) (*receiver, error) {
	r := &receiver{trial: trial, load: load, gate: gate, clock: time.Now()}
	if load.Verify {
		r.payload = newPayload(load, gate.nonce)
	} else {
		r.discards = make([]byte, discardSize)
	}
	for i, conn := range gate.flows {
		flow, err := newInFlow(i, conn, !load.Verify)
		if err != nil {
			return nil, onFlow(i, err)
		}
		r.flows = append(r.flows, flow)
	}
	return r, sockets.ControlRaw(r.flows[0].raw, noticeDeath)
}

// errNoEnd is why a trial is ended whose flows do not end by themselves.
var errNoEnd = fmt.Errorf("%w: the load did not end", probe.ErrPeerSilent)

// run takes the load until all flows have ended, or the time that they have, or
// ctx.
func (r *receiver) run(ctx context.Context, report *reporter) error {
	most := r.trial.helloWithin() + r.load.Duration + drainWithin + silenceLimit
	ctx, cancel := context.WithTimeoutCause(ctx, most, errNoEnd)
	defer cancel()
	stop := context.AfterFunc(ctx, r.gate.resetAll)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.takeAll() }()
	err := r.watch(ended, report)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isReset(err) && r.sinceFirst() > 0:
		return nil // The sender dropped what was left. Whether it failed, it says itself.
	case errors.Is(err, ErrAltered):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", probe.ErrPeerSilent, err)
	}
	r.got.Drained = true
	r.confirmAll()
	return nil
}

// isReset says that the sender reset the flow. One of reading and writing is told
// so, the other then finds the connection gone.
func isReset(err error) bool {
	return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// watch sends feedback and samples the load until it has ended. The flows'
// goroutines have ended when it returns.
func (r *receiver) watch(ended <-chan error, report *reporter) error {
	feedback, sample := time.NewTicker(feedbackEvery), time.NewTicker(r.trial.progressEvery())
	defer feedback.Stop()
	defer sample.Stop()
	err := r.tellSoFar()
	for err == nil {
		select {
		case err := <-ended:
			r.last(report)
			return err
		case <-feedback.C:
			err = r.tellSoFar()
		case <-sample.C:
			r.sample(report, r.sinceFirst())
		}
	}
	r.gate.resetAll()
	if why := <-ended; errors.Is(err, net.ErrClosed) && why != nil {
		return why // It closed what the feedback was to be sent on.
	}
	return err
}

// takeAll reads all flows to their ends, and returns the first error: without one
// flow the others are no trial.
func (r *receiver) takeAll() (failure error) {
	var first sync.Once
	var taking sync.WaitGroup
	for _, f := range r.flows {
		taking.Go(func() {
			if err := r.take(f); err != nil {
				first.Do(func() { failure = onFlow(f.number, err) })
				r.gate.resetAll()
			}
		})
	}
	taking.Wait()
	return failure
}

func (r *receiver) take(f *inFlow) error {
	if !r.load.Verify {
		return f.take(r.discards, r.see)
	}
	return f.take(make([]byte, verifySize), func(b []byte, at time.Time) error {
		if err := r.payload.verify(b, f.number, f.received.Load()); err != nil {
			return err
		}
		return r.see(b, at)
	})
}

// see notes when the first byte came.
func (r *receiver) see(_ []byte, at time.Time) error {
	if r.first.Load() == 0 {
		r.first.CompareAndSwap(0, int64(at.Sub(r.clock)))
	}
	return nil
}

// sinceFirst is the time since the first byte, zero before.
func (r *receiver) sinceFirst() time.Duration {
	first := r.first.Load()
	if first == 0 {
		return 0
	}
	return time.Since(r.clock) - time.Duration(first)
}

// elapsed is the time from the first byte to the last flow's end; all have ended.
func (r *receiver) elapsed() time.Duration {
	if r.first.Load() == 0 {
		return 0
	}
	last := time.Duration(0)
	for _, f := range r.flows {
		if !f.last.IsZero() {
			last = max(last, f.last.Sub(r.clock))
		}
	}
	return last - time.Duration(r.first.Load())
}

func (r *receiver) received() (sum uint64) {
	for _, f := range r.flows {
		sum += f.received.Load()
	}
	return sum
}

// sample samples the load, once something has come.
func (r *receiver) sample(report *reporter, elapsed time.Duration) {
	if elapsed == 0 {
		return
	}
	at := Sample{Elapsed: elapsed, GoodputBytes: r.received()}
	r.got.Samples = append(r.got.Samples, at)
	report.tell(at)
}

// last is the sample at the end, in the place of one just before it.
func (r *receiver) last(report *reporter) {
	elapsed, n := r.elapsed(), len(r.got.Samples)
	if n > 0 && r.got.Samples[n-1].Elapsed > elapsed-r.trial.progressEvery()/2 {
		r.got.Samples = r.got.Samples[:n-1]
	}
	r.sample(report, elapsed)
}

// tellSoFar sends feedback on the first flow.
func (r *receiver) tellSoFar() error {
	return onFlow(0, r.tell(r.flows[0], wire.Feedback{Received: r.received()}, silenceLimit))
}

// tell sends feedback. Parts of one would be none, so an error ends the trial.
func (r *receiver) tell(f *inFlow, told wire.Feedback, within time.Duration) error {
	r.sequence++
	told.Header, told.Echo = r.trial.header(f.number), r.gate.nonce
	told.Sequence = r.sequence
	_ = f.conn.SetWriteDeadline(time.Now().Add(within)) // Fails only when closed; so will Write.
	if _, err := f.conn.Write(told.Append(nil, r.trial.Key)); err != nil {
		return fmt.Errorf("send feedback: %w", err)
	}
	return nil
}

// confirmAll tells the sender what arrived on each flow, and waits until it has
// closed them. Whether it was told, it says itself.
func (r *receiver) confirmAll() {
	for _, f := range r.flows {
		_ = r.tell(f, wire.Feedback{Final: true, Received: f.received.Load()}, lingerWithin)
	}
	ends := time.Now().Add(lingerWithin)
	for _, f := range r.flows {
		f.awaitReset(ends)
	}
}

// result is what was received; the flows have ended.
func (r *receiver) result() Received {
	r.got.Elapsed, r.got.Strangers = r.elapsed(), r.gate.strangers
	for _, f := range r.flows {
		r.got.Flows = append(r.got.Flows, FlowReceived{RemotePort: port(f.conn.RemoteAddr()), GoodputBytes: f.received.Load()})
	}
	return r.got
}
