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
	"tunnelmark/probe/udp"
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

	// use is held by whoever builds the tunnel, runs a trial through it or
	// removes it, and for good once it is removed. It guards what follows.
	use      sync.Mutex
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
	running bool           // A trial is.

	closing sync.Once // Guards what follows, the session's result.
	totals  tunnel.Counters
	failed  error
}

// take gets the use of the tunnel without waiting. The caller must unlock it.
func (s *session) take(taken error) error {
	if !s.use.TryLock() {
		if s.ctx.Err() != nil {
			return errClosed
		}
		return taken
	}
	if s.ctx.Err() != nil {
		s.use.Unlock()
		return errClosed
	}
	return nil
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
	if s.running {
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

// begin starts a trial: one at a time. Its context ends with the session. Its
// end must be called.
func (s *session) begin(ctx context.Context) (*trial, error) {
	if err := s.take(errTrialRuns); err != nil {
		return nil, err
	}
	if s.half == nil {
		s.use.Unlock()
		return nil, errNotOpen
	}
	if err := s.sameWay(); err != nil {
		s.use.Unlock()
		return nil, err
	}
	s.note(func() { s.running = true })
	ctx, release := s.within(ctx)
	end := func() {
		release()
		s.note(func() { s.running, s.lease = false, time.Now().Add(Lease) })
		s.use.Unlock()
	}
	return &trial{ctx: ctx, end: end, half: s.half, shared: s.half.Path().Namespace == s.outer, path: s.path, limits: s.limits, id: udp.Trial{Key: s.key}}, nil
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
		counters, _ = s.half.Counters() // Its absence must not stop the removal.
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
		Open: s.opened, Running: s.running,
	}
}
