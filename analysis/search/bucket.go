package search

import (
	"context"

	"tunnelmark/analysis"
)

const (
	firstBurst   = 64   // Packets.
	longestBurst = 8192 // Packets.
	// bursts is how many are read: the median of at least nine is wanted, and
	// some may be spoilt by the host.
	bursts     = 11
	fewestRead = 5
)

// readBucket sends bursts, if the limit is flat: doubles them until one loses,
// then repeats that. What passed before the first loss, less what the rate let
// pass meanwhile, was the bucket.
func (f *finder) readBucket(ctx context.Context) error {
	if !f.flat() {
		return nil
	}
	size, err := f.burstThatLoses(ctx)
	if err != nil || size == 0 {
		return err
	}
	var depths []float64
	for range 2 * bursts {
		t, err := f.burst(ctx, size)
		if err != nil {
			return err
		}
		if depth, ok := f.depth(t); ok {
			depths = append(depths, depth)
		}
		if len(depths) == bursts {
			break
		}
	}
	f.keepBucket(depths)
	return nil
}

// burstThatLoses is the length that all later bursts have: twice what is lost
// for the first time, so that a slow burst also loses. Zero: none did.
func (f *finder) burstThatLoses(ctx context.Context) (int, error) {
	// A burst beyond what passes in a second could not refill in longestIdle.
	perSecond := f.estimate / 8 / float64(f.found.InnerSize)
	for size := firstBurst; size <= longestBurst && float64(size) <= max(perSecond, firstBurst); size *= 2 {
		t, err := f.burst(ctx, size)
		if err != nil {
			return 0, err
		}
		if _, ok := f.depth(t); ok {
			return min(2*size, longestBurst), nil
		}
	}
	return 0, nil
}

// burst sends so many packets back to back, after the bucket had the time to
// take in as much.
func (f *finder) burst(ctx context.Context, packets int) (analysis.Trial, error) {
	bits := float64(packets*f.found.InnerSize) * 8
	return f.trial(ctx, analysis.Burst, analysis.Load{
		Packets: packets,
		Idle:    min(settle+seconds(1.2*bits/f.estimate), longestIdle),
	})
}

// depth is the bucket's depth in outer bytes as one burst shows it; ok is false
// where it lost nothing, or lost it elsewhere.
//
// With k packets of size s passed in time a, the tokens left, depth - k*s +
// rate*a, were less than the s that the next packet wanted: on average s/2.
// Refill counts from the first packet on, since until then the bucket is full.
func (f *finder) depth(t analysis.Trial) (outerBytes float64, ok bool) {
	first := t.FirstLoss
	if first == nil || first.Packets == 0 || t.Lost() == 0 || !t.Valid() || t.SocketDrops+t.TunnelDrops > 0 {
		return 0, false
	}
	size := float64(t.OuterSize)
	refilled := t.Outer(f.estimate) / 8 * first.After.Seconds()
	return max((float64(first.Packets)+0.5)*size-refilled, 0), true
}

// keepBucket takes the median of the bursts' depths.
func (f *finder) keepBucket(depths []float64) {
	if len(depths) < fewestRead {
		return
	}
	middle := quantile(depths, 0.5)
	bucket := analysis.Bucket{OuterBytes: middle, Bursts: len(depths)}
	if middle > 0 {
		bucket.Spread = (quantile(depths, 0.75) - quantile(depths, 0.25)) / middle
	}
	f.found.Bucket = &bucket
	f.store = max(f.store, middle*float64(f.found.InnerSize)/float64(f.found.OuterSize))
}
