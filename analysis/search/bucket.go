package search

import (
	"context"
	"time"

	"tunnelmark/analysis"
)

const (
	// burstHeight is how far above the plateau a burst is sent. As fast as can be
	// would squeeze it into one batch of the receiver, whose times then tell
	// nothing; slower ones are exposed to stalls that forfeit tokens.
	burstHeight = 2.5
	shortBurst  = 5 * time.Millisecond
	longBurst   = 500 * time.Millisecond
	// bursts is how many are read: the median of at least nine is wanted, and
	// some may be spoilt by the host.
	bursts     = 15
	fewestRead = 9
	// mostBursts are those of a whole search: seven lengths up to the longest, then
	// twice as many as are wanted.
	mostBursts = 7 + 2*bursts
)

// readBucket sends short bursts, if the limit is flat and the outer size, in which a
// policer counts, is known: ever longer ones until one loses, then more of that
// length. What passed before the first loss, less what the rate let pass meanwhile,
// was the bucket.
func (f *finder) readBucket(ctx context.Context) error {
	if !f.flat() || f.found.OuterSize == 0 {
		return nil
	}
	length, err := f.burstThatLoses(ctx)
	if err != nil || length == 0 {
		return err
	}
	var depths []float64
	for range 2 * bursts {
		t, err := f.burst(ctx, length)
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

// burstThatLoses is for how long all later bursts last: twice what loses for the
// first time. Zero: none did.
func (f *finder) burstThatLoses(ctx context.Context) (time.Duration, error) {
	for length := shortBurst; length <= longBurst; length *= 2 {
		t, err := f.burst(ctx, length)
		if err != nil {
			return 0, err
		}
		if _, ok := f.depth(t); ok {
			return 2 * length, nil
		}
	}
	return 0, nil
}

// burst overloads the path for so long, after the bucket had the time to take in
// as much as the burst can empty.
func (f *finder) burst(ctx context.Context, length time.Duration) (analysis.Trial, error) {
	refill := time.Duration(burstHeight * float64(length))
	return f.trial(ctx, analysis.Burst, analysis.Load{
		InnerBitsPerSecond: f.opts.clamp(burstHeight * f.estimate), Duration: length,
		Idle: min(settle+refill, longestIdle),
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
	if first == nil || first.Packets == 0 || t.Lost() == 0 || t.SocketDrops+t.TunnelDrops > 0 {
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
