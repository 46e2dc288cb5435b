package search

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"tunnelmark/analysis"
)

const (
	innerSize = 1400
	outerSize = 1464 // UDP-encapsulated ESP with AES-GCM.
)

// device is what limits the simulated path. Times are in seconds of one clock
// that runs on between trials.
type device interface {
	// pass takes one packet of so many outer bytes at a time, and says when it
	// leaves, if it does. Times never go back.
	pass(at float64, bytes float64) (leaves float64, ok bool)
}

// path is a simulated tunnel with all that stands around a device.
type path struct {
	device device
	seed   uint64
	loss   float64 // Random loss ratio behind the device.
	top    float64 // The generator's limit, inner bit/s; zero: 3 Gbps.
	train  int     // Packets back to back; zero: 4.
	// stalls a second hold the tunnel's packets up for 1 to 5 ms, and then send
	// them back to back; naps a second keep the sender off the CPU as long.
	stalls, naps float64
	jitter       float64 // Mean of the receiver's jitter, seconds.

	rng  *rand.Rand
	now  float64
	sent time.Duration
}

func (p *path) run(ctx context.Context, l analysis.Load) (analysis.Trial, error) {
	if p.rng == nil {
		p.rng = rand.New(rand.NewPCG(p.seed, 1))
	}
	if err := ctx.Err(); err != nil {
		return analysis.Trial{}, err
	}
	p.now += 0.1 + l.Idle.Seconds() // Orders take time, too.
	t := analysis.Trial{Load: l, InnerSize: innerSize, OuterSize: outerSize}
	departures, elapsed, skipped := p.send(l)
	t.Sent, t.Elapsed, t.Skipped = uint64(len(departures)), seconds(elapsed), seconds(skipped)
	p.receive(&t, p.stall(departures))
	p.now += elapsed
	p.sent += t.Elapsed
	return t, nil
}

// send is when each packet leaves the generator.
func (p *path) send(l analysis.Load) (at []float64, elapsed, skipped float64) {
	top := p.top
	if top == 0 {
		top = 3e9
	}
	gap := innerSize * 8 / top
	train := max(p.train, 1)
	if p.train == 0 {
		train = 4
	}
	if l.Burst > 0 {
		train = min(train, l.Burst)
	}
	spacing := float64(train) * innerSize * 8 / min(l.InnerBitsPerSecond, top)
	nap := p.next(p.naps)
	for from := 0.0; from+spacing <= l.Duration.Seconds()+1e-9; from += spacing {
		if from > nap {
			off := 0.001 + 0.004*p.rng.Float64()
			from, skipped, nap = from+off, skipped+off, from+off+p.next(p.naps)
		}
		for i := range train {
			at = append(at, p.now+from+float64(i)*gap)
		}
	}
	return at, l.Duration.Seconds(), skipped
}

// next is the time to the next of so many events a second.
func (p *path) next(perSecond float64) float64 {
	if perSecond == 0 {
		return math.Inf(1)
	}
	return p.rng.ExpFloat64() / perSecond
}

// stall holds packets up in the tunnel now and then.
func (p *path) stall(at []float64) []float64 {
	const line = 3e-6 // A packet's time at the tunnel's full speed.
	begin := p.now + p.next(p.stalls)
	free := 0.0
	for i := range at {
		if at[i] >= begin {
			free = max(free, begin+0.001+0.004*p.rng.Float64())
			begin = free + p.next(p.stalls)
		}
		at[i] = max(at[i], free)
		free = at[i] + line
	}
	return at
}

// receive lets the packets pass the device and counts what arrives.
func (p *path) receive(t *analysis.Trial, at []float64) {
	var arrivals []float64
	last, least := 0.0, math.Inf(1)
	var delays []float64
	lost := false
	for _, a := range at {
		leaves, ok := p.device.pass(a, outerSize)
		if !ok || p.rng.Float64() < p.loss {
			if !lost && len(arrivals) > 0 {
				t.FirstLoss = &analysis.FirstLoss{
					Packets: uint64(len(arrivals)), After: seconds(arrivals[len(arrivals)-1] - arrivals[0]),
				}
			}
			lost = true
			continue
		}
		last = max(last, leaves+0.001+p.jitter*p.rng.ExpFloat64())
		arrivals, delays = append(arrivals, last), append(delays, last-a)
		least = min(least, last-a)
	}
	t.Received = uint64(len(arrivals))
	t.Windows = windows(arrivals, delays, least)
}

