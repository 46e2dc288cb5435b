package controller

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Hold keeps a tunnel up for other programs, under the name spec.Hold, until ctx
// ends or the time is over; zero is no end but the agents' greatest age. ready is
// told of the tunnel once packets pass. What ends it otherwise is the error.
func Hold(ctx context.Context, p Plan, until time.Duration, ready func(*Session) error) error {
	for _, end := range []End{p.From, p.To} {
		description, err := p.ask(ctx, end)
		if err != nil {
			return err
		}
		if most := time.Duration(description.GetMaxSessionAgeNs()); most > 0 && until > most {
			return fmt.Errorf("hold for %v: %s allows a session no more than %v; ask for less, or raise session among the limits of its policy", until, end.Name, most)
		}
	}
	return p.within(ctx, p.Spec, func(s *Session) error {
		if err := ready(s); err != nil {
			return err
		}
		return s.wait(ctx, until)
	})
}

// wait returns nil where the user ended the tunnel, or its time was over.
func (s *Session) wait(ctx context.Context, until time.Duration) error {
	if until > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, until)
		defer cancel()
	}
	select {
	case <-s.ended.Done():
		return fmt.Errorf("the tunnel is gone: %w", context.Cause(s.ended))
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) || until > 0 {
			return nil
		}
		return ctx.Err()
	}
}
