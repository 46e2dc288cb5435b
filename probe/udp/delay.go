package udp

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tunnelmark/probe"
)

// maxDelay is the largest delay, and variation of it, that is told apart.
const maxDelay = 10 * time.Second

// histogram is of durations up to maxDelay, 0.1 % exact.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(maxDelay), 3) }

// delays are the one-way delays of a lane's packets. The least of a trial, above which
// they are to be told, is known at its end only. So they are kept by how far they
// are above or below the first packet's, and are 0.1 % of that exact.
type delays struct {
	above, below *hdrhistogram.Histogram // In ns.
	most         time.Duration

	// The packets of a burst mostly arrive with the same delay, so equal ones that
	// follow one another are recorded together.
	value time.Duration
	count int64
}

func newDelays() *delays {
	return &delays{above: newHistogram(), below: newHistogram(), most: math.MinInt64}
}

func (d *delays) add(delay time.Duration) {
	if delay != d.value {
		d.record()
		d.value = delay
	}
	d.count++
}

// record enters the delays that are not yet in their histogram.
func (d *delays) record() {
	if d.count == 0 {
		return
	}
	d.most = max(d.most, d.value)
	side, far := d.above, d.value
	if far < 0 {
		side, far = d.below, -far
	}
	_ = side.RecordValues(int64(min(far, maxDelay)), d.count) // Within the histogram's range.
	d.count = 0
}

// merge adds the delays of another lane.
func (d *delays) merge(other *delays) {
	d.record()
	other.record()
	d.above.Merge(other.above) // Both have the same range.
	d.below.Merge(other.below)
	d.most = max(d.most, other.most)
}

// result summarises the delays above the least of the trial; mean is theirs.
func (d *delays) result(least, mean time.Duration) probe.Quantiles {
	d.record()
	count := d.above.TotalCount() + d.below.TotalCount()
	if count == 0 {
		return probe.Quantiles{}
	}
	q := probe.Quantiles{Count: uint64(count), Mean: mean, Max: d.most - least}
	for share, to := range map[float64]*time.Duration{0.5: &q.P50, 0.9: &q.P90, 0.99: &q.P99, 0.999: &q.P999} {
		rank := max(1, int64(math.Ceil(share*float64(count))))
		*to = min(max(d.ranked(rank)-least, 0), q.Max)
	}
	return q
}

// ranked is the delay that so many are not above, from 1 to all of them. Those below
// the first packet's are the least, the farthest of them first.
func (d *delays) ranked(rank int64) time.Duration {
	below := d.below.TotalCount()
	if rank <= below {
		return -atRank(d.below, below-rank+1)
	}
	return atRank(d.above, rank-below)
}

func atRank(h *hdrhistogram.Histogram, rank int64) time.Duration {
	return time.Duration(h.ValueAtPercentile(100 * float64(rank) / float64(h.TotalCount())))
}

// variation collects |D(i) - D(i-1)| of packets of a flow that were sent one after
// the other and arrived so (RFC 3393, Section 2.6).
type variation struct {
	histogram *hdrhistogram.Histogram // In ns.
	most      time.Duration
	zeros     int64 // Not yet recorded: within a burst there mostly is none.
}

func newVariation() *variation { return &variation{histogram: newHistogram()} }

func (v *variation) add(d time.Duration) {
	if d == 0 {
		v.zeros++
		return
	}
	v.most = max(v.most, d)
	_ = v.histogram.RecordValue(int64(min(d, maxDelay))) // Within the histogram's range.
}

// merge adds the variation in another lane.
func (v *variation) merge(other *variation) {
	v.histogram.Merge(other.histogram) // Both have the same range.
	v.zeros += other.zeros
	v.most = max(v.most, other.most)
}

func (v *variation) result(jitter time.Duration) probe.Variation {
	_ = v.histogram.RecordValues(0, v.zeros) // Within the histogram's range.
	v.zeros = 0
	return probe.Variation{
		P50:    time.Duration(v.histogram.ValueAtQuantile(50)),
		P99:    time.Duration(v.histogram.ValueAtQuantile(99)),
		Max:    v.most,
		Jitter: jitter,
	}
}

// flowDelay is the one-way delay of one flow.
type flowDelay struct {
	sequence uint64 // Of the newest packet,
	newest   time.Duration
	count    uint64
	least    time.Duration
	sum      float64 // In ns: whatever a peer says, it does not overflow.
	jitter   float64 // In ns.
}

// add notes the delay of the packet with the sequence number. It returns by how
// much that differs from the one before, and whether that was sent just before.
//
// The jitter is a running mean of that difference, in order of arrival (RFC 3550,
// Section 6.4.1).
func (f *flowDelay) add(sequence uint64, delay time.Duration) (differs time.Duration, consecutive bool) {
	if f.count == 0 {
		f.least = delay
	} else {
		differs, consecutive = (delay - f.newest).Abs(), sequence == f.sequence+1
		f.jitter += (float64(differs) - f.jitter) / 16
	}
	f.count++
	f.sum += float64(delay)
	f.sequence, f.newest, f.least = sequence, delay, min(f.least, delay)
	return differs, consecutive
}

func (f *flowDelay) mean() time.Duration { return time.Duration(f.sum / float64(f.count)) }

// fewestWindows are needed to tell how the delay drifts.
const fewestWindows = 8

// drift is by how much the windows' least delays grew over the trial, on the line
// that fits them with the least squares; zero where there are too few.
func drift(windows []probe.WindowCount) time.Duration {
	if len(windows) < fewestWindows {
		return 0
	}
	var meanAt, meanDelay, covariance, variance float64
	n := float64(len(windows))
	for _, w := range windows {
		meanAt += w.Start.Seconds() / n
		meanDelay += w.MinDelay.Seconds() / n
	}
	for _, w := range windows {
		at := w.Start.Seconds() - meanAt
		covariance += at * (w.MinDelay.Seconds() - meanDelay)
		variance += at * at
	}
	length := windows[len(windows)-1].End - windows[0].Start
	return time.Duration(covariance / variance * float64(length))
}
