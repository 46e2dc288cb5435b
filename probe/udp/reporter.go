package udp

import (
	"time"

	"tunnelmark/probe"
)

// reporter calls a progress function from a goroutine of its own, so that a
// slow one (its connection may share the path under test) holds neither the
// load nor the count nor the feedback. What is due while it is busy is left out.
type reporter struct {
	begin         time.Time
	every         time.Duration
	closing, done chan struct{}
}

// report calls f, which may be nil, at multiples of every since begin, with what
// standing returns. It calls both from the reporter's goroutine, which ends when
// the caller closes the reporter.
func report(begin time.Time, f func(probe.Progress), every time.Duration, standing func() probe.Progress) *reporter {
	r := &reporter{begin: begin, every: every, closing: make(chan struct{}), done: make(chan struct{})}
	if f == nil {
		close(r.done)
		return r
	}
	go func() {
		defer close(r.done)
		for r.wait() {
			f(standing())
		}
	}()
	return r
}

// wait returns at the next multiple, or false when there is none to come.
func (r *reporter) wait() bool {
	passed := max(0, time.Since(r.begin)/r.every)
	timer := time.NewTimer(time.Until(r.begin.Add((passed + 1) * r.every)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.closing:
		return false
	}
}

// close returns when f has been called for the last time.
func (r *reporter) close() {
	close(r.closing)
	<-r.done
}
