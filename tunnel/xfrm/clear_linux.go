package xfrm

import (
	"context"
	"errors"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// clearSide is what a form puts where load enters; transport mode has none.
type clearSide interface {
	// count says what was refused there.
	count(counters *tunnel.Counters) error
	remove() error
}

// interfaceSide is an xfrm interface or a VTI in the session's namespace.
type interfaceSide struct {
	*inner.Side
	namespace *tunnel.Namespace
	link      inner.Link
}

func openInterface(ctx context.Context, form Form, p plan, spec tunnel.Spec, place tunnel.Place) (*interfaceSide, error) {
	l := newLink(form, p)
	if err := l.Add(place.Outer, place.Inner); err != nil {
		return nil, err
	}
	side, err := inner.Configure(ctx, place.Inner, l.Name, spec)
	if err != nil {
		return nil, errors.Join(err, l.Remove(place.Inner))
	}
	return &interfaceSide{side, place.Inner, l}, nil
}

// count reads the interface: what it took and could not send, which is a better
// count than the namespace's, and what it had no room for. Packets that ESP refused
// are errors there, too, but are counted by their reason already.
func (s *interfaceSide) count(counters *tunnel.Counters) error {
	statistics, err := s.Statistics()
	if err != nil {
		return err
	}
	counters.SendRefused = statistics.TxErrors
	counters.DeliverRefused = statistics.RxDropped - min(statistics.RxErrors, statistics.RxDropped)
	return nil
}

func (s *interfaceSide) remove() error {
	s.Close()
	return s.link.Remove(s.namespace)
}
