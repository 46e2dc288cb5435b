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
	"tunnelmark/lab"
	"tunnelmark/probe/udp"
	"tunnelmark/probe/wire"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/bundle"
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
	running bool // A trial is.

	closing sync.Once // Guards what follows, the session's result.
	totals  tunnel.Counters
	failed  error
}

// open accepts the peer's offer and builds this end's half.
func (s *session) open(ctx context.Context, signed *controlv1.SignedOffer, trust *control.Trust, now time.Time) (*controlv1.OpenResponse, error) {
	if err := s.take(errBuilding); err != nil {
		return nil, err
	}
	defer s.use.Unlock()
	ctx, release := s.within(ctx)
	defer release()
	theirs, keys, err := s.consent.Accept(signed, trust, now)
	if err != nil {
		return nil, err
	}
	defer keys.Erase()
	if s.key, err = probeKey(keys); err != nil {
		return nil, err
	}
	mine := s.consent.Offer()
	halves, err := s.halves(&mine, theirs, keys, now)
	if err != nil {
		return nil, err
	}
	if err := s.build(ctx, halves); err != nil {
		return nil, err
	}
	s.limits = mine.Limits.Least(theirs.Limits)
	s.path = pathTo(&mine, theirs, halves[0].Spec, s.half.Path())
	if err := s.name(); err != nil {
		return nil, err
	}
	s.note(func() { s.opened = true })
	return s.path, nil
}

// name makes the tunnel usable for other programs, where that was asked for. A
// tunnel whose load goes from outer address to outer address is, in the agent's
// own namespace.
func (s *session) name() (err error) {
	if s.hold == "" || s.half.Path().Namespace != s.inner {
		return nil
	}
	if s.unname, err = lab.Hold(s.hold, s.inner.FD()); err != nil {
		return err
	}
	s.path.Namespace = "tm-" + s.hold
	return nil
}

// halves are this end's halves of the session's tunnels, without their place.
func (s *session) halves(mine, theirs *control.Offer, keys *control.SessionKeys, now time.Time) ([]bundle.Half, error) {
	var halves []bundle.Half
	for number := range mine.Tunnels {
		spec, err := specOf(mine, theirs, number, s.begun.Add(s.maxAge).Sub(now))
		if err != nil {
			return nil, err
		}
		halves = append(halves, bundle.Half{Spec: spec, Keys: keys.Tunnel(s.driverName, number)})
	}
	return halves, nil
}

func probeKey(keys *control.SessionKeys) (wire.Key, error) {
	secret, err := keys.Probe()
	if err != nil {
		return wire.Key{}, err
	}
	defer clear(secret)
	return wire.NewKey(secret)
}

// build makes the session's namespace and the driver's halves around it. What it
// has made when it fails is removed with the session.
func (s *session) build(ctx context.Context, halves []bundle.Half) (err error) {
	s.opening = time.Now()
	for _, half := range halves {
		if err := s.driver.Check(half.Spec); err != nil {
			return err
		}
	}
	if s.outer, err = tunnel.CurrentNamespace(); err != nil {
		return err
	}
	if s.inner, err = tunnel.NewNamespace(); err != nil {
		return err
	}
	for i := range halves {
		halves[i].Place = tunnel.Place{Outer: s.outer, Inner: s.inner, Socket: s.sockets[i], Interface: s.through}
	}
	s.sockets = nil // The driver owns them now.
	s.half, err = bundle.Open(ctx, s.driver, halves)
	return err
}

// await returns once packets pass to the peer, and says how the tunnel was built.
func (s *session) await(ctx context.Context) (*controlv1.AwaitResponse, error) {
	if err := s.take(errBuilding); err != nil {
		return nil, err
	}
	defer s.use.Unlock()
	if s.half == nil {
		return nil, errNotOpen
	}
	ctx, release := s.within(ctx)
	defer release()
	if awaiter, ok := s.half.(tunnel.Awaiter); ok {
		if err := awaiter.Await(ctx); err != nil {
			return nil, err
		}
	}
	response := &controlv1.AwaitResponse{SetupNs: int64(time.Since(s.opening))}
	if detailed, ok := s.half.(tunnel.Detailed); ok {
		for _, detail := range detailed.Details() {
			response.Details = append(response.Details, &controlv1.Detail{Name: detail.Name, Value: detail.Value})
		}
	}
	if witness, ok := s.half.(tunnel.Witness); ok {
		s.evidence = witness.Evidence()
		response.Evidence = &controlv1.Evidence{Proven: s.evidence.Proven, How: s.evidence.How}
	}
	return response, nil
}

// sameWay says whether a foreign tunnel's peer is still reached as it was when
// the session began: routing that has changed would make the result another's.
func (s *session) sameWay() error {
	witness, ok := s.half.(tunnel.Witness)
	if !ok {
		return nil
	}
	if now := witness.Evidence(); now != s.evidence {
		return fmt.Errorf("the way to the peer has changed: when the session began it was %q, now it is %q", s.evidence.How, now.How)
	}
	return nil
}

// rekey replaces the keys of the session's tunnels.
func (s *session) rekey(ctx context.Context) (time.Duration, error) {
	if err := s.take(errBuilding); err != nil {
		return 0, err
	}
	defer s.use.Unlock()
	rekeyer, ok := s.half.(tunnel.Rekeyer)
	if !ok {
		return 0, fmt.Errorf("rekey the tunnel: driver %s cannot: %w", s.driverName, tunnel.ErrNotSupported)
	}
	ctx, release := s.within(ctx)
	defer release()
	return rekeyer.Rekey(ctx)
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
	return &trial{ctx: ctx, end: end, half: s.half, path: s.path, limits: s.limits, id: udp.Trial{Key: s.key}}, nil
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

// listenOuter binds the first free ports of the policy's range on an address of
// this host, one for each tunnel.
func listenOuter(address netip.Addr, ports PortRange, count int) (sockets []*net.UDPConn, last error) {
	for port := int(ports.First); port <= int(ports.Last) && len(sockets) < count; port++ {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, uint16(port))))
		if err != nil {
			last = err
			continue
		}
		sockets = append(sockets, conn)
	}
	if len(sockets) == count {
		return sockets, nil
	}
	free := len(sockets)
	return nil, errors.Join(closeAll(sockets),
		fmt.Errorf("bind %d of the ports %s on %s: %d are free: %w", count, ports, address, free, last))
}

func closeAll(sockets []*net.UDPConn) (failed error) {
	for _, socket := range sockets {
		failed = errors.Join(failed, socket.Close())
	}
	return failed
}

// CheckOuter says whether tunnels could arrive where the policy lets them: whether
// the address is this machine's and one of the ports is free. Learning that at the
// start is better than with the first session.
func (p Policy) CheckOuter() error {
	sockets, err := listenOuter(p.Outer, p.Ports, 1)
	if err != nil {
		return fmt.Errorf("%w; give an address of this machine by --outer, and free ports by --ports", err)
	}
	return closeAll(sockets)
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
