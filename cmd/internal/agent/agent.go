// Package agent serves sessions at one end: it consents to a tunnel, builds its
// half, runs its half of each trial, and removes everything.
//
// The story: policy.go is what the owner allows, agent.go answers the
// controller's calls, session.go is one tunnel's life, trial.go one load's,
// drivers.go lists what tunnels there are, convert.go is the bridge between the
// islands and the contract.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/tunnel"
)

var (
	errClosed    = errors.New("the session is closed")
	errNotOpen   = errors.New("the session's tunnel is not open")
	errTrialRuns = errors.New("a trial of this session is still running")
	errBuilding  = errors.New("this session is being opened, or in use, already")
)

// Meter is told what an agent does.
type Meter interface {
	SessionOpened()
	SessionClosed()
	TrialSent(packets uint64, innerBitsPerSecond float64)
	TrialReceived(packets uint64, innerBitsPerSecond float64)
}

// Agent answers the calls of paired controllers. Shutdown ends all sessions.
type Agent struct {
	// Pair is answered by the server, before a controller is known.
	controlv1connect.UnimplementedAgentHandler

	policy   Policy
	identity *control.Identity
	trust    *control.Trust
	drivers  map[string]tunnel.Driver
	meter    Meter
	log      *slog.Logger

	watches sync.WaitGroup // One per session.

	mu       sync.Mutex // Guards all below.
	sessions map[control.SessionID]*session
	stopped  bool
	settled  time.Time // When all that was sent fits the limit; see settle.
}

var _ controlv1connect.AgentHandler = (*Agent)(nil)

// New makes an agent whose policy has been checked.
func New(policy Policy, identity *control.Identity, trust *control.Trust, drivers map[string]tunnel.Driver, meter Meter, log *slog.Logger) *Agent {
	return &Agent{
		policy: policy, identity: identity, trust: trust, drivers: drivers, meter: meter, log: log,
		sessions: map[control.SessionID]*session{},
	}
}

// Shutdown closes all sessions and waits for their goroutines; no new one can
// begin.
func (a *Agent) Shutdown() error {
	a.mu.Lock()
	a.stopped = true
	open := slices.Collect(maps.Values(a.sessions))
	a.mu.Unlock()
	var failed error
	for _, s := range open {
		_, err := a.end(s, "the agent stops")
		failed = errors.Join(failed, err)
	}
	a.watches.Wait()
	return failed
}

// Offer begins a session: it reserves a port and signs this agent's consent.
func (a *Agent) Offer(ctx context.Context, request *controlv1.OfferRequest) (*controlv1.OfferResponse, error) {
	s, err := a.prepare(ctx, request)
	if err != nil {
		return nil, err
	}
	if err := a.admit(s); err != nil {
		return nil, errors.Join(err, closeAll(s.sockets))
	}
	a.log.Info("session offered", control.LogSession, s.id.String(), control.LogDriver, s.driverName, control.LogPeer, s.peer.Name)
	return &controlv1.OfferResponse{Offer: s.consent.Signed(), LeaseNs: int64(Lease)}, nil
}

