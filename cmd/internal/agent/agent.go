// Package agent serves sessions at one end: it consents to a tunnel, builds its
// half, runs its half of each trial, and removes everything.
//
// The story: policy.go is what the owner allows, agent.go answers the
// controller's calls, offer.go consents to a session, build.go builds its tunnels,
// session.go is its life, trial.go a trial's, of which send.go and receive.go are the
// halves; sockets.go opens what they go by, load.go holds loads against limits,
// tell.go says how they stand, observe.go what the host did, tally.go what the tunnels
// have counted. drivers.go lists what tunnels there are, outer.go knows the host's
// addresses and ports, convert.go is the bridge between the islands and the contract.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
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
	ended    map[string]tunnel.Counters // By driver, of sessions that are no longer there.
	stopped  bool
	sending  uint64 // Inner bit/s of all loads that run; see take in load.go.
}

var _ controlv1connect.AgentHandler = (*Agent)(nil)

// New makes an agent whose policy has been checked.
func New(policy Policy, identity *control.Identity, trust *control.Trust, drivers map[string]tunnel.Driver, meter Meter, log *slog.Logger) *Agent {
	return &Agent{
		policy: policy, identity: identity, trust: trust, drivers: drivers, meter: meter, log: log,
		sessions: map[control.SessionID]*session{}, ended: map[string]tunnel.Counters{},
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

func (a *Agent) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sessions)
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
	s.tally.addTo(a.ended, s.driverName)
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

// suite refuses one that protects nothing where the policy does not allow it: no
// controller makes this agent send in clear what its owner did not mean to.
func (a *Agent) suite(name tunnel.Suite) error {
	if name.Protects() || a.policy.Insecure {
		return nil
	}
	return connect.NewError(connect.CodePermissionDenied,
		fmt.Errorf("this agent's policy does not allow the suite %q, which neither encrypts nor authenticates (insecure: true in its policy file would)", name))
}
