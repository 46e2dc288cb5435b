package udp

import (
	"math"
	"time"

	"tunnelmark/probe"
)

const (
	// paceWindow is how long each window is in which the pace is judged.
	paceWindow = 100 * time.Millisecond
	// paceTolerance is how far a window's rate may be off, or paceBursts where
	// those are more.
	paceTolerance = 0.01
	paceBursts    = 2
)

// evenness judges how even a load leaves, window by window, as it leaves. It
// holds no more than the window in hand.
type evenness struct {
	expected float64 // Bytes in a window.
	allowed  float64 // How many more or less they may be.

	number  int64 // Of the window in hand.
	bytes   float64
	windows int
	within  int
	worst   float64 // In bytes.
}

// newEvenness expects a load of bytesPerSecond in bursts of so many bytes.
func newEvenness(bytesPerSecond, burst float64) *evenness {
	expected := bytesPerSecond * paceWindow.Seconds()
	return &evenness{expected: expected, allowed: max(expected*paceTolerance, burst*paceBursts)}
}

// add counts what left at, since the load began, of the time on the CPU. Times do
// not go back.
func (e *evenness) add(at time.Duration, bytes uint64) {
	if number := int64(at / paceWindow); number > e.number {
		e.judge(e.bytes, 1)
		e.judge(0, int(number-e.number-1)) // Those in which nothing left.
		e.number, e.bytes = number, 0
	}
	e.bytes += float64(bytes)
}

// judge takes so many windows with so many bytes each.
func (e *evenness) judge(bytes float64, windows int) {
	if windows == 0 {
		return
	}
	off := math.Abs(bytes - e.expected)
	e.windows += windows
	if off <= e.allowed {
		e.within += windows
	}
	e.worst = max(e.worst, off)
}

// paceOf sums up lanes, each of which is held to its own share of the load. A
// lane's last window is not complete and does not count.
func paceOf(lanes []*lane) probe.Pace {
	var p probe.Pace
	within := 0
	for _, l := range lanes {
		e := l.out.pace
		p.Windows += e.windows
		p.Worst = max(p.Worst, e.worst/e.expected)
		within += e.within
	}
	if p.Windows > 0 {
		p.Within = float64(within) / float64(p.Windows)
	}
	return p
}
