package udp

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"

	"tunnelmark/probe"
)

// windows counts a lane's arrivals per probe.Window. It never grows: its room is
// for the longest that the trial can take.
type windows struct {
	list   []probe.WindowCount // Delays are by the trial's clock yet, not above the least.
	border time.Duration       // Where the window that list ends with is over.
	last   time.Duration
}

func newWindows(longest time.Duration) *windows {
	return &windows{list: make([]probe.WindowCount, 0, longest/probe.Window+1), border: math.MinInt64}
}

// add counts a packet that arrived at, by the trial's clock, with the delay. Times do
// not go back.
func (w *windows) add(at, delay time.Duration) {
	w.last = at
	if at >= w.border && len(w.list) < cap(w.list) {
		w.begin(at, delay)
	}
	now := &w.list[len(w.list)-1]
	now.Packets++
	now.MinDelay = min(now.MinDelay, delay)
}

// begin starts a window with the packet that arrived at, which ends the one
// before.
func (w *windows) begin(at, delay time.Duration) {
	if n := len(w.list); n > 0 {
		w.list[n-1].End = at
	}
	w.border = borderOf(at) + probe.Window
	w.list = append(w.list, probe.WindowCount{Start: at, MinDelay: delay})
}

// borderOf is where the window of what arrived at begins. What came to another lane
// a little before the packet that was read first belongs to the first window.
func borderOf(at time.Duration) time.Duration {
	return max(at, 0).Truncate(probe.Window)
}

// begun is when the first packet came, or otherwise, where none has.
func (w *windows) begun(otherwise time.Duration) time.Duration {
	if len(w.list) == 0 {
		return otherwise
	}
	return w.list[0].Start
}

// result returns the windows. Nothing can be added any more.
func (w *windows) result() []probe.WindowCount {
	if len(w.list) == 0 {
		return nil
	}
	w.list[len(w.list)-1].End = w.last
	return w.list
}

// joinWindows makes one list of the lanes' windows. Those of one lane stay as they
// are: each begins with a packet and ends with the next one's first. The packets of
// several lanes do not arrive at the same moments, so their windows begin at the
// borders, which all lanes share, and what a lane had received until then is read from
// a line through the beginnings of its own: right to within a burst of each lane,
// and not more wrong for the sum of many windows than for one.
func joinWindows(lanes [][]probe.WindowCount) []probe.WindowCount {
	lanes = slices.DeleteFunc(slices.Clone(lanes), func(l []probe.WindowCount) bool { return len(l) == 0 })
	if len(lanes) <= 1 {
		return slices.Concat(lanes...)
	}
	borders, last := bordersOf(lanes)
	lines := linesOf(lanes)
	var joined []probe.WindowCount
	var packets uint64 // In all windows joined so far.
	open := borders[0]
	for i, b := range borders {
		open.End, open.MinDelay = last, min(open.MinDelay, b.MinDelay)
		if i+1 < len(borders) {
			open.End = borders[i+1].Start
		}
		p := untilOf(lines, open.End)
		if p == packets {
			continue // Not a whole packet: the next one's window begins here.
		}
		open.Packets = p - packets
		joined, packets = append(joined, open), p
		open = probe.WindowCount{Start: open.End, MinDelay: math.MaxInt64}
	}
	joined[len(joined)-1].End = last
	return joined
}

// bordersOf are the windows that any lane has begun, with the least delay in each
// and nothing counted, and when the last packet came. The first begins with the
// first packet.
func bordersOf(lanes [][]probe.WindowCount) (borders []probe.WindowCount, last time.Duration) {
	all := slices.Concat(lanes...)
	slices.SortFunc(all, func(a, b probe.WindowCount) int { return cmp.Compare(a.Start, b.Start) })
	for _, w := range all {
		last = max(last, w.End)
		start := borderOf(w.Start)
		if n := len(borders); n > 0 && borders[n-1].Start == start {
			borders[n-1].MinDelay = min(borders[n-1].MinDelay, w.MinDelay)
			continue
		}
		borders = append(borders, probe.WindowCount{Start: start, MinDelay: w.MinDelay})
	}
	borders[0].Start = all[0].Start
	return borders, last
}

// line is how a lane's count grew: evenly within each window.
type line struct {
	windows []probe.WindowCount
	packets []uint64 // Before each window.
}

func linesOf(lanes [][]probe.WindowCount) []line {
	lines := make([]line, len(lanes))
	for i, l := range lanes {
		lines[i] = line{windows: l, packets: make([]uint64, len(l))}
		for j, w := range l[:max(len(l), 1)-1] {
			lines[i].packets[j+1] = lines[i].packets[j] + w.Packets
		}
	}
	return lines
}

// until is what the lane had received at a time.
func (l line) until(at time.Duration) (packets float64) {
	i := sort.Search(len(l.windows), func(i int) bool { return l.windows[i].Start > at }) - 1
	if i < 0 {
		return 0
	}
	w, share := l.windows[i], 1.0
	if at < w.End {
		share = float64(at-w.Start) / float64(w.End-w.Start)
	}
	return float64(l.packets[i]) + share*float64(w.Packets)
}

// untilOf is the sum of what the lanes had received, rounded.
func untilOf(lines []line, at time.Duration) (packets uint64) {
	var sum float64
	for _, l := range lines {
		sum += l.until(at)
	}
	return uint64(math.Round(sum))
}
