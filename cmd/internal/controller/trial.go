package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
)

// trialMargin is how much longer than its load a trial may take before an agent
// that does not answer is given up: a frozen one keeps its connection open.
const trialMargin = 30 * time.Second

// Trial offers one load of packets of innerSize bytes and returns what both
// ends counted. Trials of a session run one after another.
func (s *Session) Trial(ctx context.Context, load analysis.Load, innerSize int) (analysis.Trial, error) {
	return s.guarded(ctx, load, innerSize, Watch{})
}

// guarded is Trial with a latency probe beside the load, where one is wanted, and
// conditions that end it.
func (s *Session) guarded(ctx context.Context, load analysis.Load, innerSize int, watch Watch) (analysis.Trial, error) {
	if err := sleep(ctx, load.Idle); err != nil {
		return analysis.Trial{}, err
	}
	if load.Flows == 0 {
		load.Flows = s.flows()
	}
	load.InnerSizes = []int{innerSize}
	return s.udp(ctx, order{work: &controlv1.Work{}, watch: watch}, load)
}

// udp gives an order for a UDP load, and returns what both ends counted.
func (s *Session) udp(ctx context.Context, o order, load analysis.Load) (analysis.Trial, error) {
	o.work.Udp, o.work.Latency = loadTo(load), o.watch.probe(load.Duration, slices.Max(load.InnerSizes))
	done, err := s.carry(ctx, o, load.Duration)
	if err != nil {
		return analysis.Trial{}, err
	}
	s.count(done)
	return trialFrom(load, s.outerLength, done), nil
}

// flows is how many five-tuples a load has where nobody says: one, unless several
// tunnels are to share it.
func (s *Session) flows() int {
	const each = 4
	if s.Spec.Tunnels < 2 {
		return 1
	}
	return each * s.Spec.Tunnels
}

// count adds up what arrived, and what each of several tunnels carried.
func (s *Session) count(d done) {
	s.received.Add(d.received.GetUdp().GetPackets())
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, out := range d.sent.GetTunnels() {
		if i == len(s.carried) {
			s.carried = append(s.carried, report.TunnelCount{Number: i})
		}
		s.carried[i].SentPackets += out.GetOutPackets()
		s.carried[i].SentInnerBytes += out.GetOutInnerBytes()
	}
	for i, in := range d.received.GetTunnels()[:min(len(d.received.GetTunnels()), len(s.carried))] {
		s.carried[i].ReceivedPackets += in.GetInPackets()
		s.carried[i].ReceivedInnerBytes += in.GetInInnerBytes()
	}
}

// Watch is what looks after a load: a latency probe of its own, few small packets,
// and the conditions under which it ends the load.
type Watch struct {
	// Every is the time between two of the probe's packets; zero: no probe.
	Every time.Duration
	// StopIf are conditions such as "rtt>30ms" or "loss>1%".
	StopIf []string
}

// probe is the one beside a load that lasts so long, of packets of so many bytes.
// Where loss is to stop the load its packets are as long as the load's: a policer
// that drops those lets small ones pass.
func (w Watch) probe(length time.Duration, innerSize int) *controlv1.LatencyProbe {
	if w.Every == 0 {
		return nil
	}
	probe := &controlv1.LatencyProbe{EveryNs: int64(w.Every), DurationNs: int64(min(length+watchMargin, mostWatched))}
	if slices.ContainsFunc(w.StopIf, func(condition string) bool { return strings.Contains(condition, "loss") }) {
		probe.InnerSize = uint32(innerSize)
	}
	return probe
}

// innerBitsPerSecond is the probe's rate beside packets of so many bytes.
func (w Watch) innerBitsPerSecond(innerSize int) float64 {
	probe := w.probe(0, innerSize)
	if probe == nil {
		return 0
	}
	const ordinary = 128 // Bytes, where the agent is told none.
	return float64(cmp.Or(probe.GetInnerSize(), ordinary)) * 8 / w.Every.Seconds()
}

const (
	// watchMargin is how much longer than its load a probe may last, mostWatched how
	// long at most.
	watchMargin = 10 * time.Second
	mostWatched = 10 * time.Minute
)

