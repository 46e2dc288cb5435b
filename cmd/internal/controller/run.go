package controller

import (
	"context"
	"fmt"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/unit"
)

// FixedLoad is one load as iperf3's users give it: the payload has a length,
// and the rate a layer.
type FixedLoad struct {
	BitsPerSecond float64
	Layer         unit.Layer
	Payload       int // Of each datagram, in bytes.
	Duration      time.Duration
}

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
		trial, err := s.Trial(ctx, analysis.Load{InnerBitsPerSecond: inner, Duration: load.Duration}, size)
		r.Trials = []analysis.Trial{trial}
		s.describe(r, size)
		return err
	})
	if err != nil {
		return report.Result{}, err
	}
	return r.finish(), nil
}

// innerRate converts a rate of any layer into that of inner packets, bit/s.
func (s *Session) innerRate(load FixedLoad, innerSize int) float64 {
	return load.BitsPerSecond * float64(innerSize) / float64(s.lengthIn(load.Layer, innerSize))
}
