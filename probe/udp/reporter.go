package udp

import (
	"time"

	"tunnelmark/probe"
)

// reporter calls a progress function from a goroutine of its own, so that a
// slow one (its connection may share the path under test) holds neither the
// load nor the count nor the feedback. What is due while it is busy is left out.
type reporter struct{ closing, done chan struct{} }

// report calls f, which may be nil, at multiples of every from now on, with what
// standing returns. It calls both from the reporter's goroutine, which ends when
// the caller closes the reporter.
func report(f func(probe.Progress), every time.Duration, standing func() probe.Progress) *reporter {
	r := &reporter{closing: make(chan struct{}), done: make(chan struct{})}
	if f == nil {
		close(r.done)
		return r
	}
	ticker := time.NewTicker(every) // Now: the goroutine may begin late.
	go func() {
		defer close(r.done)
		defer ticker.Stop()
		for r.wait(ticker) {
			f(standing())
		}
	}()
	return r
}

// wait returns at the next multiple, or false when there is none to come.
func (r *reporter) wait(ticker *time.Ticker) bool {
	select {
	case <-ticker.C:
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
