// Package controller turns a question into sessions, trials and a result.
//
// The story: session.go has both agents build a tunnel and keeps its lease,
// trial.go runs one load through it, find.go searches the ceiling and judges
// its cause, run.go offers fixed loads, convert.go is the bridge between the
// contract and the analysis.
package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
	"tunnelmark/cmd/internal/unit"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// End is one agent as its controller reaches it.
type End struct {
	Name        string
	Fingerprint control.Fingerprint
	Agent       controlv1connect.AgentClient
}

// Spec is the tunnel that is asked of both agents.
type Spec struct {
	Driver        string
	Suite         string // Empty: the default of a driver that encrypts.
	Encapsulation string
	InnerMTU      int // Zero: the largest that needs no fragments.
}

// DefaultSpec is the embedded ESP tunnel.
func DefaultSpec() Spec {
	return Spec{Driver: "esp", Suite: string(tunnel.AES128GCM), Encapsulation: string(tunnel.UDP)}
}

const (
	// closeTimeout bounds the end of a session, also after Ctrl-C.
	closeTimeout = 5 * time.Second
	// busyRetry is how often a busy agent is asked again.
	busyRetry = time.Second
)

// Session is one tunnel between two agents. Close ends it.
type Session struct {
	From, To End
	Spec     Spec
	InnerMTU int

	id       []byte
	overhead overhead.Encapsulation
	outer    overhead.IPVersion
	trials   uint32 // Numbers the trials; a session runs one at a time.

	stopRenewing context.CancelFunc
	renewing     sync.WaitGroup
}

// Open has both agents make offers, exchanges them, and lets each build its
// half. It waits while an agent is busy with another session, and tells
// waiting why.
func Open(ctx context.Context, from, to End, spec Spec, waiting func(string)) (*Session, error) {
	s := &Session{From: from, To: to, Spec: spec, id: make([]byte, 16)}
	_, _ = rand.Read(s.id) // crypto/rand never fails.
	lease, err := s.exchange(ctx, waiting)
	if err != nil {
		_ = s.closeBoth(ctx) // What stopped the opening is told; leases end the rest.
		return nil, err
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopRenewing = stop
	s.renewing.Go(func() { s.renew(renewing, lease) })
	return s, nil
}

// exchange carries each agent's signed offer to the other. What the controller
// carries it cannot change: each agent checks the signature.
func (s *Session) exchange(ctx context.Context, waiting func(string)) (lease time.Duration, err error) {
	mine, err := s.offer(ctx, s.From, s.To, controlv1.Role_ROLE_INITIATOR, waiting)
	if err != nil {
		return 0, err
	}
	theirs, err := s.offer(ctx, s.To, s.From, controlv1.Role_ROLE_RESPONDER, waiting)
	if err != nil {
		return 0, err
	}
	// The receiver first: what the sender's half sends finds an open one.
	if _, err := s.open(ctx, s.To, mine.GetOffer()); err != nil {
		return 0, err
	}
	path, err := s.open(ctx, s.From, theirs.GetOffer())
	if err != nil {
		return 0, err
	}
	return time.Duration(mine.GetLeaseNs()), s.learn(path)
}

func (s *Session) offer(ctx context.Context, end, peer End, role controlv1.Role, waiting func(string)) (*controlv1.OfferResponse, error) {
	request := &controlv1.OfferRequest{
		SessionId: s.id, Role: role, PeerFingerprint: peer.Fingerprint[:],
		Driver: s.Spec.Driver, Suite: s.Spec.Suite, Encapsulation: s.Spec.Encapsulation,
		InnerMtu: uint32(s.Spec.InnerMTU),
	}
	for {
		response, err := end.Agent.Offer(ctx, request)
		if err == nil {
			return response, nil
		}
		if connect.CodeOf(err) != connect.CodeResourceExhausted {
			return nil, control.Explain(end.Name, err)
		}
		waiting(fmt.Sprintf("%s is busy, waiting: %s", end.Name, message(err)))
		if err := sleep(ctx, busyRetry); err != nil {
			return nil, err
		}
	}
}

func (s *Session) open(ctx context.Context, end End, peer *controlv1.SignedOffer) (*controlv1.OpenResponse, error) {
	response, err := end.Agent.Open(ctx, &controlv1.OpenRequest{SessionId: s.id, PeerOffer: peer})
	if err != nil {
		return nil, control.Explain(end.Name, err)
	}
	return response, nil
}

// learn takes what the agents agreed on.
func (s *Session) learn(path *controlv1.OpenResponse) error {
	s.InnerMTU = int(path.GetInnerMtu())
	outer, err := netip.ParseAddrPort(path.GetLocalOuter())
	if err != nil {
		return fmt.Errorf("read outer address from %s: %w", s.From.Name, err)
	}
	s.outer = overhead.IPv6
	if outer.Addr().Is4() {
		s.outer = overhead.IPv4
	}
	s.overhead, err = added(s.Spec, s.outer)
	return err
}

// added is what a tunnel adds to each packet.
func added(spec Spec, outer overhead.IPVersion) (overhead.Encapsulation, error) {
	if spec.Driver == "clear" {
		return overhead.Clear(), nil
	}
	return overhead.ESP(tunnel.Suite(spec.Suite), tunnel.Encapsulation(spec.Encapsulation), outer)
}

// LayerLength is how many bytes of a packet of innerSize bytes a layer counts.
// Outer packets are taken to be IPv4.
func LayerLength(layer unit.Layer, innerSize, innerHeaders int, spec Spec) (int, error) {
	encapsulation, err := added(spec, overhead.IPv4)
	if err != nil {
		return 0, err
	}
	switch layer {
	case unit.Inner:
		return innerSize, nil
	case unit.Outer:
		return encapsulation.OuterLength(innerSize), nil
	case unit.Wire:
		return encapsulation.WireLength(innerSize), nil
	default:
		return innerSize - innerHeaders, nil
	}
}

func (s *Session) family() string {
	if s.outer == overhead.IPv4 {
		return "ipv4"
	}
	return "ipv6"
}

// renew keeps the lease until the session is closed. A missed renewal is tried
// again: only the agent decides that a lease has ended.
func (s *Session) renew(ctx context.Context, lease time.Duration) {
	ticker := time.NewTicker(lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, end := range []End{s.From, s.To} {
				_, _ = end.Agent.Renew(ctx, &controlv1.RenewRequest{SessionId: s.id})
			}
		}
	}
}

// Close removes the tunnel at both ends, also when ctx is done.
func (s *Session) Close(ctx context.Context) error {
	s.stopRenewing()
	s.renewing.Wait()
	return s.closeBoth(ctx)
}

func (s *Session) closeBoth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	var failed error
	for _, end := range []End{s.From, s.To} {
		_, err := end.Agent.Close(ctx, &controlv1.CloseRequest{SessionId: s.id})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("close the session at %s (its lease ends it): %w", end.Name, err))
		}
	}
	return failed
}

// message is an RPC error's text without its code.
func message(err error) string {
	var rpc *connect.Error
	if errors.As(err, &rpc) {
		return rpc.Message()
	}
	return err.Error()
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
