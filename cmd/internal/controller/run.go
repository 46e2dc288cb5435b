package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/cmd/internal/unit"
	"tunnelmark/probe"
)

// FixedLoad is one load as iperf3's users give it. Either UDP or TCP is there.
type FixedLoad struct {
	UDP      *UDPLoad
	TCP      *analysis.TCPLoad
	Duration time.Duration
	DSCP     uint8
	// Reverse loads the direction from To to From instead, Both that one at the same
	// time, too.
	Reverse, Both bool
	// MaxInnerBitsPerSecond bounds what is sent in each direction; zero: what the
	// agents allow. TCP is paced to it, UDP above it refused.
	MaxInnerBitsPerSecond float64
	// BottleneckInnerBitsPerSecond is what the path is known to carry, for the
	// transfer time ratio of RFC 6349. Optional.
	BottleneckInnerBitsPerSecond float64
	Watch                        Watch
	// RekeyEvery replaces the tunnel's keys that often meanwhile. Zero: never.
	RekeyEvery time.Duration
}

// UDPLoad is a load of datagrams: the payload has a length, and the rate a layer.
type UDPLoad struct {
	BitsPerSecond float64
	Layer         unit.Layer
	// Total: the rate is of all flows together, not of each.
	Total    bool
	Payloads []int // Of the datagrams, in bytes, in turn.
	// Genome is an IMIX (RFC 6985) instead of Payloads. Seed draws the order of the
	// packets; zero keeps that of Payloads, and of an IMIX draws a seed first.
	Genome            string
	Seed              uint64
	Flows             int
	NewFlowsPerSecond float64
	Lanes             int
	Burst             int
}

// Observer follows a fixed load.
type Observer interface {
	// Begin is told once the tunnel is up, before the load.
	Begin(s *Session) error
	// Interval is told while the load runs; calls do not overlap.
	Interval(analysis.Interval) error
}

// CheckRekey refuses what the spec's driver cannot.
func (l FixedLoad) CheckRekey(spec Spec) error {
	k, err := kind.Find(spec.Driver)
	if err != nil || l.RekeyEvery == 0 {
		return err
	}
	if !k.Rekeys {
		return fmt.Errorf("rekeying: driver %s cannot on demand; drivers that can: %s", k.Name, strings.Join(kind.Rekeyed(), ", "))
	}
	if l.RekeyEvery < leastRekey {
		return fmt.Errorf("rekeying every %v: allowed are %v or more", l.RekeyEvery, leastRekey)
	}
	return nil
}

// leastRekey leaves time for one exchange after another, charon's or esp's own.
const leastRekey = 200 * time.Millisecond

// Run offers one fixed load, or one in each direction, and reports what was
// counted:
//
//  1. a tunnel is built, and its latency measured without load;
//  2. what the load is in inner packets is known now: it depends on the versions of
//     IP and on the tunnel's MTU;
//  3. the load runs, told in intervals, with a latency probe beside it.
func Run(ctx context.Context, p Plan, load FixedLoad, interval time.Duration, observer Observer) (report.Result, error) {
	r, err := p.begin(ctx, report.Run, load)
	if err != nil {
		return report.Result{}, err
	}
	if load.UDP != nil && load.UDP.Genome != "" && load.UDP.Seed == 0 {
		load.UDP.Seed = 1 + rand.Uint64N(1<<32)
	}
	err = p.within(ctx, p.Spec, func(s *Session) error {
		if err := observer.Begin(s); err != nil {
			return err
		}
		if err := s.idle(ctx, r, load.Watch); err != nil {
			return err
		}
		rekeys, err := s.rekeying(ctx, load.RekeyEvery, func(ctx context.Context) error {
			return s.load(ctx, r, load, interval, observer)
		})
		s.describe(r, load.size(s, r))
		r.Tunnel.Rekeys = rekeys
		return err
	})
	if err != nil {
		return report.Result{}, err
	}
	return r.finish(), nil
}

// idleFor is how long the latency is measured before a load.
const idleFor = 500 * time.Millisecond

// idle notes the latency without load, where it is wanted under load.
func (s *Session) idle(ctx context.Context, r *pending, watch Watch) error {
	if watch.Every == 0 {
		return nil
	}
	latency, err := s.Idle(ctx, min(watch.Every, idleFor/20), idleFor)
	if err == nil {
		r.Latencies = append(r.Latencies, latency)
	}
	return err
}

// size is the length of the load's inner packets, in bytes: TCP fills the tunnel's.
func (l FixedLoad) size(s *Session, r *pending) int {
	if l.TCP != nil || len(r.Trials) == 0 {
		return s.InnerMTU
	}
	return r.Trials[0].InnerSize
}

// load runs the load of one direction or of both.
func (s *Session) load(ctx context.Context, r *pending, load FixedLoad, interval time.Duration, observer Observer) error {
	both, ctx := errgroup.WithContext(ctx)
	told := make(chan analysis.Interval)
	for _, reverse := range load.directions() {
		o := order{
			work: &controlv1.Work{Back: reverse && load.Both}, reverse: reverse, watch: load.Watch, interval: interval,
			tell: func(i analysis.Interval) {
				select {
				case told <- i:
				case <-ctx.Done():
				}
			},
		}
		both.Go(func() error { return s.loadOne(ctx, r, o, load) })
	}
	ended := make(chan error, 1)
	go func() { ended <- both.Wait() }()
	var failed error
	for {
		select {
		case i := <-told:
			failed = cmp.Or(failed, observer.Interval(i))
		case err := <-ended:
			return errors.Join(err, failed)
		}
	}
}

