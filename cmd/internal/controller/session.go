// Package controller turns a question into sessions, trials and a result.
//
// The story: spec.go says what tunnel is wanted, session.go has both agents
// build it and keeps its lease, trial.go runs one load through it, convert.go is
// the bridge between the contract and the analysis. plan.go is what the questions
// share: find.go (a ceiling and its cause), run.go (a fixed load), hold.go (a
// tunnel for other programs). manner.go says how a search may load the path, and
// what it may cost; gateway.go whether load passed through a tunnel that is not
// ours; together.go and merge.go measure several tunnels as one. doctor.go asks
// agents about their hosts, without a session.
package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"tunnelmark/analysis/report"
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

// Dial reaches a paired agent. disconnect must be called where there is no error.
func Dial(pin control.Pin, identity *control.Identity) (end End, disconnect func(), err error) {
	agent, disconnect, err := control.Dial(pin.Address, identity, pin.Fingerprint)
	return End{Name: pin.Name, Fingerprint: pin.Fingerprint, Agent: agent}, disconnect, err
}

const (
	// closeTimeout bounds the end of a session, also after Ctrl-C.
	closeTimeout = 5 * time.Second
	// busyRetry is how often a busy agent is asked again.
	busyRetry = time.Second
	// leastLease bounds what an agent may want to be renewed how often.
	leastLease = 3 * time.Second
)

// Session is one tunnel between two agents. Close ends it.
type Session struct {
	From, To End
	Spec     Spec
	InnerMTU int
	OuterMTU int // The smaller of both ends' links, in bytes.
	// LinkBitsPerSecond is the lower of both ends' links; 0 where neither knows.
	LinkBitsPerSecond float64
	// Built is how each end built its half, Ways how probes enter it there.
	Built [2]Built
	Ways  [2]Way

	id       []byte
	group    []byte // Of sessions that run side by side; empty: alone.
	overhead overhead.Encapsulation
	outer    overhead.IPVersion
	headers  int           // IP and UDP, before the payload of a probe, in bytes.
	trials   uint32        // Numbers the trials.
	received atomic.Uint64 // Packets of all trials.

	mu      sync.Mutex           // Guards what follows: trials there and back may run at once.
	carried []report.TunnelCount // By each of several tunnels, in all trials.

	ended        context.Context // Done once an agent has ended the session by itself.
	end          context.CancelCauseFunc
	stopRenewing context.CancelFunc
	renewing     sync.WaitGroup
}

// Way is where load enters the tunnel at one end.
type Way struct {
	Namespace     string // Its name; empty where it has none, or is the agent's own.
	Local, Remote netip.Addr
}

// Built is what one end says of its half.
type Built struct {
	Details  []tunnel.Detail
	Evidence *tunnel.Evidence // Nil where the tunnel is the agents' own.
	Setup    time.Duration    // From the start until packets passed.
}

// Open has both agents make offers, exchanges them, and lets each build its
// half. It waits while an agent is busy with another session, and tells
// waiting why.
func Open(ctx context.Context, from, to End, spec Spec, waiting func(string)) (*Session, error) {
	return openBeside(ctx, from, to, spec, nil, waiting)
}

// openBeside opens a session that others of its group may run beside; none may
// where the group is empty.
func openBeside(ctx context.Context, from, to End, spec Spec, group []byte, waiting func(string)) (*Session, error) {
	s := &Session{From: from, To: to, Spec: spec, id: make([]byte, 16), group: group}
	_, _ = rand.Read(s.id) // crypto/rand never fails.
	lease, err := s.exchange(ctx, waiting)
	if err != nil {
		_ = s.closeBoth(ctx) // What stopped the opening is told; leases end the rest.
		return nil, err
	}
	s.ended, s.end = context.WithCancelCause(context.WithoutCancel(ctx))
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopRenewing = stop
	for _, end := range s.ends() {
		s.renewing.Go(func() { s.renew(renewing, end, max(lease, leastLease)/3) })
	}
	return s, nil
}

func (s *Session) ends() [2]End { return [2]End{s.From, s.To} }

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
	far, err := s.open(ctx, s.To, mine.GetOffer())
	if err != nil {
		return 0, err
	}
	near, err := s.open(ctx, s.From, theirs.GetOffer())
	if err != nil {
		return 0, err
	}
	if err := s.await(ctx); err != nil {
		return 0, err
	}
	return time.Duration(min(mine.GetLeaseNs(), theirs.GetLeaseNs())), s.learn(near, far)
}

// await has both ends meet, and say how they built their halves.
func (s *Session) await(ctx context.Context) error {
	both, ctx := errgroup.WithContext(ctx)
	for i, end := range s.ends() {
		both.Go(func() error {
			response, err := end.Agent.Await(ctx, &controlv1.AwaitRequest{SessionId: s.id})
			if err != nil {
				return control.Explain(end.Name, err)
			}
			s.Built[i] = builtFrom(response)
			return nil
		})
	}
	return both.Wait()
}

