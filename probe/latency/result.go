package latency

import (
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tunnelmark/probe"
)

// Result is what a prober measured.
type Result struct {
	Sent uint64
	// Received counts answers without duplicates, the Late ones among them: those came
	// after more than 2 s.
	Received, Late, Duplicated uint64
	// Lost were not answered within the grace. Unsettled are those whose grace was not
	// over when ctx ended: Sent is Received + Lost + Unsettled.
	Lost, Unsettled uint64
	// LostToPeer and LostFromPeer say on which way. They are known only if the peer
	// confirmed the end, which it has where there was no error.
	LostToPeer, LostFromPeer uint64
	// Refused counts pings that the local stack did not take, Skipped intervals without
	// a ping because the host kept the prober off the CPU. Neither are sent, nor lost.
	Refused, Skipped uint64
	// Malformed counts datagrams on the probe's socket that were not its own.
	Malformed uint64

	// RTT is the round trip without the time that the answerer's host took. Samples
	// above a minute count as one.
	RTT probe.Quantiles
	// ToPeer and FromPeer are one-way delays above the least of the probe: what queues
	// added on each way. The clocks need not be synchronised, and their drift is taken
	// out as a line (see clockDrift).
	ToPeer, FromPeer probe.Quantiles
	// Stamped says how many of the times of the answered pings were the kernel's; the
	// others are those of user space, which make a round trip look longer.
	Stamped Stamped
	// Series is the course of it, by the time of sending.
	Series []Window
}

// Stamped counts answered pings whose times are the kernel's, for each of the four.
type Stamped struct{ Left, Arrived, Answered, Heard uint64 }

// SeriesWindow is the length of each window of a Series.
const SeriesWindow = 100 * time.Millisecond

// Window is one part of a Series. A window in which no ping was sent is left out.
type Window struct {
	Start            time.Duration // Since the first interval began.
	Sent, Lost       int
	Min, Median, Max time.Duration // Of the round trips; zero without any.
}

// result sums up what is known now.
func (p *prober) result() Result {
	r := Result{
		Sent: p.sums.sent, Received: p.sums.received, Duplicated: p.sums.duplicated,
		Refused: p.sums.refused, Skipped: p.sums.skipped, Malformed: p.sums.malformed,
	}
	for i := range p.pings {
		r.Late += one(p.pings[i].is(late))
		r.Unsettled += one(p.pings[i].is(unsettled))
		r.Stamped.add(&p.pings[i])
	}
	r.Lost = r.Sent - r.Received - r.Unsettled
	if p.phase == over && p.failed == nil {
		// What a peer says cannot be more than what it can know.
		r.LostFromPeer = min(r.Lost, max(p.sums.answered, r.Received)-r.Received)
		r.LostToPeer = r.Lost - r.LostFromPeer
	}
	r.Series = p.series()
	p.delays(&r)
	return r
}

func one(yes bool) uint64 {
	if yes {
		return 1
	}
	return 0
}

func (s *Stamped) add(q *ping) {
	if !q.is(received) {
		return
	}
	s.Left += one(q.is(kernelLeft))
	s.Arrived += one(q.is(kernelArrived))
	s.Answered += one(q.is(kernelAnswered))
	s.Heard += one(q.is(kernelHeard))
}

// series cuts the pings, which are in order of sending, into windows.
func (p *prober) series() (list []Window) {
	var rtts []time.Duration // Of the last window of list.
	for i := range p.pings {
		q := &p.pings[i]
		if q.is(refused) {
			continue
		}
		start := (q.left - p.first).Truncate(SeriesWindow)
		if len(list) == 0 || start > list[len(list)-1].Start {
			describeLast(list, rtts)
			list, rtts = append(list, Window{Start: start}), rtts[:0]
		}
		w := &list[len(list)-1]
		w.Sent++
		if q.is(received) {
			rtts = append(rtts, q.rtt())
		} else if !q.is(unsettled) {
			w.Lost++
		}
	}
	describeLast(list, rtts)
	return list
}

// describeLast completes the last window with its round trips.
func describeLast(list []Window, rtts []time.Duration) {
	if len(rtts) == 0 {
		return
	}
	slices.Sort(rtts)
	w := &list[len(list)-1]
	w.Min, w.Median, w.Max = rtts[0], rtts[len(rtts)/2], rtts[len(rtts)-1]
}

// oneWay are the delays of one answered ping, less an unknown offset between the
// clocks of the two ends: what is taken from one way is added to the other.
type oneWay struct {
	at       time.Duration // Since the first interval began.
	to, from time.Duration
	rtt      time.Duration
}

