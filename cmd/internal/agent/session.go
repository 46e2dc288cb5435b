package agent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
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
	consent    *control.Consent
	begun      time.Time
	maxAge     time.Duration
	done       chan struct{} // Closed by close.

	mu       sync.Mutex // Guards all below.
	socket   *net.UDPConn
	outer    *tunnel.Namespace
	inner    *tunnel.Namespace
	half     tunnel.Tunnel
	path     *controlv1.OpenResponse
	probeKey []byte
	limits   control.Limits
	lease    time.Time
	trial    context.CancelCauseFunc // Nil while none runs.
	trials   sync.WaitGroup
	closed   bool
}

// open accepts the peer's offer and builds this end's half.
func (s *session) open(ctx context.Context, signed *controlv1.SignedOffer, trust *control.Trust, now time.Time) (*controlv1.OpenResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	theirs, keys, err := s.consent.Accept(signed, trust, now)
	if err != nil {
		return nil, err
	}
	defer keys.Erase()
	mine := s.consent.Offer()
	spec, err := specOf(&mine, theirs)
	if err != nil {
		return nil, err
	}
	if s.probeKey, err = keys.Probe(); err != nil {
		return nil, err
	}
	if err := s.buildLocked(ctx, spec, keys.Tunnel(s.driverName, 0)); err != nil {
		return nil, err
	}
	s.limits = mine.Limits.Least(theirs.Limits)
	s.path = pathTo(&mine, theirs, spec, s.half.Path())
	return s.path, nil
}

// buildLocked makes the session's namespace and the driver's half around it. What
// it has made when it fails is removed with the session.
func (s *session) buildLocked(ctx context.Context, spec tunnel.Spec, keys tunnel.Keys) error {
	if err := s.driver.Check(spec); err != nil {
		return err
	}
	var err error
	if s.outer, err = tunnel.CurrentNamespace(); err != nil {
		return err
	}
	if s.inner, err = tunnel.NewNamespace(); err != nil {
		return err
	}
	place := tunnel.Place{Outer: s.outer, Inner: s.inner, Socket: s.socket}
	s.socket = nil // The driver owns it now.
	s.half, err = s.driver.Open(ctx, spec, keys, place)
	return err
}

// watch ends the session when its lease or its greatest age is over. It returns
// when the session is closed.
func (s *session) watch(expire func(why string)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.done:
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
	if s.trial != nil {
		lease = max(lease, time.Second)
	}
	if age <= lease {
		return age, "it reached its greatest age"
	}
	return lease, "its controller did not renew its lease"
}

// renew extends the lease.
func (s *session) renew(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = now.Add(Lease)
}

// begin starts a trial: one at a time. The context ends with the session. end
// must be called.
func (s *session) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, nil, errClosed
	case s.half == nil:
		return nil, nil, errNotOpen
	case s.trial != nil:
		return nil, nil, errTrialRuns
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s.trial = cancel
	s.trials.Add(1)
	return ctx, func() {
		cancel(nil)
		s.mu.Lock()
		s.trial = nil
		s.lease = later(s.lease, time.Now().Add(Lease))
		s.mu.Unlock()
		s.trials.Done()
	}, nil
}

// close ends the session in the order of its dependencies: the trial that uses
// the tunnel, the tunnel that lives in the namespace, the namespace. A second
// close does nothing.
func (s *session) close(why string) (tunnel.Counters, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return tunnel.Counters{}, nil
	}
	s.closed = true
	if s.trial != nil {
		s.trial(fmt.Errorf("the session was closed: %s", why))
	}
	s.mu.Unlock()
	close(s.done)
	s.trials.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.probeKey)
	return s.removeLocked()
}

func (s *session) removeLocked() (counters tunnel.Counters, failed error) {
	if s.socket != nil {
		failed = errors.Join(failed, s.socket.Close())
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

// dial opens the socket of a trial where load enters the tunnel.
func (s *session) dial() (*net.UDPConn, error) {
	s.mu.Lock()
	half := s.half
	s.mu.Unlock()
	if half == nil {
		return nil, errNotOpen
	}
	path := half.Path()
	var conn *net.UDPConn
	err := path.Namespace.Do(func() (err error) {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(path.Local), net.UDPAddrFromAddrPort(path.Remote))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the trial's socket: %w", err)
	}
	return conn, nil
}

// listenOuter binds the first free port of the policy's range on the outer
// address.
func listenOuter(address netip.Addr, ports PortRange) (*net.UDPConn, error) {
	var last error
	for port := int(ports.First); port <= int(ports.Last); port++ {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, uint16(port))))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, fmt.Errorf("bind one of the ports %s on %s: %w", ports, address, last)
}

// newSPI draws an SPI that is not reserved.
func newSPI() uint32 {
	var random [4]byte
	for {
		_, _ = rand.Read(random[:]) // crypto/rand never fails.
		if spi := binary.BigEndian.Uint32(random[:]); spi >= firstSPI {
			return spi
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// describe is what any controller may know of a session.
func (s *session) describe(now time.Time) *controlv1.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &controlv1.Session{
		SessionId: s.id[:], Role: s.consent.Offer().Role,
		ControllerName: s.owner.Name, PeerName: s.peer.Name, Driver: s.driverName,
		AgeNs: int64(now.Sub(s.begun)), LeaseNs: int64(s.lease.Sub(now)),
		Open: s.half != nil, Running: s.trial != nil,
	}
}