// Rekey has the sender's end replace the keys of the session's tunnels, and says
// how long that took.
func (s *Session) Rekey(ctx context.Context) (time.Duration, error) {
	response, err := s.From.Agent.Rekey(ctx, &controlv1.RekeyRequest{SessionId: s.id})
	if err != nil {
		return 0, control.Explain(s.From.Name, err)
	}
	return time.Duration(response.GetTookNs()), nil
}

func (s *Session) offer(ctx context.Context, end, peer End, role controlv1.Role, waiting func(string)) (*controlv1.OfferResponse, error) {
	local := s.Spec.FromLocal
	if role == controlv1.Role_ROLE_RESPONDER {
		local = s.Spec.ToLocal
	}
	request := &controlv1.OfferRequest{
		SessionId: s.id, Role: role, PeerFingerprint: peer.Fingerprint[:],
		Driver: s.Spec.Driver, Suite: s.Spec.Suite, Encapsulation: s.Spec.Encapsulation,
		InnerMtu: uint32(s.Spec.InnerMTU), Tunnels: uint32(s.Spec.Tunnels),
		NoEsn: s.Spec.NoESN, ReplayWindow: uint32(s.Spec.ReplayWindow), Rekey: control.LifetimeMessage(s.Spec.Rekey), Local: local, Group: s.group, Hold: s.Spec.Hold,
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
func (s *Session) learn(near, far *controlv1.OpenResponse) (err error) {
	s.InnerMTU, s.OuterMTU = int(near.GetInnerMtu()), int(near.GetOuterMtu())
	for i, path := range []*controlv1.OpenResponse{near, far} {
		if s.Ways[i], err = wayFrom(path); err != nil {
			return fmt.Errorf("read the path from %s: %w", s.ends()[i].Name, err)
		}
		s.LinkBitsPerSecond = lowerKnown(s.LinkBitsPerSecond, float64(path.GetLinkBitsPerSecond()))
	}
	if s.outer, err = versionOf(near.GetLocalOuter()); err != nil {
		return fmt.Errorf("read the outer address from %s: %w", s.From.Name, err)
	}
	s.headers = headersOf(s.Ways[0].Local)
	added, err := s.Spec.overhead(s.outer)
	s.overhead = added.WithMTU(overhead.TunnelMTU(s.InnerMTU))
	return err
}

func lowerKnown(a, b float64) float64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func wayFrom(path *controlv1.OpenResponse) (Way, error) {
	local, err := netip.ParseAddrPort(path.GetLocalProbe())
	if err != nil {
		return Way{}, err
	}
	remote, err := netip.ParseAddrPort(path.GetRemoteProbe())
	return Way{Namespace: path.GetNamespace(), Local: local.Addr().Unmap(), Remote: remote.Addr().Unmap()}, err
}

func versionOf(address string) (overhead.IPVersion, error) {
	parsed, err := netip.ParseAddrPort(address)
	if err == nil && parsed.Addr().Unmap().Is4() {
		return overhead.IPv4, nil
	}
	return overhead.IPv6, err
}

// headersOf is the length of IP and UDP headers: RFC 791, Section 3.1; RFC 8200,
// Section 3; RFC 768.
func headersOf(address netip.Addr) int {
	if address.Is4() {
		return 20 + 8
	}
	return 40 + 8
}

// HeaderBytes are those of IP and UDP before a probe's payload.
func (s *Session) HeaderBytes() int { return s.headers }

// lengthIn is how many bytes of an inner packet of that size a layer counts.
func (s *Session) lengthIn(layer unit.Layer, innerSize int) int {
	switch layer {
	case unit.Goodput:
		return innerSize - s.headers
	case unit.Outer:
		return s.overhead.OuterLength(innerSize)
	case unit.Wire:
		return s.overhead.WireLength(innerSize)
	default:
		return innerSize
	}
}

func (s *Session) family() string {
	if s.outer == overhead.IPv4 {
		return "ipv4"
	}
	return "ipv6"
}

// renew keeps one end's lease until the session is closed, or has ended there. A
// missed renewal is tried again: only the agent decides that a lease has ended.
func (s *Session) renew(ctx context.Context, end End, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			once, cancel := context.WithTimeout(ctx, every)
			_, err := end.Agent.Renew(once, &controlv1.RenewRequest{SessionId: s.id})
			cancel()
			if connect.CodeOf(err) == connect.CodeNotFound {
				s.end(control.Explain(end.Name, err))
				return
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

// closeBoth asks both at once: one that is silent must not cost the other's time.
func (s *Session) closeBoth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	var failed [2]error
	var closing sync.WaitGroup
	for i, end := range s.ends() {
		closing.Go(func() {
			if _, err := end.Agent.Close(ctx, &controlv1.CloseRequest{SessionId: s.id}); err != nil {
				failed[i] = fmt.Errorf("close the session (its lease ends it): %w", control.Explain(end.Name, err))
			}
		})
	}
	closing.Wait()
	return errors.Join(failed[:]...)
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
