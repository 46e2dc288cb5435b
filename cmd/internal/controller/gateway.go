package controller

import (
	"context"
	"fmt"

	"tunnelmark/analysis/report"
)

// GatewayCounter reads how many packets the gateway before FROM has encrypted so
// far, for a tunnel that is not ours: the ends see packets leave, not what becomes
// of them.
type GatewayCounter func(context.Context) (uint64, error)

// leastEncrypted is the share of the packets that arrived which the gateway must
// have encrypted meanwhile: its counter may be a moment late.
const leastEncrypted = 0.99

// witness reads the counter before and after the work, and says whether what
// arrived had passed through the gateway's tunnel.
func (c GatewayCounter) witness(ctx context.Context, s *Session, work func() error) (*report.Evidence, error) {
	if c == nil {
		return nil, work()
	}
	before, err := c(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the gateway's counter: %w", err)
	}
	if err := work(); err != nil {
		return nil, err
	}
	after, err := c(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the gateway's counter: %w", err)
	}
	return judgeCounter(before, after, s.received.Load())
}

func judgeCounter(before, after, arrived uint64) (*report.Evidence, error) {
	if after < before {
		return nil, fmt.Errorf("read the gateway's counter: it fell from %d to %d, so it was reset or is none", before, after)
	}
	encrypted := after - before
	return &report.Evidence{
		Site:   "gateway",
		Proven: arrived > 0 && float64(encrypted) >= leastEncrypted*float64(arrived),
		How:    fmt.Sprintf("it encrypted %d packets while %d of the load arrived", encrypted, arrived),
	}, nil
}