// windows counts arrivals as probe does: per 20 ms, from the first packet of
// one to the first packet of the next.
func windows(arrivals, delays []float64, least float64) []analysis.Window {
	const window = 0.020
	var ws []analysis.Window
	index := -1
	for i, a := range arrivals {
		since := a - arrivals[0]
		if n := int(since / window); n != index {
			if len(ws) > 0 {
				ws[len(ws)-1].End = seconds(since)
			}
			ws, index = append(ws, analysis.Window{Start: seconds(since), MinDelay: time.Hour}), n
		}
		w := &ws[len(ws)-1]
		w.Packets++
		w.End = seconds(since)
		w.MinDelay = min(w.MinDelay, seconds(delays[i]-least))
	}
	return ws
}

// policer is a token bucket that starts full.
type policer struct {
	rate, bucket float64 // Outer bit/s and bytes.
	tokens, last float64
}

func newPolicer(rate, bucket float64) *policer {
	return &policer{rate: rate, bucket: bucket, tokens: bucket}
}

func (d *policer) pass(at, bytes float64) (float64, bool) {
	d.tokens = min(d.bucket, d.tokens+(at-d.last)*d.rate/8)
	d.last = at
	if d.tokens < bytes {
		return 0, false
	}
	d.tokens -= bytes
	return at, true
}

// shaper queues, and drops when the queue is full.
type shaper struct {
	rate, queue float64 // Outer bit/s and bytes.
	free        float64
}

func (d *shaper) pass(at, bytes float64) (float64, bool) {
	if (d.free-at)*d.rate/8 > d.queue-bytes {
		return 0, false
	}
	d.free = max(d.free, at) + bytes*8/d.rate
	return d.free, true
}

// retrograde is a CPU that wastes the more work the more it is overloaded: a
// policer whose rate falls with the load of the last 10 ms.
type retrograde struct {
	cap, fall float64 // Outer bit/s; rate lost per relative overload.
	inner     policer
	load      float64
	last      float64
}

func newRetrograde(cap, fall float64) *retrograde {
	return &retrograde{cap: cap, fall: fall, inner: policer{rate: cap, bucket: 64 << 10, tokens: 64 << 10}}
}

func (d *retrograde) pass(at, bytes float64) (float64, bool) {
	const memory = 0.010
	d.load = d.load*math.Exp((d.last-at)/memory) + bytes*8/memory
	d.last = at
	over := max(d.load/d.cap-1.02, 0)
	d.inner.rate = d.cap * max(1-d.fall*over, 0.2)
	return d.inner.pass(at, bytes)
}

// noisy is a CPU whose ceiling wavers by 1 % from second to second, loses a
// little already below it, and loses 2 to 10 % in 4 % of the seconds.
type noisy struct {
	cap    float64 // Outer bit/s.
	rng    *rand.Rand
	second float64
	now    policer
	drop   float64
}

func newNoisy(cap float64, seed uint64) *noisy {
	return &noisy{cap: cap, rng: rand.New(rand.NewPCG(seed, 2)), second: -1}
}

func (d *noisy) pass(at, bytes float64) (float64, bool) {
	if s := math.Floor(at); s != d.second {
		d.second = s
		d.now = policer{rate: d.cap * (1 + 0.01*d.rng.NormFloat64()), bucket: 64 << 10, tokens: 64 << 10, last: at}
		d.drop = 0
		if d.rng.Float64() < 0.04 {
			d.drop = 0.02 + 0.08*d.rng.Float64()
		}
	}
	if d.rng.Float64() < d.drop {
		return 0, false
	}
	return d.now.pass(at, bytes)
}

// clear limits nothing.
type clear struct{}

func (clear) pass(at, _ float64) (float64, bool) { return at, true }