// delays adds the distributions to r.
func (p *prober) delays(r *Result) {
	list := p.oneWays()
	drift := clockDrift(list)
	for i := range list {
		ahead := time.Duration(drift * float64(list[i].at))
		list[i].to -= ahead
		list[i].from += ahead
	}
	r.RTT = quantiles(list, func(d oneWay) time.Duration { return d.rtt })
	r.ToPeer = aboveLeast(list, func(d oneWay) time.Duration { return d.to })
	r.FromPeer = aboveLeast(list, func(d oneWay) time.Duration { return d.from })
}

func (p *prober) oneWays() []oneWay {
	list := make([]oneWay, 0, p.sums.received)
	var zero *ping // The first answered; the offset is such that its delay to the peer is zero.
	for i := range p.pings {
		q := &p.pings[i]
		if !q.is(received) {
			continue
		}
		if zero == nil {
			zero = q
		}
		to := q.arrived.Sub(zero.arrived) - (q.left - zero.left)
		list = append(list, oneWay{at: q.left - p.first, to: to, from: q.rtt() - to, rtt: q.rtt()})
	}
	return list
}

const (
	// driftWindows is into how many windows a probe is cut to find the clocks' drift,
	// and leastDriftWindows how many of them must have seen an empty path.
	driftWindows      = 20
	leastDriftWindows = 5
	// maxDrift is of two clocks that err by 500 ppm each, the most that adjtimex(2)
	// corrects.
	maxDrift = 1e-3
)

// clockDrift is by how much the answerer's clock gains on the prober's, as a ratio.
//
// In each window it takes the ping with the least round trip, as NTP's clock filter
// does (RFC 5905, Section 10), and lays a line through the offsets that these show
// (least squares). Windows in which the path was never as empty as it can be say
// nothing: there a queue on one way would look like drift. With too few windows left
// it is zero.
func clockDrift(list []oneWay) float64 {
	best := leastRTTs(list)
	if len(best) < leastDriftWindows {
		return 0
	}
	var at, offset float64 // Means.
	for _, d := range best {
		at += float64(d.at) / float64(len(best))
		offset += float64(d.offset()) / float64(len(best))
	}
	var covariance, variance float64
	for _, d := range best {
		covariance += (float64(d.at) - at) * (float64(d.offset()) - offset)
		variance += (float64(d.at) - at) * (float64(d.at) - at)
	}
	if variance == 0 {
		return 0
	}
	return max(-maxDrift, min(covariance/variance, maxDrift))
}

// offset of the answerer's clock, if both ways took as long.
func (d oneWay) offset() time.Duration { return (d.to - d.from) / 2 }

// leastRTTs returns the ping with the least round trip of each window that saw an empty
// path.
func leastRTTs(list []oneWay) (best []oneWay) {
	if len(list) == 0 {
		return nil
	}
	length := list[len(list)-1].at/driftWindows + 1
	least, window := list[0].rtt, time.Duration(-1)
	for _, d := range list {
		least = min(least, d.rtt)
		switch {
		case d.at/length != window:
			window = d.at / length
			best = append(best, d)
		case d.rtt < best[len(best)-1].rtt:
			best[len(best)-1] = d
		}
	}
	// A tenth more, or 50 us, is no queue.
	empty := least + max(least/10, 50*time.Microsecond)
	return slices.DeleteFunc(best, func(d oneWay) bool { return d.rtt > empty })
}

// maxTold is the largest delay that is told apart.
const maxTold = time.Minute

// quantiles sums up one value of each ping.
func quantiles(list []oneWay, of func(oneWay) time.Duration) probe.Quantiles {
	if len(list) == 0 {
		return probe.Quantiles{}
	}
	histogram := hdrhistogram.New(1, int64(maxTold), 3) // In ns, 0.1 % exact.
	q := probe.Quantiles{Count: uint64(len(list)), Min: maxTold}
	var mean float64
	for _, d := range list {
		v := min(max(0, of(d)), maxTold)
		_ = histogram.RecordValue(int64(v)) // Within the histogram's range.
		q.Min, q.Max = min(q.Min, v), max(q.Max, v)
		mean += float64(v) / float64(len(list))
	}
	at := func(percent float64) time.Duration {
		return min(time.Duration(histogram.ValueAtPercentile(percent)), q.Max)
	}
	q.Mean, q.P50, q.P90, q.P99, q.P999 = time.Duration(mean), at(50), at(90), at(99), at(99.9)
	return q
}

// aboveLeast sums up what is more than the least.
func aboveLeast(list []oneWay, of func(oneWay) time.Duration) probe.Quantiles {
	if len(list) == 0 {
		return probe.Quantiles{}
	}
	least := of(list[0])
	for _, d := range list {
		least = min(least, of(d))
	}
	return quantiles(list, func(d oneWay) time.Duration { return of(d) - least })
}
