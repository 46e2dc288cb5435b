package tcp

// reporter calls a progress function from a goroutine of its own, so that a
// slow one (its connection may share the path under test) does not hold the
// feedback. What comes while it is busy is left out.
type reporter struct {
	waiting chan Sample
	done    chan struct{}
}

// newReporter reports to f, which may be nil. The caller must close it.
func newReporter(f func(Sample)) *reporter {
	r := &reporter{waiting: make(chan Sample, 1), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for s := range r.waiting {
			if f != nil {
				f(s)
			}
		}
	}()
	return r
}

func (r *reporter) tell(s Sample) {
	select {
	case r.waiting <- s:
	default:
	}
}

// close returns when f has been called for the last time.
func (r *reporter) close() {
	close(r.waiting)
	<-r.done
}
