package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/hoststat"
	"tunnelmark/probe/udp"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/bundle"
)

// Send runs the sending half of a trial.
func (a *Agent) Send(ctx context.Context, m *controlv1.SendRequest) (*controlv1.SendResponse, error) {
	t, err := a.startTrial(ctx, m.GetSessionId(), m.GetTrial(), m.GetLoad(), dial)
	if err != nil {
		return nil, err
	}
	defer t.end()
	free, err := a.take(t.load)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	defer free()
	if err := a.settle(t.ctx, t.load, t.limits); err != nil {
		return nil, t.failed(err)
	}
	sent, err := udp.Send(t.ctx, t.conns, t.id, t.load, nil)
	if err != nil {
		return nil, t.failed(err)
	}
	spent, err := t.after()
	if err != nil {
		return nil, err
	}
	a.meter.TrialSent(sent.Packets, innerRate(sent.Packets, t.load.InnerSize, sent.Elapsed))
	return &controlv1.SendResponse{Sent: sentTo(sent), Host: spent.host, Tunnel: spent.tunnel, Tunnels: spent.tunnels}, nil
}

// Receive runs the receiving half of a trial. The trial is over before its
// result is told: a controller that does not read cannot hold the tunnel.
func (a *Agent) Receive(ctx context.Context, m *controlv1.ReceiveRequest, stream *connect.ServerStream[controlv1.ReceiveResponse]) error {
	result, err := a.receive(ctx, m, func() error {
		return stream.Send(&controlv1.ReceiveResponse{Event: &controlv1.ReceiveResponse_Ready{Ready: &controlv1.Ready{}}})
	})
	if err != nil {
		return err
	}
	return stream.Send(&controlv1.ReceiveResponse{Event: &controlv1.ReceiveResponse_Result{Result: result}})
}

func (a *Agent) receive(ctx context.Context, m *controlv1.ReceiveRequest, ready func() error) (*controlv1.ReceiveResult, error) {
	t, err := a.startTrial(ctx, m.GetSessionId(), m.GetTrial(), m.GetLoad(), listen)
	if err != nil {
		return nil, err
	}
	defer t.end()
	if err := ready(); err != nil {
		return nil, err
	}
	received, err := udp.Receive(t.ctx, t.conns[0], t.id, t.load, nil)
	if err != nil {
		return nil, t.failed(err)
	}
	spent, err := t.after()
	if err != nil {
		return nil, err
	}
	a.meter.TrialReceived(received.Packets, innerRate(received.Packets, t.load.InnerSize, span(received.Windows)))
	return &controlv1.ReceiveResult{Received: receivedTo(received), Host: spent.host, Tunnel: spent.tunnel, Tunnels: spent.tunnels}, nil
}

// trial is one half of one load while it runs.
type trial struct {
	ctx    context.Context
	end    func()
	half   tunnel.Tunnel
	path   *controlv1.OpenResponse
	limits control.Limits
	shared bool // Load enters where others' does, too: in the agent's own namespace.
	id     udp.Trial

	load   probe.Load
	conns  []*net.UDPConn
	host   hoststat.Snapshot
	before []tunnel.Counters // Of each of the session's tunnels.
}

// opening opens the sockets of a trial where load enters the tunnel.
type opening func(half tunnel.Tunnel, flows int) ([]*net.UDPConn, error)

