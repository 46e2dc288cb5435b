package udp

import "tunnelmark/probe"

// reporter calls a progress function from a goroutine of its own, so that a
// slow one (its connection may share the path under test) holds neither the
// count nor the feedback. What comes while it is busy is left out.
type reporter struct {
	waiting chan probe.Progress
	done    chan struct{}
}

// newReporter reports to f, which may be nil. The caller must close it.
func newReporter(f func(probe.Progress)) *reporter {
	r := &reporter{waiting: make(chan probe.Progress, 1), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for p := range r.waiting {
			if f != nil {
				f(p)
			}
		}
	}()
	return r
}

func (r *reporter) tell(p probe.Progress) {
	select {
	case r.waiting <- p:
	default:
	}
}

// close returns when f has been called for the last time.
func (r *reporter) close() {
	close(r.waiting)
	<-r.done
}
