package agent

import (
	"context"
	"errors"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe/latency"
	"tunnelmark/probe/pmtu"
	"tunnelmark/probe/tcp"
	"tunnelmark/probe/udp"
)

// Receive runs the receiving half of a trial. It opens all that it listens by before
// it says that it is ready, and the trial is over before its result is told: a
// controller that does not read cannot hold the tunnel.
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
	t, err := a.startTrial(ctx, m.GetSessionId(), m.GetTrial(), m.GetWork(), false)
	if err != nil {
		return nil, err
	}
	defer t.end()
	result := &controlv1.ReceiveResult{}
	parts, shut, err := a.receiving(t, result)
	defer shut()
	if err != nil {
		return nil, err
	}
	told := make(chan error, 1)
	go func() { told <- ready() }()
	select {
	case err := <-told:
		if err != nil {
			return nil, err
		}
	case <-t.ctx.Done():
		shut()
		t.end() // A controller that does not read is waited for when the tunnel is free.
		return nil, errors.Join(t.failed(t.ctx.Err()), <-told)
	}
	all, ctx := errgroup.WithContext(t.ctx)
	for _, listen := range parts {
		all.Go(func() error { return listen(ctx) })
	}
	if err := all.Wait(); err != nil {
		return nil, t.failed(err)
	}
	spent, err := t.after()
	if err != nil {
		return nil, err
	}
	result.Host, result.Tunnel, result.Tunnels = spent.host, spent.tunnel, spent.tunnels
	return result, nil
}

// receiving is what a trial listens for. shut closes what was opened, and must be
// called whatever happens.
func (a *Agent) receiving(t *trial, result *controlv1.ReceiveResult) (parts []func(context.Context) error, shut func(), err error) {
	var opened []func() error
	shut = func() {
		for _, closing := range opened {
			_ = closing() // All of it was read.
		}
	}
	add := func(listen func(context.Context) error, closing func() error, err error) error {
		if err != nil {
			return refusal(err)
		}
		parts, opened = append(parts, listen), append(opened, closing)
		return nil
	}
	switch work := t.work; {
	case work.GetUdp() != nil:
		err = add(a.receiveUDP(t, result))
	case work.GetTcp() != nil:
		err = add(t.receiveTCP(result))
	case work.GetPathMtu() != nil:
		err = add(t.answerMTU())
	}
	if err == nil && t.work.GetLatency() != nil {
		err = add(t.answerLatency())
	}
	return parts, shut, err
}

func (a *Agent) receiveUDP(t *trial, result *controlv1.ReceiveResult) (listen func(context.Context) error, shut func() error, err error) {
	load, err := t.load()
	if err != nil {
		return nil, nil, invalid(err)
	}
	conns, err := t.sockets.inlets(load)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) error {
		received, err := udp.Receive(ctx, conns, t.udp(), load, nil)
		result.Udp = receivedTo(received)
		a.meter.TrialReceived(received.Packets, innerRate(received.InnerBytes, span(received.Windows)))
		return err
	}, func() error { return closeAll(conns) }, nil
}

func (t *trial) receiveTCP(result *controlv1.ReceiveResult) (listen func(context.Context) error, shut func() error, err error) {
	load, err := t.tcpLoad()
	if err != nil {
		return nil, nil, invalid(err)
	}
	listener, err := t.sockets.listenTCP(t.ctx, loadPort, load.Control)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) error {
		received, err := tcp.Receive(ctx, listener, t.tcp(), load, nil)
		result.Tcp = tcpReceivedTo(received)
		return err
	}, listener.Close, nil
}

// answerMTU answers a search, and then hears and offers a SYN. Where no connection
// can be made, the searching end says so.
func (t *trial) answerMTU() (listen func(context.Context) error, shut func() error, err error) {
	conn, err := t.sockets.dialOffset(pathMTUPort)
	if err != nil {
		return nil, nil, err
	}
	listener, err := t.sockets.listenTCP(t.ctx, mssPort, nil)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return func(ctx context.Context) error {
		if _, err := pmtu.Answer(ctx, conn, t.pmtu()); err != nil {
			return err
		}
		_, _ = pmtu.HearMSS(ctx, listener, t.mss(false))
		_, _ = pmtu.OfferMSS(ctx, t.dialMSS(mssPort+backPort), t.mss(true))
		return ctx.Err()
	}, func() error { return errors.Join(conn.Close(), listener.Close()) }, nil
}

func (t *trial) answerLatency() (listen func(context.Context) error, shut func() error, err error) {
	if err := t.checkLatency(); err != nil {
		return nil, nil, invalid(err)
	}
	conn, err := t.sockets.dialOffset(latencyPort)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) error {
		_, err := latency.Answer(ctx, conn, t.latency())
		return err
	}, conn.Close, nil
}
