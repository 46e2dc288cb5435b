package controller

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"tunnelmark/analysis"
	"tunnelmark/cmd/internal/control/controlv1"
)

// Trial offers one load of packets of innerSize bytes and returns what both
// ends counted. Trials of a session run one after another.
func (s *Session) Trial(ctx context.Context, load analysis.Load, innerSize int) (analysis.Trial, error) {
	if err := sleep(ctx, load.Idle); err != nil {
		return analysis.Trial{}, err
	}
	s.trials++
	asked := loadTo(load, innerSize)
	ready := make(chan struct{})
	var sent *controlv1.SendResult
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
	return trialFrom(load, innerSize, s.overhead.OuterLength(innerSize), sent, received), nil
}

// send runs the sender's half until its result.
func (s *Session) send(ctx context.Context, load *controlv1.Load) (*controlv1.SendResult, error) {
	stream, err := s.From.Agent.Send(ctx, &controlv1.SendRequest{SessionId: s.id, Trial: s.trials, Load: load})
	if err != nil {
		return nil, fmt.Errorf("send from %s: %w", s.From.Name, err)
	}
	defer stream.Close()
	for stream.Receive() {
		if result := stream.Msg().GetResult(); result != nil {
			return result, nil
		}
	}
	return nil, fmt.Errorf("send from %s: %w", s.From.Name, ended(stream.Err()))
}

// receive runs the receiver's half until its result, and closes ready once the
// receiver listens.
func (s *Session) receive(ctx context.Context, load *controlv1.Load, ready chan<- struct{}) (*controlv1.ReceiveResult, error) {
	stream, err := s.To.Agent.Receive(ctx, &controlv1.ReceiveRequest{SessionId: s.id, Trial: s.trials, Load: load})
	if err != nil {
		return nil, fmt.Errorf("receive at %s: %w", s.To.Name, err)
	}
	defer stream.Close()
	armed := false
	for stream.Receive() {
		if result := stream.Msg().GetResult(); result != nil {
			return result, nil
		}
		if stream.Msg().GetReady() != nil && !armed {
			armed = true
			close(ready)
		}
	}
	return nil, fmt.Errorf("receive at %s: %w", s.To.Name, ended(stream.Err()))
}

// ended is why a stream has ended without a result.
func ended(err error) error {
	if err == nil {
		return errors.New("the agent ended the trial without a result")
	}
	return err
}
