package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe/wire"
	"tunnelmark/tunnel"
)

const (
	// Lease is for how long a session lives without its controller's renewal.
	Lease = 30 * time.Second
	// firstSPI: lower ones are reserved (RFC 4303, Section 2.1).
	firstSPI = 256
)

// session is one tunnel's life on this agent: offered, open, closed.
type session struct {
	id         control.SessionID
	owner      control.Pin // The controller that asked for it.
	peer       control.Pin
	driverName string
	driver     tunnel.Driver
	group      string // Of sessions that may run side by side; empty: alone.
	consent    *control.Consent
	begun      time.Time
	maxAge     time.Duration
	ctx        context.Context // Ends with the session; its cause says why.
	cancel     context.CancelCauseFunc

	// use is held by whoever builds the tunnel or removes it, and for good once it is
	// removed; trials share it. It guards what follows.
	use      sync.RWMutex
	sockets  []*net.UDPConn // One for each tunnel, until the drivers own them.
	through  string         // Interface through which a foreign tunnel must lead; empty: any.
	outer    *tunnel.Namespace
	inner    *tunnel.Namespace
	half     tunnel.Tunnel
	opening  time.Time // When building began.
	evidence tunnel.Evidence
	hold     string // The name that its namespace is to have; empty: none.
	unname   func() error
	path     *controlv1.OpenResponse
	key      wire.Key
	limits   control.Limits

	mu      sync.Mutex // Guards what follows.
	lease   time.Time
	opened  bool
	rekeyer tunnel.Rekeyer // Nil where the tunnel cannot rekey.
	trials  trials

	tally tally

	closing sync.Once // Guards what follows, the session's result.
	totals  tunnel.Counters
	failed  error
}

// trials are the halves of trials that run: at most one that sends and one that
// receives, where both directions are loaded at once.
type trials struct{ sending, receiving bool }

// slot is the one of the two that a trial takes.
func (t *trials) slot(sends bool) *bool {
	if sends {
		return &t.sending
	}
	return &t.receiving
}

func (t *trials) running() bool { return t.sending || t.receiving }

// take gets the use of the tunnel without waiting. The caller must unlock it.
func (s *session) take(taken error) error {
	return s.taken(s.use.TryLock(), s.use.Unlock, taken)
}

// share is take for those who use the tunnel side by side.
func (s *session) share(taken error) error {
	return s.taken(s.use.TryRLock(), s.use.RUnlock, taken)
}

func (s *session) taken(got bool, unlock func(), taken error) error {
	switch {
	case s.ctx.Err() == nil && got:
		return nil
	case s.ctx.Err() == nil:
		return taken
	case got:
		unlock()
	}
	return errClosed
}

// within makes ctx end with the session, too. release must be called.
func (s *session) within(ctx context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

func (s *session) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// watch ends the session when its lease or its greatest age is over. It returns
// when the session is closed.
func (s *session) watch(expire func(why string)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		}
		left, why := s.left(time.Now())
		if left <= 0 {
			expire(why)
			return
		}
		timer.Reset(left)
	}
}

// left is how long the session may still live, and what will end it. While a
// trial runs only the age counts: an overloaded path may starve renewals.
func (s *session) left(now time.Time) (time.Duration, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.begun.Add(s.maxAge).Sub(now)
	lease := s.lease.Sub(now)
	if s.trials.running() {
		lease = max(lease, time.Second)
	}
	if age <= lease {
		return age, "it reached its greatest age"
	}
	return lease, "its controller did not renew its lease"
}

// renew extends the lease.
func (s *session) renew(now time.Time) {
	s.note(func() { s.lease = now.Add(Lease) })
}

// begin starts this end's half of a trial: one that sends and one that receives at
// a time. Its context ends with the session. Its end must be called.
func (s *session) begin(ctx context.Context, sends bool) (*trial, error) {
	if err := s.share(errBuilding); err != nil {
		return nil, err
	}
	if err := s.ready(sends); err != nil {
		s.use.RUnlock()
		return nil, err
	}
	ctx, release := s.within(ctx)
	end := func() {
		release()
		s.note(func() { *s.trials.slot(sends), s.lease = false, time.Now().Add(Lease) })
		s.use.RUnlock()
	}
	return &trial{ctx: ctx, end: sync.OnceFunc(end), half: s.half, at: s.path, limits: s.limits, key: s.key}, nil
}

// ready takes a trial's place, if there is one.
func (s *session) ready(sends bool) (err error) {
	if s.half == nil {
		return errNotOpen
	}
	if err := s.sameWay(); err != nil {
		return err
	}
	s.note(func() {
		if slot := s.trials.slot(sends); *slot {
			err = errTrialRuns
		} else {
			*slot = true
		}
	})
	return err
}

// close ends the session in the order of its dependencies: the trial that uses
// the tunnel, the tunnel that lives in the namespace, the namespace. A second
// close waits for the first and returns the same.
func (s *session) close(why string) (tunnel.Counters, error) {
	s.closing.Do(func() {
		s.cancel(fmt.Errorf("the session was closed: %s", why))
		s.use.Lock()
		s.totals, s.failed = s.remove()
	})
	return s.totals, s.failed
}

func (s *session) remove() (counters tunnel.Counters, failed error) {
	s.key = wire.Key{}
	failed = closeAll(s.sockets)
	if s.unname != nil {
		failed = errors.Join(failed, s.unname())
	}
	if s.half != nil {
		counters = s.tally.end()
		failed = errors.Join(failed, s.half.Close())
	}
	for _, namespace := range []*tunnel.Namespace{s.inner, s.outer} {
		if namespace != nil {
			failed = errors.Join(failed, namespace.Close())
		}
	}
	return counters, failed
}

// describe is what any controller may know of a session.
func (s *session) describe(now time.Time) *controlv1.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &controlv1.Session{
		SessionId: s.id[:], Role: s.consent.Offer().Role,
		ControllerName: s.owner.Name, PeerName: s.peer.Name, Driver: s.driverName,
		AgeNs: int64(now.Sub(s.begun)), LeaseNs: int64(s.lease.Sub(now)),
		Open: s.opened, Running: s.trials.running(),
	}
}
