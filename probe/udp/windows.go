package udp

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tunnelmark/probe"
)

// windows counts arrivals per probe.Window. It never grows: its room is for
// the longest that the trial can take.
type windows struct {
	list    []probe.WindowCount
	current int64 // Number of the window that list ends with.
	last    time.Duration
}

func newWindows(longest time.Duration) *windows {
	return &windows{list: make([]probe.WindowCount, 0, longest/probe.Window+1)}
}

// add counts a packet that arrived at, since the first one of the trial, with
// the delay. Times do not go back.
func (w *windows) add(at, delay time.Duration) {
	w.last = at
	if number := int64(at / probe.Window); len(w.list) == 0 || number != w.current && len(w.list) < cap(w.list) {
		w.begin(number, at, delay)
	}
	now := &w.list[len(w.list)-1]
	now.Packets++
	now.MinDelay = min(now.MinDelay, delay)
}

// begin starts a window with the packet that arrived at, which ends the one
// before.
func (w *windows) begin(number int64, at, delay time.Duration) {
	if n := len(w.list); n > 0 {
		w.list[n-1].End = at
	}
	w.current = number
	w.list = append(w.list, probe.WindowCount{Start: at, MinDelay: delay})
}

// result returns the windows, their delays less the least of the trial.
func (w *windows) result() []probe.WindowCount {
	if len(w.list) == 0 {
		return nil
	}
	w.list[len(w.list)-1].End = w.last
	least := w.list[0].MinDelay
	for _, c := range w.list {
		least = min(least, c.MinDelay)
	}
	for i := range w.list {
		w.list[i].MinDelay -= least
	}
	return w.list
}

// maxVariation is the largest delay variation that is told apart.
const maxVariation = 10 * time.Second

// variation collects |D(i) - D(i-1)| of packets of a flow that were sent one after
// the other and arrived so (RFC 3393, Section 2.6).
type variation struct {
	histogram *hdrhistogram.Histogram // In ns, 0.1 % exact.
	flow      int                     // Of the packet before.
	sequence  uint64
	delay     time.Duration
	any       bool
}

func newVariation() *variation {
	return &variation{histogram: hdrhistogram.New(1, int64(maxVariation), 3)}
}

func (v *variation) add(flow int, sequence uint64, delay time.Duration) {
	if v.any && flow == v.flow && sequence == v.sequence+1 {
		d := min((delay - v.delay).Abs(), maxVariation)
		_ = v.histogram.RecordValue(int64(d)) // Within the histogram's range.
	}
	v.flow, v.sequence, v.delay, v.any = flow, sequence, delay, true
}

func (v *variation) result() probe.Variation {
	return probe.Variation{
		P50: time.Duration(v.histogram.ValueAtQuantile(50)),
		P99: time.Duration(v.histogram.ValueAtQuantile(99)),
		Max: time.Duration(v.histogram.Max()),
	}
}
