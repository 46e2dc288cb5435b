package udp

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// total is what a tracker has counted.
type total struct{ Packets, Duplicated, Reordered, MaxExtent, Prefix uint64 }

func totalOf(t *tracker) total {
	return total{t.packets, t.duplicated, t.reordered, t.maxExtent, t.prefix}
}

func TestTracker(t *testing.T) {
	const far = seenOfLane
	for _, tt := range []struct {
		name      string
		sequences []uint64
		want      total
	}{
		{"nothing", nil, total{}},
		{"in order", []uint64{0, 1, 2}, total{Packets: 3, Prefix: 3}},
		{"first lost", []uint64{1, 2}, total{Packets: 2}},
		{"one lost", []uint64{0, 1, 3}, total{Packets: 3, Prefix: 2}},
		{"duplicate", []uint64{0, 1, 1, 0, 2}, total{Packets: 3, Duplicated: 2, Prefix: 3}},
		{"late", []uint64{0, 2, 3, 1, 4}, total{Packets: 5, Reordered: 1, MaxExtent: 2, Prefix: 5}},
		{"late and again", []uint64{0, 2, 1, 1}, total{Packets: 3, Reordered: 1, Duplicated: 1, MaxExtent: 1, Prefix: 3}},
		{"duplicates do not add to the extent", []uint64{0, 2, 2, 2, 1}, total{Packets: 3, Reordered: 1, Duplicated: 2, MaxExtent: 1, Prefix: 3}},
		{"late in a gap that is filled in part", []uint64{0, 4, 5, 2, 1}, total{Packets: 5, Reordered: 2, MaxExtent: 3, Prefix: 3}},
		{"two streams of one flow side by side", []uint64{0, 1, 2, 6, 3, 7, 4, 8, 5, 9}, total{Packets: 10, Reordered: 3, MaxExtent: 5, Prefix: 10}},
		{"late by just the window", []uint64{1, far, 0}, total{Packets: 2, Duplicated: 1}},
		{"late within the window", []uint64{1, far - 1, 0}, total{Packets: 3, Reordered: 1, MaxExtent: 2, Prefix: 2}},
		{"leap over the window", []uint64{0, 5 * far, 5*far - 1}, total{Packets: 3, Reordered: 1, MaxExtent: 1, Prefix: 1}},
		{"bits of a full turn ago", []uint64{0, 1, 64, far + 1, 2 + 64, far + 64}, total{Packets: 6, Reordered: 1, MaxExtent: 1, Prefix: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := &newTrackers(1)[0]
			for _, s := range tt.sequences {
				tr.add(s, 0, place{})
			}
			if diff := cmp.Diff(tt.want, totalOf(tr)); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// Each of many flows remembers less, and a late packet's extent is then at least
// what the oldest gap remembered says.
func TestTrackerOfManyFlows(t *testing.T) {
	trackers := newTrackers(probe.MaxFlows)
	tr := &trackers[probe.MaxFlows-1]
	if tr.window() != seenOfFlow || len(tr.gaps) != gapsOfFlow {
		t.Fatalf("remembers %d sequence numbers and %d gaps, want %d and %d", tr.window(), len(tr.gaps), seenOfFlow, gapsOfFlow)
	}
	for s := uint64(1); s <= 2*100; s += 2 { // Every other one: 100 gaps.
		tr.add(s, time.Duration(s)*ms, place{})
	}
	tr.add(0, 200*ms, place{})
	tr.add(198, 200*ms, place{})
	want := total{Packets: 102, Reordered: 2, MaxExtent: gapsOfFlow, Prefix: 2}
	if diff := cmp.Diff(want, totalOf(tr)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if tr.holeKnown {
		t.Error("the gap of packet 2 is known, want it forgotten")
	}
	if late := 200*ms - (200-2*gapsOfFlow+1)*ms; tr.maxLate != late {
		t.Errorf("late by %v at most, want %v", tr.maxLate, late)
	}
}

func TestShare(t *testing.T) {
	for _, tt := range []struct{ flows, want int }{{1, 1024}, {2, 512}, {3, 256}, {12, 64}, {64, 16}, {10_000, 16}} {
		if got := share(1024, 16, tt.flows); got != tt.want {
			t.Errorf("each of %d flows gets %d, want %d", tt.flows, got, tt.want)
		}
	}
}

// beyond is a tracker that has received so many packets of a flow already.
func beyond(received uint64) *tracker {
	tr := &newTrackers(1)[0]
	tr.next, tr.prefix, tr.packets = received, received, received
	return tr
}

// Counts go on beyond 32 bits, and up to the last of the 48 that sequence numbers
// have.
func TestTrackerBeyond32Bits(t *testing.T) {
	for _, base := range []uint64{1<<32 - 1, 1<<48 - 4} {
		tr := beyond(base)
		for _, s := range []uint64{base, base + 2, base + 1, base + 1, base + 3} {
			tr.add(s, 0, place{})
		}
		want := total{Packets: base + 4, Duplicated: 1, Reordered: 1, MaxExtent: 1, Prefix: base + 4}
		if diff := cmp.Diff(want, totalOf(tr)); diff != "" {
			t.Errorf("after %d packets: counted (-want +got):\n%s", base, diff)
		}
	}
}

// So does a whole lane's count: hours into a trial it tells the first loss and the
// last packet as at its beginning.
func TestCountsBeyond32Bits(t *testing.T) {
	const base = 1<<32 - 2
	c := newCounts(1, time.Second, &origin{})
	c.flows[0].tracker = *beyond(base)
	c.packets, c.bytes, c.expected = base, base*testSize, base
	for _, sequence := range []uint64{base, base + 1, base + 2, base + 4, base + 4, base + 3, base + 6} {
		c.add(0, sequence, testSize, 0, 0)
	}
	got := resultOf(c, base+8)
	type figures struct{ Packets, InnerBytes, Duplicated, Reordered, Lost, FirstLoss uint64 }
	want := figures{base + 6, (base + 6) * testSize, 1, 1, 2, base + 5}
	have := figures{got.Packets, got.InnerBytes, got.Duplicated, got.Reordered.Packets, c.lost(), got.FirstLoss.Packets}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// history is what RFC 4737 says of a flow's arrivals, from all of them.
type history struct {
	seen     map[uint64]bool
	arrivals []uint64 // Without duplicates.
	highest  uint64
	total    total
}

func (h *history) add(sequence uint64) {
	if h.seen[sequence] {
		h.total.Duplicated++
		return
	}
	h.seen[sequence] = true
	if sequence < h.highest {
		// Section 4.2: the earliest that is later.
		j := slices.IndexFunc(h.arrivals, func(earlier uint64) bool { return earlier > sequence })
		h.total.Reordered++
		h.total.MaxExtent = max(h.total.MaxExtent, uint64(len(h.arrivals)-j))
	}
	h.highest = max(h.highest, sequence)
	h.arrivals = append(h.arrivals, sequence)
	h.total.Packets++
	for h.seen[h.total.Prefix] {
		h.total.Prefix++
	}
}

// The tracker agrees with one that remembers everything.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{0, 1, 2, 2, 250, 0, 3})
	f.Add([]byte{10, 246, 246, 246, 0, 20, 240, 240})
	f.Fuzz(func(t *testing.T, steps []byte) {
		tr, all := &newTrackers(1)[0], &history{seen: map[uint64]bool{}}
		var at uint64
		for _, step := range steps[:min(len(steps), 1000)] {
			at += uint64(int8(step)) + 2 // Mostly forward, at times far back.
			at &= 1<<63 - 1
			if at > 1<<62 {
				at = 0
			}
			seen := all.seen[at]
			all.add(at)
			if tr.add(at, 0, place{}) == seen {
				t.Fatalf("sequence number %d: seen before is %v", at, seen)
			}
			if !tr.lossless() && (!tr.holeKnown || tr.hole.from > tr.prefix || tr.hole.to <= tr.prefix) {
				t.Fatalf("the hole at %d is not in the gap %+v", tr.prefix, tr.hole)
			}
		}
		if diff := cmp.Diff(all.total, totalOf(tr)); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// arrival is one packet in a table.
type arrival struct {
	sequence uint64
	sent, at time.Duration
}

const testSize = 1400

func countAll(start time.Duration, arrivals []arrival) *counts {
	c := newCounts(1, time.Second, &origin{})
	for _, a := range arrivals {
		c.add(0, a.sequence, testSize, wire.StampOf(start+a.sent), start+a.at)
	}
	return c
}

// resultOf is the result of one lane whose sender sent so many packets.
func resultOf(c *counts, sent uint64) probe.Received {
	c.sent = sent
	return result([]*counts{c})
}

const ms = time.Millisecond

func TestFirstLoss(t *testing.T) {
	for _, tt := range []struct {
		name     string
		arrivals []arrival
		sent     uint64
		want     *probe.FirstLoss
	}{
		{"nothing sent", nil, 0, nil},
		{"nothing lost", []arrival{{0, 0, 0}, {1, 0, ms}}, 2, nil},
		{"nothing came", nil, 2, &probe.FirstLoss{}},
		{"in the middle", []arrival{{0, 0, 0}, {1, 0, ms}, {3, 0, 3 * ms}}, 4, &probe.FirstLoss{Packets: 2, After: ms}},
		{"at the end", []arrival{{0, 0, 0}, {1, 0, ms}}, 3, &probe.FirstLoss{Packets: 2, After: ms}},
		{"at the beginning", []arrival{{1, 0, 5 * ms}, {2, 0, 6 * ms}}, 3, &probe.FirstLoss{}},
		{"end unknown", []arrival{{0, 0, 0}, {2, 0, ms}}, 0, &probe.FirstLoss{Packets: 1}},
		{"late, not lost", []arrival{{0, 0, 0}, {2, 0, ms}, {1, 0, 2 * ms}}, 3, nil},
		{"after a late one", []arrival{{0, 0, 0}, {2, 0, ms}, {1, 0, 2 * ms}, {3, 0, 3 * ms}, {5, 0, 4 * ms}}, 6,
			&probe.FirstLoss{Packets: 4, After: 3 * ms}},
		{"a late one filled the gap before", []arrival{{0, 0, 0}, {2, 0, ms}, {4, 0, 2 * ms}, {1, 0, 3 * ms}}, 5,
			&probe.FirstLoss{Packets: 3, After: ms}},
		{"a late one filled the front of the gap", []arrival{{0, 0, 0}, {3, 0, ms}, {1, 0, 2 * ms}}, 4,
			&probe.FirstLoss{Packets: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := resultOf(countAll(time.Hour, tt.arrivals), tt.sent).FirstLoss
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("first loss (-want +got):\n%s", diff)
			}
		})
	}
}

// Where losses push the first gap out of memory, it is still told; a gap that was
// forgotten before it became the first is not.
func TestFirstLossForgotten(t *testing.T) {
	const gaps = 3 * gapsOfLane
	for _, tt := range []struct {
		name     string
		comeLate []uint64
		want     *probe.FirstLoss
	}{
		{"the first", nil, &probe.FirstLoss{Packets: 1}},
		{"one behind it", []uint64{1}, nil},
		{"one remembered", []uint64{2*gaps - 1}, &probe.FirstLoss{Packets: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := countAll(0, nil)
			for s := uint64(0); s <= 2*gaps; s += 2 {
				c.add(0, s, testSize, 0, 0)
			}
			for _, s := range tt.comeLate {
				c.add(0, s, testSize, 0, 0)
			}
			if diff := cmp.Diff(tt.want, resultOf(c, 2*gaps).FirstLoss); diff != "" {
				t.Errorf("first loss (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWindows(t *testing.T) {
	for _, tt := range []struct {
		name     string
		start    time.Duration
		arrivals []arrival
		want     []probe.WindowCount
	}{
		{"nothing", 0, nil, nil},
		{"one packet", 0, []arrival{{0, 0, 0}}, []probe.WindowCount{{Packets: 1}}},
		{"two windows", 0, []arrival{{0, 0, 0}, {1, 5 * ms, 19 * ms}, {2, 6 * ms, 21 * ms}, {3, 30 * ms, 39 * ms}},
			[]probe.WindowCount{
				{Packets: 2, End: 21 * ms},
				{Packets: 2, Start: 21 * ms, End: 39 * ms, MinDelay: 9 * ms},
			}},
		{"a window without packets", 0, []arrival{{0, 0, 0}, {1, 0, 5 * ms}, {2, 50 * ms, 55 * ms}},
			[]probe.WindowCount{
				{Packets: 2, End: 55 * ms},
				{Packets: 1, Start: 55 * ms, End: 55 * ms, MinDelay: 5 * ms},
			}},
		{"duplicates do not count", 0, []arrival{{0, 0, 0}, {1, ms, ms}, {0, 0, 30 * ms}, {1, ms, 31 * ms}},
			[]probe.WindowCount{{Packets: 2, End: ms}}},
		{"the first packet had the longest delay", 0, []arrival{{0, 0, 0}, {1, 21 * ms, 20 * ms}},
			[]probe.WindowCount{{Packets: 1, End: 20 * ms, MinDelay: ms}, {Packets: 1, Start: 20 * ms, End: 20 * ms}}},
		{"send time wraps", 1<<48 - 10*ms, []arrival{{0, 0, 0}, {1, 20 * ms, 25 * ms}},
			[]probe.WindowCount{{Packets: 1, End: 25 * ms}, {Packets: 1, Start: 25 * ms, End: 25 * ms, MinDelay: 5 * ms}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := resultOf(countAll(tt.start, tt.arrivals), 0).Windows
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("windows (-want +got):\n%s", diff)
			}
		})
	}
}

// More time than there is room for ends in the last window.
func TestWindowsBounded(t *testing.T) {
	w := newWindows(40 * ms)
	for i := range 100 {
		w.add(time.Duration(i)*10*ms, 0)
	}
	got := w.result()
	if len(got) != 3 || got[2].Packets != 96 || got[2].End != 990*ms {
		t.Errorf("got %v, want three windows, the last with 96 packets until 990ms", got)
	}
}

func TestArrivalClock(t *testing.T) {
	const wall = int64(1_800_000_000_000_000_000)
	for _, tt := range []struct {
		name  string
		last  time.Duration
		stamp int64
		want  time.Duration
	}{
		{"as stamped", 0, wall - int64(3*ms), 997 * ms},
		{"no stamp", 0, 0, time.Second},
		{"never back", 999 * ms, wall - int64(3*ms), 999 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := arrivalClock{last: tt.last}
			c.Look(wall-int64(ms), time.Second-ms)
			c.Look(wall, time.Second)
			if got := c.arrived(tt.stamp, time.Second); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
