package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/latency"
	"tunnelmark/probe/pmtu"
	"tunnelmark/probe/tcp"
	"tunnelmark/probe/udp"
)

// Send runs the sending half of a trial:
//
//  1. what is asked for is held against what both agents allow;
//  2. a latency probe begins, if there is to be one, and is waited for;
//  3. the load runs beside it until its time is over, or the probe sees what is to
//     stop it;
//  4. the trial is over before its result is told: a controller that does not read
//     cannot hold the tunnel.
func (a *Agent) Send(ctx context.Context, m *controlv1.SendRequest, stream *connect.ServerStream[controlv1.SendResponse]) error {
	t, err := a.startTrial(ctx, m.GetSessionId(), m.GetTrial(), m.GetWork(), true)
	if err != nil {
		return err
	}
	defer t.end()
	teller := newTeller(stream, time.Duration(m.GetIntervalNs()))
	result, err := a.send(t, m, teller)
	t.end()
	if told := teller.close(); err == nil {
		err = told
	}
	if err != nil {
		return err
	}
	return stream.Send(&controlv1.SendResponse{Event: &controlv1.SendResponse_Result{Result: result}})
}

func (a *Agent) send(t *trial, m *controlv1.SendRequest, teller *teller) (*controlv1.SendResult, error) {
	result := &controlv1.SendResult{}
	if err := t.checkLatency(); err != nil {
		return nil, invalid(err)
	}
	freeProbe, err := a.takeProbe(t)
	if err != nil {
		return nil, invalid(err)
	}
	defer freeProbe()
	load, free, err := a.sender(t, result, teller)
	if err != nil {
		return nil, err
	}
	defer free()
	w, err := t.newWatch(m.GetStopIf())
	if err != nil {
		return nil, invalid(err)
	}
	if err := t.watched(load, w, result); err != nil {
		return nil, t.failed(err)
	}
	spent, err := t.after()
	if err != nil {
		return nil, err
	}
	result.Host, result.Tunnel, result.Tunnels = spent.host, spent.tunnel, spent.tunnels
	return result, nil
}

// part is one thing that a trial does, until it is done, ctx ends, or stop is
// closed: that is an early end, not a failure.
type part func(ctx context.Context, stop <-chan struct{}) error

// sender is what a trial sends beside its latency probe; nil where that is all.
// free must be called when it has ended.
func (a *Agent) sender(t *trial, result *controlv1.SendResult, teller *teller) (run part, free func(), err error) {
	nothing := func() {}
	switch work := t.work; {
	case work.GetUdp() != nil:
		return a.sendUDP(t, result, teller)
	case work.GetTcp() != nil:
		return a.sendTCP(t, result, teller)
	case work.GetPathMtu() != nil:
		run, err := t.searchMTU(result)
		return run, nothing, err
	case work.GetLatency() == nil:
		return nil, nothing, invalid(fmt.Errorf("a trial without work: want a load of UDP or TCP, a search of the path's MTU, or a latency probe"))
	}
	return nil, nothing, nil
}

func (a *Agent) sendUDP(t *trial, result *controlv1.SendResult, teller *teller) (part, func(), error) {
	load, err := t.load()
	if err != nil {
		return nil, nil, invalid(err)
	}
	open, err := t.sockets.flows(load)
	if err != nil {
		return nil, nil, invalid(err)
	}
	free, err := a.take(load.InnerBitsPerSecond)
	if err != nil {
		return nil, nil, invalid(err)
	}
	id := t.udp()
	id.ProgressEvery = teller.every
	return func(ctx context.Context, stop <-chan struct{}) error {
		id.Until = stop
		told := teller.udp(t.headers())
		sent, err := udp.Send(ctx, open, id, load, told)
		told(probe.Progress{Elapsed: sent.Elapsed, Sent: sent.Packets, SentInnerBytes: sent.InnerBytes})
		result.Udp = sentTo(sent)
		a.meter.TrialSent(sent.Packets, innerRate(sent.InnerBytes, sent.Elapsed))
		return err
	}, free, nil
}

// sendTCP sends as fast as TCP goes, within what the owner allows: flows without a
// rate of their own are paced to their share of it.
func (a *Agent) sendTCP(t *trial, result *controlv1.SendResult, teller *teller) (part, func(), error) {
	load, err := t.tcpLoad()
	if err != nil {
		return nil, nil, invalid(err)
	}
	most := min(a.left(), float64(t.limits.MaxInnerBitsPerSecond))
	load, taken, err := pace(load, most, payloadShare(t.sockets.path.MTU, load.MSS, t.ipHeader()))
	if err != nil {
		return nil, nil, invalid(err)
	}
	free, err := a.take(taken)
	if err != nil {
		return nil, nil, invalid(err)
	}
	id := t.tcp()
	id.ProgressEvery = teller.sampleEvery()
	return func(ctx context.Context, stop <-chan struct{}) error {
		id.Until = stop
		dial := func(ctx context.Context, _ int) (*net.TCPConn, error) {
			return t.sockets.dialTCP(ctx, loadPort, load.Control)
		}
		told, rest := teller.tcp()
		sent, err := tcp.Send(ctx, dial, id, load, told)
		rest(sent.Samples)
		result.Tcp = tcpSentTo(sent)
		return err
	}, free, nil
}

