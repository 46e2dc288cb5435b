package pmtu

import (
	"fmt"
	"math"
	"time"
)

// tries is after how many a size counts as lost. Where each of two datagrams is lost
// by chance with 5 %, one try fails with 10 %, four with 0.01 %, and what finder
// wants to see twice is wrong with 0.000001 %.
const tries = 4

// What the tries of a size wait for beside the round trip. The first waits alone,
// since most often it is enough; the others follow one another, but not so closely
// that one full queue loses them all.
const (
	firstWait = 15 * time.Millisecond
	tryEvery  = 15 * time.Millisecond
	lastWait  = 50 * time.Millisecond
	mostRTT   = time.Second
)

// never is later than any time of a search.
const never = time.Duration(math.MaxInt64)

// way is the search in one direction. It does not know how a size is sent.
type way struct {
	finder *finder
	// send sends a datagram of a size, or has it sent. Where the own interface
	// takes no more than so many bytes, it returns those instead.
	send func(size int, sequence uint64) (limit int, err error)

	size, tries int                // What is tried now, zero where nothing is, and how often it was.
	first       uint64             // Sequence number of the first try.
	last, due   time.Duration      // When the last try was made, and when more is to be done.
	attempts    map[uint64]attempt // By sequence number: late answers count, too.
	rtt         time.Duration      // The longest seen.
	local       int                // What the sender's own interface takes.
	fragmented  int                // The least size that came in fragments, of
	fragment    int                // so many bytes at most.
	settled     bool               // Nothing is left to try.
	elapsed     time.Duration      // When that was.
}

// attempt is one datagram that tried a size.
type attempt struct {
	size int
	at   time.Duration
}

func newWay(o Options, rtt time.Duration, send func(int, uint64) (int, error)) *way {
	return &way{finder: newFinder(o), send: send, rtt: bounded(rtt), attempts: make(map[uint64]attempt)}
}

// advance does what is due, and says when more will be: never once all is done. heard is
// when the peer last was: a size counts as lost only where the peer was heard after its
// last try, so that no dead peer is taken for a black hole.
func (w *way) advance(now, heard time.Duration, sequence func() uint64) (time.Duration, error) {
	for {
		switch {
		case w.size == 0 && !w.begin(now):
			return never, nil
		case now < w.due:
			return w.due, nil
		case w.tries == tries && heard <= w.last:
			return now + lastWait, nil
		case w.tries == tries:
			w.conclude(false)
		default:
			if err := w.try(now, sequence()); err != nil {
				return never, err
			}
		}
	}
}

// begin takes the next size; it says whether there is one.
func (w *way) begin(now time.Duration) bool {
	size, more := w.finder.next()
	if !more || len(w.attempts) >= mostSent {
		if w.elapsed == 0 {
			w.elapsed = now
		}
		w.settled = !more
		return false
	}
	w.size, w.tries, w.due, w.elapsed = size, 0, now, 0
	return true
}

// conclude takes down what became of the size that was tried.
func (w *way) conclude(passed bool) {
	w.finder.note(w.size, passed)
	w.size = 0
}

func (w *way) try(now time.Duration, sequence uint64) error {
	limit, err := w.send(w.size, sequence)
	if err != nil {
		return fmt.Errorf("try a packet of %d B: %w", w.size, err)
	}
	if limit > 0 {
		w.refused(limit)
		return nil
	}
	if w.tries == 0 {
		w.first = sequence
	}
	w.tries++
	w.attempts[sequence] = attempt{size: w.size, at: now}
	w.last, w.due = now, now+w.wait()
	return nil
}

// wait is from the try that was just made to the next, or to giving the size up.
func (w *way) wait() time.Duration {
	switch w.tries {
	case 1:
		return w.rtt*5/4 + firstWait
	case tries:
		return w.rtt*3/2 + lastWait
	}
	return tryEvery
}

// toldRefused takes the peer's word that its interface refused what this try asked
// it for.
func (w *way) toldRefused(sequence uint64, limit int) {
	if w.attempts[sequence].size == w.size && w.size > 0 && sequence >= w.first {
		w.refused(limit)
	}
}

// refused says that the sender's interface takes no more than limit. Where that is no
// reason to refuse the size that is tried, that size counts as lost.
func (w *way) refused(limit int) {
	if limit <= 0 || limit >= w.size {
		w.conclude(false)
		return
	}
	w.local, w.size = limit, 0
	w.finder.limit(limit)
}

// passed takes the answer to a try: the size that came, and the longest fragment that
// it came in, if any. A late one still counts where the size was given up; of two that
// answer one round, the second does not.
func (w *way) passed(sequence uint64, size, fragment int, now time.Duration) {
	a, known := w.attempts[sequence]
	if !known || a.size != size {
		return
	}
	w.rtt = bounded(max(w.rtt, now-a.at))
	if fragment > 0 && (w.fragmented == 0 || size < w.fragmented) {
		w.fragmented, w.fragment = size, fragment
	}
	switch o := w.finder.sizes[size]; {
	case size == w.size && sequence >= w.first:
		w.conclude(true)
	case o.times > 0 && !o.passed:
		w.finder.note(size, true)
	}
}

func bounded(rtt time.Duration) time.Duration { return min(max(rtt, 0), mostRTT) }

// result is what the way found.
func (w *way) result() Direction {
	d := Direction{LocalMTU: w.local, Settled: w.settled, Sent: len(w.attempts), Elapsed: w.elapsed}
	d.FragmentedFrom, d.FragmentSize = w.fragmented, w.fragment
	d.InnerSize, d.LostFrom, d.PassedAbove = w.finder.result()
	return d
}
