package strongswan

import (
	"context"

	"github.com/vishvananda/netlink"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// interfaceSide is the tunnel's interface in the inner namespace.
type interfaceSide struct {
	*inner.Side
	namespace *tunnel.Namespace
	name      string
	before    netlink.LinkStatistics // What the kernel itself had said on it.
}

// configureSide brings up an interface that has been put into the namespace.
func configureSide(ctx context.Context, namespace *tunnel.Namespace, name string, spec tunnel.Spec) (*interfaceSide, error) {
	side, err := inner.Configure(ctx, namespace, name, spec)
	if err != nil {
		return nil, err
	}
	before, err := side.Statistics()
	if err != nil {
		side.Close()
		return nil, err
	}
	return &interfaceSide{Side: side, namespace: namespace, name: name, before: before}, nil
}

func (s *interfaceSide) counters() (tunnel.Counters, error) {
	now, err := s.Statistics()
	if err != nil {
		return tunnel.Counters{}, err
	}
	return tunnel.Counters{
		OutPackets:     now.TxPackets - s.before.TxPackets,
		OutInnerBytes:  now.TxBytes - s.before.TxBytes,
		InPackets:      now.RxPackets - s.before.RxPackets,
		InInnerBytes:   now.RxBytes - s.before.RxBytes,
		SendRefused:    now.TxErrors - s.before.TxErrors,
		OutOverrun:     now.TxDropped - s.before.TxDropped,
		DeliverRefused: now.RxErrors + now.RxDropped - s.before.RxErrors - s.before.RxDropped,
	}, nil
}
