package udp

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
)

// Open opens a socket that is connected to the receiver's port of the lane, from
// a source port not used before. Several goroutines may call it at once.
type Open func(lane int) (*net.UDPConn, error)

// lead is by how much the load begins later than all lanes are ready, so that
// each thread is there in time.
const lead = time.Millisecond

// Send offers the load to the peer that open connects to, where Receive must be
// waiting or come soon. It returns when the peer has confirmed the end, and
// closes every socket that it opened.
//
//  1. It opens a socket for each flow.
//  2. Every lane says hello (lane.go), all at the same time.
//  3. Every lane sends its share (pace.go), all from the same moment on, and
//     then says that it is over.
//  4. What the lanes sent is summed up.
//
// progress, if not nil, is called every Trial.ProgressEvery from another
// goroutine, but never after Send has returned.
//
// Before the peer's hello in every lane, errors mean that no load was sent:
// probe.ErrNoHello when one did not come. Later ones come with what was sent
// until then: probe.ErrPeerSilent when the peer was heard no more, or ctx's error.
func Send(ctx context.Context, open Open, trial Trial, load probe.Load, progress func(probe.Progress)) (probe.Sent, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &sender{load: load, cancel: cancel}
	defer s.close()
	if err := s.open(ctx, open, trial); err != nil {
		return probe.Sent{}, err
	}
	release := sockets.InterruptOn(ctx, s.first()...)
	defer release()
	if err := s.each(func(l *lane) error { return l.greet(ctx) }); err != nil {
		return probe.Sent{}, err
	}
	start := s.clock.Now() + lead
	reporter := report(s.clock.when(start), progress, trial.progressEvery(), func() probe.Progress { return s.standing(start) })
	defer reporter.close()
	err := s.each(func(l *lane) error { return l.run(ctx, start) })
	return s.sum(), err
}

// sender is the sending end of one trial.
type sender struct {
	load   probe.Load
	clock  *machineClock
	cancel context.CancelFunc // Ends all lanes.
	lanes  []*lane
}

// open opens all flows, the first of each lane first: what is wrong with the load
// is told before thousands are open.
func (s *sender) open(ctx context.Context, open Open, trial Trial) (err error) {
	if s.clock, err = newMachineClock(); err != nil {
		return err
	}
	for number := range s.load.LaneCount() {
		l := &lane{number: number, open: open, trial: trial, shared: s.load, clock: s.clock}
		s.lanes = append(s.lanes, l)
		if err := l.openFirst(); err != nil {
			return err
		}
	}
	for _, l := range s.lanes {
		if err := l.openRest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// first is the first flow's socket of each lane.
func (s *sender) first() (conns []*plain) {
	for _, l := range s.lanes {
		conns = append(conns, l.flows[0].conn)
	}
	return conns
}

// each runs a step in every lane at the same time. The first that fails ends the
// others, and its error is returned.
func (s *sender) each(step func(*lane) error) error {
	var all sync.WaitGroup
	var once sync.Once
	var first error
	for _, l := range s.lanes {
		all.Go(func() {
			if err := step(l); err != nil {
				once.Do(func() { first = s.inLane(l, err) })
				s.cancel()
			}
		})
	}
	all.Wait()
	return first
}

// inLane says which of several lanes an error is of.
func (s *sender) inLane(l *lane, err error) error {
	if len(s.lanes) == 1 {
		return err
	}
	return fmt.Errorf("lane %d of %d, from %s: %w", l.number+1, len(s.lanes), l.flows[0].conn.local, err)
}

// standing is how far all lanes have come.
func (s *sender) standing(start time.Duration) probe.Progress {
	p := probe.Progress{Elapsed: s.clock.Now() - start}
	for _, l := range s.lanes {
		told := l.feedback.told.Load()
		p.Sent += l.out.packets.Load()
		p.SentInnerBytes += l.out.innerBytes.Load()
		p.Received += told.Received
		p.Lost += told.Lost
	}
	return p
}

// sum is what all lanes have sent.
func (s *sender) sum() probe.Sent {
	sum := probe.Sent{PerFlow: make([]probe.FlowSent, s.load.FlowCount()), Pace: paceOf(s.lanes)}
	lanes := time.Duration(len(s.lanes))
	for _, l := range s.lanes {
		sent := l.result()
		sum.Packets += sent.Packets
		sum.InnerBytes += sent.InnerBytes
		sum.Refused += sent.Refused
		sum.Elapsed += sent.Elapsed / lanes
		sum.Skipped += sent.Skipped / lanes
		sum.Burst = sent.Burst // The same in all.
		sum.Segmented = sum.Segmented || sent.Segmented
		sum.HelloRTT = max(sum.HelloRTT, sent.HelloRTT)
		for _, f := range l.flows {
			sum.PerFlow[f.number] = probe.FlowSent{Port: f.port(), Packets: f.next}
		}
	}
	return sum
}

func (s *sender) close() {
	for _, l := range s.lanes {
		l.close()
	}
}
