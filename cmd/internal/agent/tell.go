package agent

import (
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/probe"
	"tunnelmark/probe/tcp"
)

// teller tells a controller how its load stands. One that does not read holds
// neither the load nor its end: what it is late for is left out.
type teller struct {
	every     time.Duration // Between two intervals; zero: none is told.
	intervals chan *controlv1.Interval
	done      chan struct{}
	failed    error
}

const (
	// waiting is how many intervals may wait for a slow controller.
	waiting = 16
	// leastEvery is how often intervals are told at most.
	leastEvery = 100 * time.Millisecond
	// leastTold is what is left of a load after its last whole interval that is worth an
	// interval of its own.
	leastTold = 10 * time.Millisecond
)

// newTeller writes to the stream until it is closed; nobody else may meanwhile.
func newTeller(stream *connect.ServerStream[controlv1.SendResponse], every time.Duration) *teller {
	if every > 0 {
		every = max(every, leastEvery)
	}
	t := &teller{every: max(0, every), intervals: make(chan *controlv1.Interval, waiting), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		for interval := range t.intervals {
			if t.failed == nil { // A stream that is broken stays so.
				t.failed = stream.Send(&controlv1.SendResponse{Event: &controlv1.SendResponse_Interval{Interval: interval}})
			}
		}
	}()
	return t
}

func (t *teller) tell(interval *controlv1.Interval) {
	if t.every == 0 {
		return
	}
	select {
	case t.intervals <- interval:
	default:
	}
}

// close returns when all is written, or cannot be.
func (t *teller) close() error {
	close(t.intervals)
	<-t.done
	return t.failed
}

// udp makes intervals of the progress of a load, whose packets have headers of so
// many bytes before their payload.
func (t *teller) udp(headers int) func(probe.Progress) {
	var last probe.Progress
	var goodput uint64
	return func(p probe.Progress) {
		if p.Elapsed-last.Elapsed < leastTold {
			return
		}
		// While the load runs, packets may be counted already whose bytes are not yet;
		// and what counted as lost may come late. Neither goes back.
		told := max(goodput, p.SentInnerBytes-min(p.SentInnerBytes, p.Sent*uint64(headers)))
		p.Lost = max(p.Lost, last.Lost)
		t.tell(&controlv1.Interval{
			StartNs: int64(last.Elapsed), EndNs: int64(p.Elapsed),
			GoodputBytes: told - goodput, Packets: p.Sent - last.Sent, Lost: p.Lost - last.Lost,
		})
		last, goodput = p, told
	}
}

// mostSample is the longest time between two samples of a load of TCP.
const mostSample = time.Second

// sampleEvery is how often a load of TCP is sampled: a whole number of times in each
// interval.
func (t *teller) sampleEvery() time.Duration {
	samples := (t.every + mostSample - 1) / mostSample
	return t.every / max(1, samples)
}

// tcp makes intervals of the samples of a load, each when its last one is seen; rest
// makes one of what is left when all have been.
func (t *teller) tcp() (see func(tcp.Sample), rest func([]tcp.Sample)) {
	var last tcp.Sample
	tell := func(s tcp.Sample) {
		t.tell(&controlv1.Interval{
			StartNs: int64(last.Elapsed), EndNs: int64(s.Elapsed),
			GoodputBytes: s.GoodputBytes - last.GoodputBytes, Retransmits: s.Retransmits - last.Retransmits,
			Cwnd: s.CwndBytes, RttNs: int64(s.MeanRTT),
		})
		last = s
	}
	see = func(s tcp.Sample) {
		if s.Elapsed-last.Elapsed > t.every-t.sampleEvery()/2 {
			tell(s)
		}
	}
	rest = func(all []tcp.Sample) {
		if n := len(all); n > 0 && all[n-1].Elapsed-last.Elapsed >= leastTold {
			tell(all[n-1])
		}
	}
	return see, rest
}