// startTrial checks the load against what both agents allow, opens the sockets
// and notes what host and tunnel have counted so far. end must be called.
func (a *Agent) startTrial(ctx context.Context, rawSession []byte, number uint32, load *controlv1.Load, open opening) (*trial, error) {
	s, err := a.session(ctx, rawSession)
	if err != nil {
		return nil, err
	}
	t, err := s.begin(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	t.id.Number = uint8(number) // It only tells a trial from the ones just before.
	t.load = loadFrom(load)
	t.id.Peer = t.half.Path().Remote.Addr()
	if err := t.prepare(open); err != nil {
		t.end()
		return nil, err
	}
	release := t.end
	t.end = func() {
		_ = closeAll(t.conns) // All of it was read.
		release()
	}
	return t, nil
}

func (t *trial) prepare(open opening) (err error) {
	if err := checkLoad(t.load, t.limits, t.half.Path().MTU); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	if t.shared && t.load.Flows > 1 {
		return connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("%d flows: here a tunnel is for the one flow between its two ports, and others would go past it", t.load.Flows))
	}
	if t.host, err = hoststat.Read(hoststat.Root); err != nil {
		return connect.NewError(connect.CodeInternal, err)
	}
	if t.before, err = countersOf(t.half); err != nil {
		return connect.NewError(connect.CodeInternal, err)
	}
	if t.conns, err = open(t.half, max(1, t.load.Flows)); err != nil {
		return connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return nil
}

// dial opens the sending end's sockets, one for each flow, from source ports that
// share the load between tunnels side by side.
func dial(half tunnel.Tunnel, flows int) (conns []*net.UDPConn, err error) {
	ports, err := bundle.Ports(half, flows)
	if err != nil {
		return nil, err
	}
	path := half.Path()
	err = path.Namespace.Do(func() error {
		for _, port := range ports {
			local := netip.AddrPortFrom(path.Local.Addr(), port)
			conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(path.Remote))
			if err != nil {
				return err
			}
			conns = append(conns, conn)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open the trial's sockets: %w", errors.Join(err, closeAll(conns)))
	}
	return conns, nil
}

// listen opens the receiving end's socket. Where several flows come from as many
// ports, it is not connected to one: udp.Receive then holds them to the peer's
// address itself.
func listen(half tunnel.Tunnel, flows int) ([]*net.UDPConn, error) {
	if flows == 1 {
		return dial(half, flows)
	}
	path, conns := half.Path(), make([]*net.UDPConn, 1)
	err := path.Namespace.Do(func() (err error) {
		conns[0], err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(path.Local))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the trial's socket: %w", err)
	}
	return conns, nil
}

// spent is what host and tunnels spent on the trial.
type spent struct {
	host    *controlv1.Host
	tunnel  *controlv1.TunnelCounters
	tunnels []*controlv1.TunnelCounters // Of each of several.
}

func (t *trial) after() (spent, error) {
	host, err := hoststat.Read(hoststat.Root)
	if err != nil {
		return spent{}, connect.NewError(connect.CodeInternal, err)
	}
	counters, err := countersOf(t.half)
	if err != nil {
		return spent{}, connect.NewError(connect.CodeInternal, err)
	}
	now := spent{host: hostTo(host.Since(t.host)), tunnel: countersTo(sum(counters), sum(t.before))}
	if len(counters) > 1 {
		for i := range counters {
			now.tunnels = append(now.tunnels, countersTo(counters[i], t.before[i]))
		}
	}
	return now, nil
}

// countersOf are none for a driver that cannot count, such as clear.
func countersOf(half tunnel.Tunnel) ([]tunnel.Counters, error) {
	counters, err := bundle.Each(half)
	if errors.Is(err, tunnel.ErrNotSupported) {
		return nil, nil
	}
	return counters, err
}

func sum(of []tunnel.Counters) (total tunnel.Counters) {
	for _, counters := range of {
		total = total.Add(counters)
	}
	return total
}

// failed gives a trial's error its code, and says what to look at.
func (t *trial) failed(err error) error {
	if cause := context.Cause(t.ctx); cause != nil {
		return connect.NewError(connect.CodeCanceled, cause)
	}
	switch {
	case errors.Is(err, probe.ErrNoHello):
		return connect.NewError(connect.CodeAborted,
			fmt.Errorf("%w; does the network let UDP pass between %s and %s, both ways?", err, t.path.GetLocalOuter(), t.path.GetRemoteOuter()))
	case errors.Is(err, probe.ErrPeerSilent):
		return connect.NewError(connect.CodeAborted, err)
	}
	return connect.NewError(connect.CodeInternal, err)
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
