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
	intervals chan *controlv1.Interval
	done      chan struct{}
	failed    error
}

// waiting is how many intervals may wait for a slow controller.
const waiting = 16

// newTeller writes to the stream until it is closed; nobody else may meanwhile.
func newTeller(stream *connect.ServerStream[controlv1.SendResponse]) *teller {
	t := &teller{intervals: make(chan *controlv1.Interval, waiting), done: make(chan struct{})}
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

// leastTold is what is left of a load after its last whole interval that is worth an
// interval of its own.
const leastTold = 10 * time.Millisecond

// udp makes intervals of the progress of a load, whose packets have headers of so
// many bytes before their payload.
func (t *teller) udp(headers int) func(probe.Progress) {
	var last probe.Progress
	return func(p probe.Progress) {
		if p.Elapsed-last.Elapsed < leastTold {
			return
		}
		packets := p.Sent - last.Sent
		t.tell(&controlv1.Interval{
			StartNs: int64(last.Elapsed), EndNs: int64(p.Elapsed),
			GoodputBytes: p.SentInnerBytes - last.SentInnerBytes - packets*uint64(headers),
			Packets:      packets, Lost: p.Lost - min(p.Lost, last.Lost),
		})
		last = p
	}
}

// tcp makes intervals of the samples of a load.
func (t *teller) tcp() func(tcp.Sample) {
	var last tcp.Sample
	return func(s tcp.Sample) {
		t.tell(&controlv1.Interval{
			StartNs: int64(last.Elapsed), EndNs: int64(s.Elapsed),
			GoodputBytes: s.GoodputBytes - last.GoodputBytes, Retransmits: s.Retransmits - last.Retransmits,
			Cwnd: s.CwndBytes, RttNs: int64(s.MeanRTT),
		})
		last = s
	}
}

// every is how often progress is told: as asked, within reason.
func every(interval int64) time.Duration {
	const least = 100 * time.Millisecond
	return max(time.Duration(interval), least)
}
