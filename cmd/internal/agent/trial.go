package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/hoststat"
	"tunnelmark/probe/udp"
	"tunnelmark/probe/wire"
	"tunnelmark/tunnel"
)

// feedEvery is how often progress is told when it is wanted.
const feedEvery = 200 * time.Millisecond

// Send runs the sending half of a trial.
func (a *Agent) Send(ctx context.Context, m *controlv1.SendRequest, stream *connect.ServerStream[controlv1.SendResponse]) error {
	t, err := a.startTrial(ctx, m.GetSessionId(), m.GetTrial(), m.GetLoad())
	if err != nil {
		return err
	}
	defer t.end()
	progress := func(p probe.Progress) {
		if t.feeds(m.GetFeed()) {
			_ = stream.Send(&controlv1.SendResponse{Event: &controlv1.SendResponse_Progress{Progress: progressTo(p.Sent, p.Elapsed)}})
		}
	}
	sent, err := udp.Send(t.ctx, t.conn, t.trial, t.load, progress)
	if err != nil {
		return t.failed(err)
	}
	host, counters, err := t.after()
	if err != nil {
		return err
	}
	a.meter.TrialSent(sent.Packets, innerRate(sent.Packets, t.load.InnerSize, sent.Elapsed))
	return stream.Send(&controlv1.SendResponse{Event: &controlv1.SendResponse_Result{
		Result: &controlv1.SendResult{Sent: sentTo(sent), Host: host, Tunnel: counters},
	}})
}

// Receive runs the receiving half of a trial.
func (a *Agent) Receive(ctx context.Context, m *controlv1.ReceiveRequest, stream *connect.ServerStream[controlv1.ReceiveResponse]) error {
	t, err := a.startTrial(ctx, m.GetSessionId(), m.GetTrial(), m.GetLoad())
	if err != nil {
		return err
	}
	defer t.end()
	if err := stream.Send(&controlv1.ReceiveResponse{Event: &controlv1.ReceiveResponse_Ready{Ready: &controlv1.Ready{}}}); err != nil {
		return err
	}
	progress := func(p probe.Progress) {
		if t.feeds(m.GetFeed()) {
			_ = stream.Send(&controlv1.ReceiveResponse{Event: &controlv1.ReceiveResponse_Progress{Progress: progressTo(p.Received, p.Elapsed)}})
		}
	}
	received, err := udp.Receive(t.ctx, t.conn, t.trial, t.load, progress)
	if err != nil {
		return t.failed(err)
	}
	host, counters, err := t.after()
	if err != nil {
		return err
	}
	a.meter.TrialReceived(received.Packets, innerRate(received.Packets, t.load.InnerSize, span(received.Windows)))
	return stream.Send(&controlv1.ReceiveResponse{Event: &controlv1.ReceiveResponse_Result{
		Result: &controlv1.ReceiveResult{Received: receivedTo(received), Host: host, Tunnel: counters},
	}})
}

// trial is one half of one load while it runs.
type trial struct {
	ctx    context.Context
	end    func()
	conn   *net.UDPConn
	half   tunnel.Tunnel
	trial  udp.Trial
	load   probe.Load
	host   hoststat.Snapshot
	before tunnel.Counters
	fed    time.Time
}

// startTrial checks the load against what both agents allow, opens the socket
// and notes what host and tunnel have counted so far.
func (a *Agent) startTrial(ctx context.Context, rawSession []byte, number uint32, load *controlv1.Load) (*trial, error) {
	s, err := a.session(ctx, rawSession)
	if err != nil {
		return nil, err
	}
	trialContext, end, err := s.begin(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	t := &trial{ctx: trialContext, end: end, load: loadFrom(load), half: s.half}
	if err := t.prepare(s, number); err != nil {
		end()
		return nil, err
	}
	t.end = func() { t.conn.Close(); end() }
	return t, nil
}

func (t *trial) prepare(s *session, number uint32) error {
	if err := allowed(t.load, s.limits, s.half.Path().MTU); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	key, err := wire.NewKey(s.probeKey)
	if err != nil {
		return connect.NewError(connect.CodeInternal, err)
	}
	t.trial = udp.Trial{Key: key, Number: uint8(number)}
	if t.host, err = hoststat.Read(hoststat.Root); err != nil {
		return connect.NewError(connect.CodeInternal, err)
	}
	if t.before, err = countersOf(t.half); err != nil {
		return connect.NewError(connect.CodeInternal, err)
	}
	if t.conn, err = s.dial(); err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	return nil
}

// allowed holds a load against the limits of both agents and the tunnel's MTU.
func allowed(l probe.Load, limits control.Limits, mtu int) error {
	switch {
	case l.InnerSize > min(mtu, limits.MaxInnerSize):
		return fmt.Errorf("inner size %d B is above the tunnel's MTU or the agents' limit: at most %d B", l.InnerSize, min(mtu, limits.MaxInnerSize))
	case l.InnerBitsPerSecond > float64(limits.MaxInnerBitsPerSecond):
		return fmt.Errorf("inner rate %.0f bit/s is above the agents' limit of %d bit/s", l.InnerBitsPerSecond, limits.MaxInnerBitsPerSecond)
	case l.Duration > limits.MaxDuration:
		return fmt.Errorf("duration %v is above the agents' limit of %v", l.Duration, limits.MaxDuration)
	case l.Packets > maxBurst:
		return fmt.Errorf("a burst of %d packets is above the limit of %d", l.Packets, maxBurst)
	}
	return nil
}

// maxBurst bounds a burst: it is to empty a bucket or a queue, not to fill a link.
const maxBurst = 1 << 16

// feeds says whether progress is due.
func (t *trial) feeds(wanted bool) bool {
	if !wanted || time.Since(t.fed) < feedEvery {
		return false
	}
	t.fed = time.Now()
	return true
}

// after is what host and tunnel spent on the trial.
func (t *trial) after() (*controlv1.Host, *controlv1.TunnelCounters, error) {
	host, err := hoststat.Read(hoststat.Root)
	if err != nil {
		return nil, nil, connect.NewError(connect.CodeInternal, err)
	}
	counters, err := countersOf(t.half)
	if err != nil {
		return nil, nil, connect.NewError(connect.CodeInternal, err)
	}
	return hostTo(host.Since(t.host)), countersTo(counters, t.before), nil
}

// countersOf are zero for a driver that cannot count, such as clear.
func countersOf(half tunnel.Tunnel) (tunnel.Counters, error) {
	counters, err := half.Counters()
	if errors.Is(err, tunnel.ErrNotSupported) {
		return tunnel.Counters{}, nil
	}
	return counters, err
}

// failed gives a trial's error its code.
func (t *trial) failed(err error) error {
	if cause := context.Cause(t.ctx); cause != nil {
		return connect.NewError(connect.CodeCanceled, cause)
	}
	switch {
	case errors.Is(err, probe.ErrNoHello), errors.Is(err, probe.ErrPeerSilent):
		return connect.NewError(connect.CodeUnavailable, err)
	}
	return connect.NewError(connect.CodeInternal, err)
}

func progressTo(packets uint64, elapsed time.Duration) *controlv1.Progress {
	return &controlv1.Progress{Packets: packets, ElapsedNs: int64(elapsed)}
}

func innerRate(packets uint64, innerSize int, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return float64(packets) * float64(innerSize) * 8 / elapsed.Seconds()
}

// span is how long packets arrived.
func span(windows []probe.WindowCount) time.Duration {
	if len(windows) == 0 {
		return 0
	}
	return windows[len(windows)-1].End
}
