package udp

import (
	"fmt"
	"sync/atomic"
	"time"

	"tunnelmark/probe"
)

const (
	// aheadFor is for how long sockets are open before their flows begin: longer
	// than a busy host keeps the goroutine that opens them waiting.
	aheadFor = 50 * time.Millisecond
	// visitEvery is how often that goroutine looks whether some were taken.
	visitEvery = 10 * time.Millisecond
	// renewalLate is how much later than due a flow may begin.
	renewalLate = time.Second
)

// renewal begins a lane's new flows in the place of the oldest ones, evenly spaced
// in time. A goroutine of its own opens their sockets beforehand and closes those
// of flows that have ended. The pacing thread only exchanges them: it never waits,
// and never wakes that goroutine, which costs a system call.
type renewal struct {
	open  func() (*plain, error)
	every time.Duration
	// fresh are sockets for the next flows, retired those of flows that ended.
	fresh, retired chan *plain
	failed         atomic.Pointer[error] // Why fresh sockets have run out.

	due    time.Duration // When the next flow begins.
	oldest int           // In the lane's flows.
}

// newRenewal begins flows in the lane, in turns with the other lanes.
func newRenewal(open func() (*plain, error), load probe.Load, lane int) *renewal {
	all := float64(time.Second) / load.NewFlowsPerSecond // Between new flows of any lane.
	every := atMost(all * float64(load.LaneCount()))
	ahead := 2 + int(aheadFor/every)
	return &renewal{
		open: open, every: every, due: atMost(all * float64(lane+1)), oldest: 1,
		fresh: make(chan *plain, ahead), retired: make(chan *plain, ahead),
	}
}

// atMost is so many nanoseconds, or where those are more than any load lasts a time
// that is beyond all of them.
func atMost(nanoseconds float64) time.Duration {
	return time.Duration(min(nanoseconds, float64(2*probe.MaxDuration)))
}

// exchange gives a fresh socket to each of flows whose time has come at now, since
// the load began. The first flow stays.
func (r *renewal) exchange(flows []flow, now time.Duration) error {
	for ; now >= r.due && len(r.retired) < cap(r.retired); r.due += r.every {
		select {
		case s := <-r.fresh:
			r.retired <- flows[r.oldest].conn
			flows[r.oldest].conn = s
			r.oldest = max(1, (r.oldest+1)%len(flows))
		default:
			return r.late(now)
		}
	}
	return r.late(now)
}

// late is an error where a flow cannot begin any more, or is far too late.
func (r *renewal) late(now time.Duration) error {
	if err := r.failed.Load(); err != nil {
		return *err
	}
	if now-r.due > renewalLate {
		return fmt.Errorf("begin new flows: this host does not open one every %v: ask for fewer", r.every)
	}
	return nil
}

// serve opens and closes sockets until stop is called.
func (r *renewal) serve() (stop func()) {
	closing, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(visitEvery)
		defer ticker.Stop()
		for r.visit() {
			select {
			case <-ticker.C:
			case <-closing:
				return
			}
		}
	}()
	return func() {
		close(closing)
		<-done
	}
}

// visit closes what was retired and opens what was taken. It says whether more can
// be opened.
func (r *renewal) visit() bool {
	r.closeAll(r.retired)
	if err := r.fill(); err != nil {
		r.failed.Store(&err)
		return false
	}
	return true
}

// fill opens sockets until all are there that are kept.
func (r *renewal) fill() error {
	for len(r.fresh) < cap(r.fresh) {
		s, err := r.open()
		if err != nil {
			return fmt.Errorf("begin new flows: %w", err)
		}
		r.fresh <- s
	}
	return nil
}

// close closes the sockets that no flow has. Nothing else may use r any more.
func (r *renewal) close() {
	r.closeAll(r.fresh)
	r.closeAll(r.retired)
}

func (r *renewal) closeAll(sockets chan *plain) {
	for {
		select {
		case s := <-sockets:
			_ = s.Close()
		default:
			return
		}
	}
}