// order is one trial: both ends are told the same work, and each does its half.
type order struct {
	work *controlv1.Work
	// reverse: To sends. Where both directions are loaded at once, its work goes back.
	reverse bool
	watch   Watch
	// interval is how often tell hears how the load stands; zero: never.
	interval time.Duration
	tell     func(analysis.Interval)
}

// done is what both ends say of an order.
type done struct {
	reverse  bool
	sent     *controlv1.SendResult
	received *controlv1.ReceiveResult
}

// carry has the receiver listen and then the sender send, and waits for both.
func (s *Session) carry(ctx context.Context, o order, length time.Duration) (d done, err error) {
	ctx, cancel := context.WithTimeout(ctx, length+trialMargin)
	defer cancel()
	from, to := s.From, s.To
	if o.reverse {
		from, to = to, from
	}
	d.reverse = o.reverse
	number := atomic.AddUint32(&s.trials, 1)
	ready := make(chan struct{})
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		d.received, err = s.receive(ctx, to, &controlv1.ReceiveRequest{SessionId: s.id, Trial: number, Work: o.work}, ready)
		return err
	})
	both.Go(func() (err error) {
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		request := &controlv1.SendRequest{
			SessionId: s.id, Trial: number, Work: o.work, IntervalNs: int64(o.interval), StopIf: o.watch.StopIf,
		}
		d.sent, err = s.send(ctx, from, request, o)
		return err
	})
	err = both.Wait()
	if err == nil && o.work.GetLatency() != nil && d.sent.GetLatency() == nil {
		err = fmt.Errorf("%s: it measured no latency", from.Name)
	}
	return d, err
}

// send runs the sender's half.
func (s *Session) send(ctx context.Context, from End, request *controlv1.SendRequest, o order) (*controlv1.SendResult, error) {
	stream, err := from.Agent.Send(ctx, request)
	if err != nil {
		return nil, control.Explain(from.Name, err)
	}
	defer func() { _ = stream.Close() }() // The result, or its absence, has been told.
	for {
		message, err := next(stream)
		if err != nil {
			return nil, control.Explain(from.Name, err)
		}
		if result := message.GetResult(); result != nil {
			return result, control.Explain(from.Name, checkRatios(result.GetHost(), result.GetUdp().GetPace()))
		}
		if interval := message.GetInterval(); interval != nil && o.tell != nil {
			o.tell(intervalFrom(interval, o.reverse))
		}
	}
}

// receive runs the receiver's half until its result, and closes ready once the
// receiver listens.
func (s *Session) receive(ctx context.Context, to End, request *controlv1.ReceiveRequest, ready chan<- struct{}) (*controlv1.ReceiveResult, error) {
	stream, err := to.Agent.Receive(ctx, request)
	if err != nil {
		return nil, control.Explain(to.Name, err)
	}
	defer func() { _ = stream.Close() }() // The result, or its absence, has been told.
	armed, err := next(stream)
	if err == nil && armed.GetReady() == nil {
		err = errors.New("it counted before it was ready")
	}
	if err != nil {
		return nil, control.Explain(to.Name, err)
	}
	close(ready)
	last, err := next(stream)
	if err == nil && last.GetResult() == nil {
		err = errNoResult
	}
	if err == nil {
		err = checkRatios(last.GetResult().GetHost(), nil)
	}
	if err != nil {
		return nil, control.Explain(to.Name, err)
	}
	return last.GetResult(), nil
}

var errNoResult = errors.New("it ended the trial without a result")

// next is the next message of a stream that must have one.
func next[Message any](stream *connect.ServerStreamForClient[Message]) (*Message, error) {
	if stream.Receive() {
		return stream.Msg(), nil
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return nil, errNoResult
}

// Idle measures the latency of the path without load.
func (s *Session) Idle(ctx context.Context, every, length time.Duration) (analysis.Latency, error) {
	probe := &controlv1.LatencyProbe{EveryNs: int64(every), DurationNs: int64(length)}
	done, err := s.carry(ctx, order{work: &controlv1.Work{Latency: probe}}, length)
	if err != nil {
		return analysis.Latency{}, fmt.Errorf("measure the latency without load: %w", err)
	}
	return *latencyFrom(done.sent.GetLatency()), nil
}