// directions are those that are loaded, whether they are in reverse.
func (l FixedLoad) directions() []bool {
	if l.Both {
		return []bool{false, true}
	}
	return []bool{l.Reverse}
}

// loadOne runs the load of one direction.
func (s *Session) loadOne(ctx context.Context, r *pending, o order, load FixedLoad) error {
	if load.TCP != nil {
		trial, err := s.loadTCP(ctx, o, load, r.Latencies)
		s.note(func() { r.TCP = append(r.TCP, trial) })
		return err
	}
	offered, err := s.Packets(load)
	if err != nil {
		return err
	}
	trial, err := s.udp(ctx, o, offered)
	s.note(func() { r.Trials = append(r.Trials, trial) })
	return err
}

func (s *Session) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Packets is what a load of datagrams is in inner packets.
func (s *Session) Packets(load FixedLoad) (analysis.Load, error) {
	l := load.UDP
	mix, err := s.mix(l)
	if err != nil {
		return analysis.Load{}, err
	}
	if err := s.fits(mix.Most()); err != nil {
		return analysis.Load{}, err
	}
	rate := l.BitsPerSecond
	if !l.Total {
		rate *= float64(max(1, l.Flows))
	}
	inner := rate * mix.Mean() / s.meanIn(l.Layer, mix)
	if most := load.MaxInnerBitsPerSecond; most > 0 && inner > most {
		return analysis.Load{}, fmt.Errorf("the load is %s inner, and no more than %s is allowed by --max-rate", unit.FormatBitRate(inner), unit.FormatBitRate(most))
	}
	return analysis.Load{
		InnerBitsPerSecond: inner, Duration: load.Duration, Burst: l.Burst, DSCP: load.DSCP,
		Mix:   analysis.Mix{InnerSizes: mix.Sizes, Seed: mix.Seed, Genome: mix.Genome},
		Flows: l.Flows, NewFlowsPerSecond: l.NewFlowsPerSecond, Lanes: l.Lanes,
	}, nil
}

// mix is which sizes the inner packets have.
func (s *Session) mix(l *UDPLoad) (probe.Mix, error) {
	if l.Genome != "" {
		return probe.ParseGenome(l.Genome, l.Seed, s.headers+probeHeader, s.InnerMTU)
	}
	mix := probe.Mix{Seed: l.Seed}
	for _, payload := range l.Payloads {
		mix.Sizes = append(mix.Sizes, payload+s.headers)
	}
	return mix, nil
}

// probeHeader is that of a probe's datagram (probe/wire), in bytes.
const probeHeader = 16

// meanIn is the mean length of a mix's packets in a layer, in bytes.
func (s *Session) meanIn(layer unit.Layer, mix probe.Mix) float64 {
	sum := 0
	for _, size := range mix.Sizes {
		sum += s.lengthIn(layer, size)
	}
	return float64(sum) / float64(len(mix.Sizes))
}

// loadTCP runs a load of TCP, and makes of it what RFC 6349 does.
func (s *Session) loadTCP(ctx context.Context, o order, load FixedLoad, idle []analysis.Latency) (analysis.TCPTrial, error) {
	offered := *load.TCP
	offered.Duration, offered.DSCP = load.Duration, load.DSCP
	if load.MaxInnerBitsPerSecond > 0 {
		most, err := s.tcpGoodput(load.MaxInnerBitsPerSecond/float64(max(1, offered.Flows)), offered.MSS)
		if err != nil {
			return analysis.TCPTrial{}, err
		}
		if offered.GoodputBitsPerSecond == 0 || offered.GoodputBitsPerSecond > most {
			offered.GoodputBitsPerSecond = most
		}
	}
	o.work.Tcp, o.work.Latency = tcpLoadTo(offered), o.watch.probe(load.Duration, s.InnerMTU)
	done, err := s.carry(ctx, o, load.Duration)
	if err != nil {
		return analysis.TCPTrial{}, err
	}
	trial := tcpTrialFrom(offered, done)
	if len(idle) > 0 {
		trial.Quality = trial.Judge(analysis.TCPPath{
			InnerBitsPerSecond: load.BottleneckInnerBitsPerSecond, MTU: s.InnerMTU, HeaderBytes: s.tcpHeaders() + tcpTimestamps,
			BaselineRTT: idle[0].RTT.Min,
		})
	}
	return trial, nil
}

// tcpGoodput is the payload of TCP, in bit/s, that inner packets of a rate carry, where
// they are as long as the tunnel and the MSS allow; zero: it has none of its own.
func (s *Session) tcpGoodput(innerBitsPerSecond float64, mss int) (float64, error) {
	headers, packet := s.tcpHeaders(), s.InnerMTU
	if mss > 0 {
		packet = min(packet, mss+headers) // An MSS counts options (RFC 6691).
	}
	path := analysis.TCPPath{InnerBitsPerSecond: innerBitsPerSecond, MTU: packet, HeaderBytes: headers + tcpTimestamps}
	goodput := path.GoodputBitsPerSecond()
	if goodput <= 0 {
		return 0, fmt.Errorf("packets of TCP have no room for payload: the tunnel's inner MTU is %d B", s.InnerMTU)
	}
	return goodput, nil
}

// tcpTimestamps are TCP's option of RFC 7323, in bytes; Linux has them unless it was told
// not to.
const tcpTimestamps = 12

// tcpHeaders is the length of the IP and TCP headers of an inner packet, without options.
func (s *Session) tcpHeaders() int {
	const udpHeader, tcpHeader = 8, 20
	return s.headers - udpHeader + tcpHeader
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