// searchMTU finds what the path takes, by datagrams and by what arrives of a SYN.
func (t *trial) searchMTU(result *controlv1.SendResult) (part, error) {
	if err := t.sockets.only(false); err != nil {
		return nil, invalid(err)
	}
	return func(ctx context.Context, _ <-chan struct{}) error {
		back, err := t.sockets.listenTCP(ctx, mssPort+backPort, nil)
		if err != nil {
			return err
		}
		defer back.Close()
		conn, err := t.sockets.dialOffset(pathMTUPort)
		if err != nil {
			return err
		}
		defer conn.Close()
		found, err := pmtu.Search(ctx, conn, t.pmtu())
		result.PathMtu = pathMTUTo(found)
		if err != nil {
			return err
		}
		there, thereErr := pmtu.OfferMSS(ctx, t.dialMSS(mssPort), t.mss(false))
		heard, backErr := pmtu.HearMSS(ctx, back, t.mss(true))
		result.PathMtu.MssThere, result.PathMtu.MssBack = mssTo(there, thereErr), mssTo(heard, backErr)
		if err := errors.Join(thereErr, backErr); err != nil {
			result.PathMtu.MssFailed = err.Error()
		}
		return ctx.Err()
	}, nil
}

// dialMSS connects to the other end's listener for a look at the SYN.
func (t *trial) dialMSS(offset int) pmtu.Dial {
	return func(ctx context.Context) (*net.TCPConn, error) { return t.sockets.dialTCP(ctx, offset, nil) }
}

// mostConditions bounds what is judged with every ping.
const mostConditions = 16

// errUnwatched says that no load began, since its probe was already over.
var errUnwatched = errors.New("no load was sent: the latency probe that was to look after it ended before one of its packets was answered")

// newWatch looks after the load by the conditions.
func (t *trial) newWatch(stopIf []string) (*watch, error) {
	w := &watch{answered: make(chan struct{}), over: make(chan struct{})}
	if len(stopIf) == 0 {
		return w, nil
	}
	if len(stopIf) > mostConditions {
		return nil, fmt.Errorf("%d conditions that stop a load: allowed are up to %d", len(stopIf), mostConditions)
	}
	w.stop = make(chan struct{})
	if t.work.GetLatency() == nil {
		return nil, errors.New("conditions that stop a load: they need a latency probe beside it")
	}
	var conditions []latency.Condition
	for _, text := range stopIf {
		condition, err := latency.ParseCondition(text)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, condition)
	}
	guard, err := latency.NewGuard(t.latency().Every, conditions...)
	w.guard = guard
	return w, err
}

// watched runs the load with a latency probe beside it, or either alone. A load that
// the probe guards ends with it.
func (t *trial) watched(load part, w *watch, result *controlv1.SendResult) error {
	if t.work.GetLatency() == nil {
		return load(t.ctx, nil)
	}
	conn, err := t.sockets.dialOffset(latencyPort)
	if err != nil {
		return invalid(err)
	}
	defer conn.Close()
	both, ctx := errgroup.WithContext(t.ctx)
	o := t.latency()
	if load != nil {
		done := make(chan struct{})
		o.Until = done
		both.Go(func() error {
			defer close(done)
			select {
			case <-w.answered:
				return load(ctx, w.stop)
			case <-w.over:
				return errUnwatched
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	both.Go(func() error {
		found, err := latency.Probe(ctx, conn, o, w.see)
		result.Latency, result.Stopped = latencyTo(found), w.why
		w.end()
		return err
	})
	return both.Wait()
}

// watch is what the latency probe's samples mean for the load beside it.
type watch struct {
	answered chan struct{} // Closed by the first answer: the load may begin.
	heard    bool
	over     chan struct{} // Closed when the probe has ended.
	// guard is nil where nothing stops the load, and so is stop; it is closed when
	// the load must end, and why says the reason.
	guard *latency.Guard
	stop  chan struct{}
	why   string
}

func (w *watch) see(s latency.Sample) {
	if s.Answered && !w.heard {
		w.heard = true
		close(w.answered)
	}
	if w.why != "" || w.guard == nil {
		return
	}
	if err := w.guard.Take(s); err != nil {
		w.why = err.Error()
		close(w.stop)
	}
}

// end is the probe's: from now on nobody looks after the load.
func (w *watch) end() {
	close(w.over)
	if w.why == "" && w.guard != nil {
		close(w.stop)
	}
}