// prepare makes a session that is not yet known to anybody.
func (a *Agent) prepare(ctx context.Context, m *controlv1.OfferRequest) (*session, error) {
	owner, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	id, err := control.SessionIDFromBytes(m.GetSessionId())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	peer, err := a.peer(m.GetPeerFingerprint())
	if err != nil {
		return nil, err
	}
	driver, err := a.driver(m.GetDriver())
	if err != nil {
		return nil, err
	}
	offer, err := a.offer(id, peer.Fingerprint, m)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	s := &session{
		id: id, owner: owner, peer: peer, driverName: m.GetDriver(), driver: driver, group: string(m.GetGroup()),
		begun: time.Now(), maxAge: a.policy.MaxSession,
	}
	if m.GetHold() != "" {
		s.hold = m.GetHold() + "-" + a.policy.Name // Both agents may be in one lab.
	}
	if err := a.busy(s); err != nil {
		return nil, err // Before ports are taken that the other session may hold.
	}
	if err := a.reserve(s, &offer, m); err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	if s.consent, err = control.NewConsent(a.identity, offer, s.begun); err != nil {
		return nil, errors.Join(connect.NewError(connect.CodeInvalidArgument, err), closeAll(s.sockets))
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.renew(s.begun)
	return s, nil
}

// offer is what this agent is ready to sign, but for where its tunnels arrive.
func (a *Agent) offer(id control.SessionID, peer control.Fingerprint, m *controlv1.OfferRequest) (control.Offer, error) {
	offer := control.Offer{
		Session: id, Role: m.GetRole(), Peer: peer,
		Driver:        m.GetDriver(),
		Suite:         tunnel.Suite(m.GetSuite()),
		Encapsulation: tunnel.Encapsulation(m.GetEncapsulation()),
		NoESN:         m.GetNoEsn(),
		ReplayWindow:  int(m.GetReplayWindow()),
		InnerMTU:      int(m.GetInnerMtu()),
		Limits:        a.policy.limits(),
	}
	k, err := kind.Find(m.GetDriver())
	if err != nil {
		return offer, err
	}
	if k.Inner {
		offer.Inner4, offer.Inner6 = innerOf(m.GetRole())
	}
	count := max(1, int(m.GetTunnels()))
	switch {
	case count > control.MaxTunnels:
		return offer, fmt.Errorf("%d tunnels: allowed are 1 to %d", count, control.MaxTunnels)
	case count > 1 && !k.Many:
		return offer, fmt.Errorf("%d tunnels: driver %s builds one", count, k.Name)
	case m.GetLocal() != "" && !k.Foreign:
		return offer, fmt.Errorf("local %q: driver %s builds its tunnel from the agent's outer address", m.GetLocal(), k.Name)
	}
	offer.Tunnels = make([]control.TunnelEnd, count)
	return offer, nil
}

// reserve binds the ports of the offer's tunnels and draws their SPIs.
func (a *Agent) reserve(s *session, offer *control.Offer, m *controlv1.OfferRequest) (err error) {
	offer.Outer = a.policy.Outer
	if m.GetLocal() != "" {
		if offer.Outer, s.through, err = localAddress(m.GetLocal(), a.policy.Outer.Is4()); err != nil {
			return err
		}
	}
	offer.OuterMTU = outerMTU(offer.Outer)
	if s.sockets, err = listenOuter(offer.Outer, a.policy.Ports, len(offer.Tunnels)); err != nil {
		return fmt.Errorf("%w; widen the agent's --ports, or stop what holds them", err)
	}
	for i, socket := range s.sockets {
		offer.Tunnels[i] = control.TunnelEnd{Port: uint16(socket.LocalAddr().(*net.UDPAddr).Port), SPI: newSPI()}
	}
	return nil
}

// admit makes a session known and starts the watch over its lease. One session
// runs at a time, or one group of them: two loads that do not know of each other
// would each see the other as its limit.
func (a *Agent) admit(s *session) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.busyLocked(s); err != nil {
		return err
	}
	a.sessions[s.id] = s
	a.meter.SessionOpened()
	a.watches.Go(func() {
		s.watch(func(why string) {
			a.log.Warn("session expired", control.LogSession, s.id.String(), control.LogReason, why)
			_, _ = a.end(s, why) // Logged there.
		})
	})
	return nil
}

func (a *Agent) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sessions)
}

func (a *Agent) busy(s *session) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.busyLocked(s)
}

func (a *Agent) busyLocked(s *session) error {
	if a.stopped {
		return connect.NewError(connect.CodeFailedPrecondition, errors.New("the agent is stopping"))
	}
	for _, other := range a.sessions {
		if other.sideBySide(s) {
			continue
		}
		return connect.NewError(connect.CodeResourceExhausted,
			fmt.Errorf("controller %q has a session with %q since %v", other.owner.Name, other.peer.Name, time.Since(other.begun).Round(time.Second)))
	}
	return nil
}

// sideBySide says whether two sessions belong to one measurement. Even then
// there is one at a time on the path to one peer.
func (s *session) sideBySide(other *session) bool {
	return s.group != "" && s.group == other.group &&
		s.owner.Fingerprint == other.owner.Fingerprint && s.peer.Fingerprint != other.peer.Fingerprint
}

// Open accepts the peer's offer and brings this end's half up.
func (a *Agent) Open(ctx context.Context, request *controlv1.OpenRequest) (*controlv1.OpenResponse, error) {
	s, err := a.session(ctx, request.GetSessionId())
	if err != nil {
		return nil, err
	}
	path, err := s.open(ctx, request.GetPeerOffer(), a.trust, time.Now())
	if err != nil {
		a.log.Warn("session not opened", control.LogSession, s.id.String(), control.LogReason, err.Error())
		return nil, connect.NewError(openCode(err), err)
	}
	a.log.Info("session open", control.LogSession, s.id.String(), control.LogDriver, s.driverName)
	return path, nil
}

