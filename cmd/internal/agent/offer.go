package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/lab"
	"tunnelmark/tunnel"
)

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
	if err := a.suite(tunnel.Suite(m.GetSuite())); err != nil {
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
	if s.hold, err = heldName(m.GetHold(), a.policy.Name); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
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

// heldName is what a session's namespace is to be called, where that is asked for.
// It ends with the agent's name, since both may be in one lab; of a host's name,
// which the agent may have, what cannot stand in it is left out.
func heldName(hold, agent string) (string, error) {
	if hold == "" {
		return "", nil
	}
	fit := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(agent))
	room := max(0, lab.MaxHeldName-len(hold)-1)
	name := strings.TrimRight(hold+"-"+fit[:min(len(fit), room)], "-")
	return name, lab.CheckHeldName(name)
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
		Rekey:         control.LifetimeOf(m.GetRekey()),
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
	case offer.Rekey != (tunnel.Lifetime{}) && !k.Lifetime:
		return offer, fmt.Errorf("rekeying after %v: driver %s cannot by itself", offer.Rekey, k.Name)
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
		offer.Tunnels[i].Port = uint16(socket.LocalAddr().(*net.UDPAddr).Port)
		drawSPI(&offer.Tunnels[i], offer.Tunnels[:i])
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
