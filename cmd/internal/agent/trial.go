package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/latency"
	"tunnelmark/probe/pmtu"
	"tunnelmark/probe/tcp"
	"tunnelmark/probe/udp"
	"tunnelmark/probe/wire"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/bundle"
)

// trial is one end's half of a trial while it runs: send.go is the one half,
// receive.go the other.
type trial struct {
	ctx    context.Context
	end    func() // May be called again.
	half   tunnel.Tunnel
	at     *controlv1.OpenResponse
	limits control.Limits
	key    wire.Key
	number uint8

	work    *controlv1.Work
	sockets sockets
	host    observation
	before  []tunnel.Counters // Of each of the session's tunnels.
}

// startTrial takes the trial's place in its session, and notes what host and tunnel
// have counted so far. end must be called.
func (a *Agent) startTrial(ctx context.Context, rawSession []byte, number uint32, work *controlv1.Work, sends bool) (*trial, error) {
	s, err := a.session(ctx, rawSession)
	if err != nil {
		return nil, err
	}
	t, err := s.begin(ctx, sends)
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	t.number = numberOf(number, work.GetBack())
	t.work = work
	path := t.half.Path()
	t.sockets = sockets{half: t.half, path: path, back: work.GetBack()}
	if t.host, err = observe(a.policy.Outer, path); err == nil {
		t.before, err = countersOf(t.half)
	}
	if err != nil {
		t.end()
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return t, nil
}

// numberOf is what tells a trial from the ones just before, and one that goes back from
// the one that goes there: what an end says in the one is no answer in the other, even
// where somebody mirrors it.
func numberOf(trial uint32, back bool) uint8 {
	const goesBack = 1 << 7
	number := uint8(trial) &^ goesBack
	if back {
		number |= goesBack
	}
	return number
}

// udp names the trial to its UDP load.
func (t *trial) udp() udp.Trial {
	return udp.Trial{Key: t.key, Number: t.number, Peer: t.sockets.path.Remote.Addr()}
}

// tcp names the trial to its TCP load.
func (t *trial) tcp() tcp.Trial {
	return tcp.Trial{Key: t.key, Number: t.number, Peer: t.sockets.path.Remote.Addr()}
}

// latency is the probe beside the load, or alone.
func (t *trial) latency() latency.Options {
	l := t.work.GetLatency()
	return latency.Options{
		Key: t.key, Trial: t.number, Every: time.Duration(l.GetEveryNs()), Duration: time.Duration(l.GetDurationNs()),
		InnerSize: int(l.GetInnerSize()), DSCP: dscpFrom(l.GetDscp()),
	}
}

// pmtu is the search of the path's MTU, within what both agents allow.
func (t *trial) pmtu() pmtu.Options {
	m := t.work.GetPathMtu()
	most := t.limits.MaxInnerSize
	if asked := int(m.GetMost()); asked > 0 {
		most = min(most, asked)
	}
	return pmtu.Options{Key: t.key, Trial: t.number, Least: int(m.GetLeast()), Most: most}
}

// mss is the look at a SYN, of which each direction has a number of its own.
func (t *trial) mss(back bool) pmtu.Options {
	const other = 1 << 7
	o := pmtu.Options{Key: t.key, Trial: t.number, Peer: t.sockets.path.Remote.Addr()}
	if back {
		o.Trial ^= other
	}
	return o
}

// tcpLoad is the TCP load that is asked for, held against the limits of both agents.
func (t *trial) tcpLoad() (tcp.Load, error) {
	load := tcpLoadFrom(t.work.GetTcp())
	available, err := congestionControls()
	if err != nil {
		return load, err
	}
	return load, checkTCP(load, t.limits, available)
}

// isLoaded says that the trial does more than to measure latency.
func (t *trial) isLoaded() bool {
	return t.work.GetUdp() != nil || t.work.GetTcp() != nil || t.work.GetPathMtu() != nil
}

// checkLatency holds the latency probe, if there is one, against the limits.
func (t *trial) checkLatency() error {
	if t.work.GetLatency() == nil {
		return nil
	}
	return checkProbe(t.latency(), t.limits, t.isLoaded())
}

// headers are those of IP and UDP before each payload, in bytes.
func (t *trial) headers() int {
	const udpHeader = 8
	return t.ipHeader() + udpHeader
}

func (t *trial) ipHeader() int {
	const v4, v6 = 20, 40
	if t.sockets.path.Local.Addr().Unmap().Is4() {
		return v4
	}
	return v6
}

// load is the UDP load that is asked for, held against the limits of both agents.
func (t *trial) load() (probe.Load, error) {
	load := loadFrom(t.work.GetUdp())
	return load, checkLoad(load, t.limits, t.sockets.path.MTU)
}

// spent is what host and tunnels spent on the trial.
type spent struct {
	host    *controlv1.Host
	tunnel  *controlv1.TunnelCounters
	tunnels []*controlv1.TunnelCounters // Of each of several.
}

func (t *trial) after() (spent, error) {
	host, err := t.host.since()
	if err != nil {
		return spent{}, connect.NewError(connect.CodeInternal, err)
	}
	counters, err := countersOf(t.half)
	if err != nil {
		return spent{}, connect.NewError(connect.CodeInternal, err)
	}
	now := spent{host: host, tunnel: countersTo(sum(counters), sum(t.before))}
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
	var refused *connect.Error
	switch {
	case errors.As(err, &refused):
		return err
	case errors.Is(err, probe.ErrNoHello):
		return connect.NewError(connect.CodeAborted,
			fmt.Errorf("%w; does the network let what the trial sends pass between %s and %s, both ways?", err, t.at.GetLocalOuter(), t.at.GetRemoteOuter()))
	case errors.Is(err, probe.ErrPeerSilent):
		return connect.NewError(connect.CodeAborted, err)
	}
	return connect.NewError(connect.CodeInternal, err)
}

// invalid says that a trial asks for what is not allowed.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return connect.NewError(connect.CodeInvalidArgument, err)
}

// refusal says that this host does not allow what a trial needs, unless the error
// says another thing already.
func refusal(err error) error {
	var refused *connect.Error
	if errors.As(err, &refused) {
		return err
	}
	return connect.NewError(connect.CodeFailedPrecondition, err)
}

func innerRate(innerBytes uint64, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return float64(innerBytes) * 8 / elapsed.Seconds()
}

// span is how long packets arrived.
func span(windows []probe.WindowCount) time.Duration {
	if len(windows) == 0 {
		return 0
	}
	return windows[len(windows)-1].End
}