// Await returns once the tunnel passes packets.
func (a *Agent) Await(ctx context.Context, request *controlv1.AwaitRequest) (*controlv1.AwaitResponse, error) {
	s, err := a.session(ctx, request.GetSessionId())
	if err != nil {
		return nil, err
	}
	response, err := s.await(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return response, nil
}

// Rekey replaces the keys of the session's tunnels.
func (a *Agent) Rekey(ctx context.Context, request *controlv1.RekeyRequest) (*controlv1.RekeyResponse, error) {
	s, err := a.session(ctx, request.GetSessionId())
	if err != nil {
		return nil, err
	}
	took, err := s.rekey(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return &controlv1.RekeyResponse{TookNs: int64(took)}, nil
}

func openCode(err error) connect.Code {
	if errors.Is(err, control.ErrOfferRefused) {
		return connect.CodePermissionDenied
	}
	return connect.CodeFailedPrecondition
}

// Renew extends a session's lease.
func (a *Agent) Renew(ctx context.Context, request *controlv1.RenewRequest) (*controlv1.RenewResponse, error) {
	s, err := a.session(ctx, request.GetSessionId())
	if err != nil {
		return nil, err
	}
	s.renew(time.Now())
	return &controlv1.RenewResponse{LeaseNs: int64(Lease)}, nil
}

// Close ends a session. One that is not there is closed already.
func (a *Agent) Close(ctx context.Context, request *controlv1.CloseRequest) (*controlv1.CloseResponse, error) {
	s, err := a.session(ctx, request.GetSessionId())
	if connect.CodeOf(err) == connect.CodeNotFound {
		return &controlv1.CloseResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	counters, err := a.end(s, "its controller closed it")
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return &controlv1.CloseResponse{Tunnel: countersTo(counters, tunnel.Counters{})}, nil
}

// Sessions lists them.
func (a *Agent) Sessions(context.Context, *controlv1.SessionsRequest) (*controlv1.SessionsResponse, error) {
	a.mu.Lock()
	all := slices.Collect(maps.Values(a.sessions))
	a.mu.Unlock()
	response := &controlv1.SessionsResponse{}
	for _, s := range all {
		response.Sessions = append(response.Sessions, s.describe(time.Now()))
	}
	return response, nil
}

// end closes a session and forgets it once nothing of it is left.
func (a *Agent) end(s *session, why string) (tunnel.Counters, error) {
	counters, err := s.close(why)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sessions[s.id] != s {
		return counters, err
	}
	delete(a.sessions, s.id)
	a.meter.SessionClosed()
	a.log.Info("session closed", control.LogSession, s.id.String(), control.LogReason, why)
	if err != nil {
		a.log.Error("session not removed whole", control.LogSession, s.id.String(), control.LogReason, err.Error())
	}
	return counters, err
}

// session finds the caller's own session.
func (a *Agent) session(ctx context.Context, raw []byte) (*session, error) {
	owner, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	id, err := control.SessionIDFromBytes(raw)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[id]
	if s == nil || s.owner.Fingerprint != owner.Fingerprint {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no session %s of yours; it may have expired", id))
	}
	return s, nil
}

func caller(ctx context.Context) (control.Pin, error) {
	pin, ok := control.CallerFrom(ctx)
	if !ok {
		return control.Pin{}, connect.NewError(connect.CodeUnauthenticated, errors.New("the caller is not known"))
	}
	return pin, nil
}

// peer finds the pin of the agent that a session is with, if the policy allows it.
func (a *Agent) peer(raw []byte) (control.Pin, error) {
	fingerprint, err := control.FingerprintFromBytes(raw)
	if err != nil {
		return control.Pin{}, connect.NewError(connect.CodeInvalidArgument, err)
	}
	pin, err := a.trust.Find(control.Peer, fingerprint)
	if err != nil {
		return control.Pin{}, connect.NewError(connect.CodePermissionDenied,
			fmt.Errorf("this agent does not trust that peer; pair both agents together, or add it with: tunnelmark-agent trust add NAME %s (%w)", fingerprint, err))
	}
	if len(a.policy.Peers) > 0 && !slices.Contains(a.policy.Peers, fingerprint) {
		return control.Pin{}, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("this agent's policy does not list the peer %q", pin.Name))
	}
	return pin, nil
}

func (a *Agent) driver(name string) (tunnel.Driver, error) {
	driver := a.drivers[name]
	switch {
	case driver == nil:
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("there is no driver %q here; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(a.drivers)), ", ")))
	case !a.policy.allows(name):
		return nil, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("this agent's policy does not allow the driver %q", name))
	}
	return driver, nil
}
