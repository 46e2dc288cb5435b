package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/cmd/internal/unit"
)

// FixedLoad is one load as iperf3's users give it: the payload has a length,
// and the rate a layer.
type FixedLoad struct {
	BitsPerSecond float64
	Layer         unit.Layer
	Payload       int // Of each datagram, in bytes.
	Duration      time.Duration
	// RekeyEvery replaces the tunnel's keys that often meanwhile. Zero: never.
	RekeyEvery time.Duration
}

// CheckRekey refuses what the spec's driver cannot.
func (l FixedLoad) CheckRekey(spec Spec) error {
	k, err := kind.Find(spec.Driver)
	if err != nil || l.RekeyEvery == 0 {
		return err
	}
	if !k.Rekeys {
		return fmt.Errorf("rekeying: driver %s cannot on demand; drivers that can: %s", k.Name, strings.Join(kind.Where(func(k kind.Kind) bool { return k.Rekeys }), ", "))
	}
	if l.RekeyEvery < leastRekey {
		return fmt.Errorf("rekeying every %v: allowed are %v or more", l.RekeyEvery, leastRekey)
	}
	return nil
}

// leastRekey leaves charon time for one exchange after another.
const leastRekey = 200 * time.Millisecond

// Run offers one fixed load and reports what was counted. What the load is in
// inner packets is known once the tunnel is: it depends on the versions of IP.
func Run(ctx context.Context, p Plan, load FixedLoad) (report.Result, error) {
	r, err := p.begin(ctx, report.Run, load)
	if err != nil {
		return report.Result{}, err
	}
	err = p.within(ctx, p.Spec, func(s *Session) error {
		size := load.Payload + s.headers
		if err := s.fits(size); err != nil {
			return err
		}
		inner := s.innerRate(load, size)
		p.Tell(fmt.Sprintf("offering %s inner for %v", unit.FormatBitRate(inner), load.Duration))
		var trial analysis.Trial
		rekeys, err := s.rekeying(ctx, load.RekeyEvery, func(ctx context.Context) (err error) {
			trial, err = s.Trial(ctx, analysis.Load{InnerBitsPerSecond: inner, Duration: load.Duration}, size)
			return err
		})
		r.Trials = []analysis.Trial{trial}
		s.describe(r, size)
		r.Tunnel.Rekeys = rekeys
		return err
	})
	if err != nil {
		return report.Result{}, err
	}
	return r.finish(), nil
}

// rekeying does the work and replaces the tunnel's keys again and again until it
// is done. It returns how long each replacement took that was done by then.
func (s *Session) rekeying(ctx context.Context, every time.Duration, work func(context.Context) error) (took []time.Duration, err error) {
	if every == 0 {
		return nil, work(ctx)
	}
	both, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	both.Go(func() error { defer close(done); return work(ctx) })
	both.Go(func() error {
		for tick := time.NewTicker(every); ; {
			select {
			case <-done:
				tick.Stop()
				return nil
			case <-tick.C:
			}
			one, err := s.Rekey(ctx)
			if err != nil {
				return fmt.Errorf("rekey under load: %w", err)
			}
			took = append(took, one)
		}
	})
	err = both.Wait()
	return took, err
}

// innerRate converts a rate of any layer into that of inner packets, bit/s.
func (s *Session) innerRate(load FixedLoad, innerSize int) float64 {
	return load.BitsPerSecond * float64(innerSize) / float64(s.lengthIn(load.Layer, innerSize))
}
