package agent

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/lab"
	"tunnelmark/probe/wire"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/bundle"
	"tunnelmark/tunnel/overhead"
)

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
	s.note(func() { s.opened = true; s.rekeyer, _ = s.half.(tunnel.Rekeyer) })
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
	if s.half, err = bundle.Open(ctx, s.driver, halves); err != nil {
		return err
	}
	s.tally.begin(s.half)
	return nil
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

// rekey replaces the keys of the session's tunnels, also while a trial runs: that
// is what it is for. It does not take the use of the tunnel; one that is closed
// meanwhile ends it.
func (s *session) rekey(ctx context.Context) (time.Duration, error) {
	var rekeyer tunnel.Rekeyer
	var opened bool
	s.note(func() { rekeyer, opened = s.rekeyer, s.opened })
	switch {
	case !opened:
		return 0, errNotOpen
	case rekeyer == nil:
		return 0, fmt.Errorf("rekey the tunnel: driver %s cannot: %w", s.driverName, tunnel.ErrNotSupported)
	}
	ctx, release := s.within(ctx)
	defer release()
	return rekeyer.Rekey(ctx)
}

// specOf makes one half's spec out of both offers, for one of the tunnels.
func specOf(mine, theirs *control.Offer, number int, lifetime time.Duration) (tunnel.Spec, error) {
	spec := tunnel.Spec{
		Suite: mine.Suite, Encapsulation: mine.Encapsulation, NoESN: mine.NoESN, ReplayWindow: mine.ReplayWindow, Rekey: mine.Rekey,
		Number: number, Lifetime: lifetime,
		Local: endOf(mine, number), Remote: endOf(theirs, number),
		MTU: mine.InnerMTU,
	}
	if spec.MTU != 0 {
		return spec, nil
	}
	k, err := kind.Find(mine.Driver)
	if err != nil {
		return spec, err
	}
	added, err := k.Overhead(mine.Suite, mine.Encapsulation, overhead.VersionOf(mine.Outer))
	spec.MTU = k.InnerMTU(added, overhead.PathMTU(min(mine.OuterMTU, theirs.OuterMTU)))
	return spec, err
}

func endOf(offer *control.Offer, number int) tunnel.End {
	end := offer.Tunnels[number]
	return tunnel.End{
		Outer: netip.AddrPortFrom(offer.Outer, end.Port), SPI: end.SPI,
		Inner4: offer.Inner4, Inner6: offer.Inner6,
	}
}

func pathTo(mine, theirs *control.Offer, spec tunnel.Spec, path tunnel.Path) *controlv1.OpenResponse {
	return &controlv1.OpenResponse{
		InnerMtu:      uint32(path.MTU),
		LocalProbe:    path.Local.String(),
		RemoteProbe:   path.Remote.String(),
		LocalOuter:    spec.Local.Outer.String(),
		RemoteOuter:   spec.Remote.Outer.String(),
		OuterMtu:      uint32(min(mine.OuterMTU, theirs.OuterMTU)),
		Driver:        mine.Driver,
		Suite:         string(spec.Suite),
		Encapsulation: string(spec.Encapsulation),

		LinkBitsPerSecond: linkRate(mine.Outer),
	}
}
