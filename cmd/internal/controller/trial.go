package controller

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
)

// trialMargin is how much longer than its load a trial may take before an agent
// that does not answer is given up: a frozen one keeps its connection open.
const trialMargin = 30 * time.Second

// Trial offers one load of packets of innerSize bytes and returns what both
// ends counted. Trials of a session run one after another.
func (s *Session) Trial(ctx context.Context, load analysis.Load, innerSize int) (analysis.Trial, error) {
	if err := sleep(ctx, load.Idle); err != nil {
		return analysis.Trial{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, load.Duration+trialMargin)
	defer cancel()
	s.trials++
	asked := loadTo(load, innerSize)
	asked.Flows = uint32(s.flows())
	ready := make(chan struct{})
	var sent *controlv1.SendResponse
	var received *controlv1.ReceiveResult
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		received, err = s.receive(ctx, asked, ready)
		return err
	})
	both.Go(func() (err error) {
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		sent, err = s.send(ctx, asked)
		return err
	})
	if err := both.Wait(); err != nil {
		return analysis.Trial{}, err
	}
	s.count(sent, received)
	return trialFrom(load, innerSize, s.outerLength(innerSize), sent, received), nil
}

// flows is how many five-tuples a load has: one, unless several tunnels are to
// share it.
func (s *Session) flows() int {
	const each = 4
	if s.Spec.Tunnels < 2 {
		return 1
	}
	return each * s.Spec.Tunnels
}

// count adds up what arrived, and what each of several tunnels carried.
func (s *Session) count(sent *controlv1.SendResponse, received *controlv1.ReceiveResult) {
	s.received += received.GetReceived().GetPackets()
	for i, out := range sent.GetTunnels() {
		if i == len(s.carried) {
			s.carried = append(s.carried, report.TunnelCount{Number: i})
		}
		s.carried[i].SentPackets += out.GetOutPackets()
		s.carried[i].SentInnerBytes += out.GetOutInnerBytes()
	}
	for i, in := range received.GetTunnels()[:min(len(received.GetTunnels()), len(s.carried))] {
		s.carried[i].ReceivedPackets += in.GetInPackets()
		s.carried[i].ReceivedInnerBytes += in.GetInInnerBytes()
	}
}

// send runs the sender's half.
func (s *Session) send(ctx context.Context, load *controlv1.Load) (*controlv1.SendResponse, error) {
	sent, err := s.From.Agent.Send(ctx, &controlv1.SendRequest{SessionId: s.id, Trial: s.trials, Load: load})
	if err != nil {
		return nil, control.Explain(s.From.Name, err)
	}
	return sent, nil
}

// receive runs the receiver's half until its result, and closes ready once the
// receiver listens.
func (s *Session) receive(ctx context.Context, load *controlv1.Load, ready chan<- struct{}) (*controlv1.ReceiveResult, error) {
	stream, err := s.To.Agent.Receive(ctx, &controlv1.ReceiveRequest{SessionId: s.id, Trial: s.trials, Load: load})
	if err != nil {
		return nil, control.Explain(s.To.Name, err)
	}
	defer func() { _ = stream.Close() }() // The result, or its absence, has been told.
	armed, err := next(stream)
	if err == nil && armed.GetReady() == nil {
		err = errors.New("it counted before it was ready")
	}
	if err != nil {
		return nil, control.Explain(s.To.Name, err)
	}
	close(ready)
	last, err := next(stream)
	if err == nil && last.GetResult() == nil {
		err = errNoResult
	}
	if err != nil {
		return nil, control.Explain(s.To.Name, err)
	}
	return last.GetResult(), nil
}

var errNoResult = errors.New("it ended the trial without a result")

// next is the next message of a stream that must have one.
func next(stream *connect.ServerStreamForClient[controlv1.ReceiveResponse]) (*controlv1.ReceiveResponse, error) {
	if stream.Receive() {
		return stream.Msg(), nil
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return nil, errNoResult
}
