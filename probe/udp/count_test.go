package udp

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// total is what a tracker has counted.
type total struct{ Packets, Duplicated, Reordered, Lost, Prefix uint64 }

func TestTracker(t *testing.T) {
	const far = trackerWindow
	for _, tt := range []struct {
		name      string
		sequences []uint64
		sent      uint64
		want      total
	}{
		{"nothing", nil, 0, total{}},
		{"in order", []uint64{0, 1, 2}, 3, total{Packets: 3, Prefix: 3}},
		{"tail lost", []uint64{0, 1}, 3, total{Packets: 2, Lost: 1, Prefix: 2}},
		{"first lost", []uint64{1, 2}, 3, total{Packets: 2, Lost: 1}},
		{"one lost", []uint64{0, 1, 3}, 4, total{Packets: 3, Lost: 1, Prefix: 2}},
		{"duplicate", []uint64{0, 1, 1, 0, 2}, 3, total{Packets: 3, Duplicated: 2, Prefix: 3}},
		{"late", []uint64{0, 2, 3, 1, 4}, 5, total{Packets: 5, Reordered: 1, Prefix: 5}},
		{"late and again", []uint64{0, 2, 1, 1}, 3, total{Packets: 3, Reordered: 1, Duplicated: 1, Prefix: 3}},
		{"late by just the window", []uint64{1, far, 0}, far + 1, total{Packets: 2, Duplicated: 1, Lost: far - 1}},
		{"late within the window", []uint64{1, far - 1, 0}, far, total{Packets: 3, Reordered: 1, Lost: far - 3, Prefix: 2}},
		{"leap over the window", []uint64{0, 5 * far, 5*far - 1}, 5*far + 1, total{Packets: 3, Reordered: 1, Lost: 5*far - 2, Prefix: 1}},
		{"bits of a full turn ago", []uint64{0, 1, 64, far + 1, 2 + 64, far + 64}, 0, total{Packets: 6, Reordered: 1, Prefix: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTracker(1)
			for _, s := range tt.sequences {
				tr.add(0, s, 0)
			}
			got := total{tr.packets, tr.duplicated, tr.reordered, tr.lost(tt.sent), tr.prefix}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTrackerBeyond32Bits(t *testing.T) {
	tr := newTracker(1)
	tr.next, tr.prefix, tr.packets = 1<<32-1, 1<<32-1, 1<<32-1
	for _, s := range []uint64{1<<32 - 1, 1<<32 + 1, 1 << 32, 1 << 32, 1<<32 + 2} {
		tr.add(0, s, 0)
	}
	want := total{Packets: 1<<32 + 3, Duplicated: 1, Reordered: 1, Prefix: 1<<32 + 3}
	if diff := cmp.Diff(want, total{tr.packets, tr.duplicated, tr.reordered, tr.lost(1<<32 + 3), tr.prefix}); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// The tracker agrees with a map that remembers everything.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{0, 1, 2, 2, 250, 0, 3})
	f.Fuzz(func(t *testing.T, steps []byte) {
		tr, seen := newTracker(1), map[uint64]bool{}
		var at, again uint64
		for _, step := range steps {
			at += uint64(int8(step)) + 2 // Mostly forward, at times far back.
			at &= 1<<63 - 1
			if at > 1<<62 {
				at = 0
			}
			if tr.add(0, at, 0) == seen[at] {
				t.Fatalf("sequence number %d: seen before is %v", at, seen[at])
			}
			if seen[at] {
				again++
			}
			seen[at] = true
		}
		var prefix uint64
		for seen[prefix] {
			prefix++
		}
		got := total{Packets: tr.packets, Duplicated: tr.duplicated, Prefix: tr.prefix}
		if diff := cmp.Diff(total{Packets: uint64(len(seen)), Duplicated: again, Prefix: prefix}, got); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// arrival is one packet in a table.
type arrival struct {
	sequence uint64
	sent, at time.Duration
}

func countAll(start time.Duration, arrivals []arrival) *counts {
	c := newCounts(1, time.Second)
	for _, a := range arrivals {
		c.add(0, a.sequence, wire.StampOf(start+a.sent), start+a.at)
	}
	return c
}

const ms = time.Millisecond

func TestFirstLoss(t *testing.T) {
	for _, tt := range []struct {
		name     string
		arrivals []arrival
		sent     uint64
		want     *probe.FirstLoss
	}{
		{"nothing lost", []arrival{{0, 0, 0}, {1, 0, ms}}, 2, nil},
		{"in the middle", []arrival{{0, 0, 0}, {1, 0, ms}, {3, 0, 3 * ms}}, 4, &probe.FirstLoss{Packets: 2, After: ms}},
		{"at the end", []arrival{{0, 0, 0}, {1, 0, ms}}, 3, &probe.FirstLoss{Packets: 2, After: ms}},
		{"at the beginning", []arrival{{1, 0, 5 * ms}, {2, 0, 6 * ms}}, 3, &probe.FirstLoss{}},
		{"end unknown", []arrival{{0, 0, 0}, {2, 0, ms}}, 0, &probe.FirstLoss{Packets: 1}},
		{"after a late one", []arrival{{0, 0, 0}, {2, 0, ms}, {1, 0, 2 * ms}, {3, 0, 3 * ms}, {5, 0, 4 * ms}}, 6,
			&probe.FirstLoss{Packets: 4, After: 3 * ms}},
		{"a late one filled the gap before", []arrival{{0, 0, 0}, {2, 0, ms}, {4, 0, 2 * ms}, {1, 0, 3 * ms}}, 5, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := countAll(time.Hour, tt.arrivals).result(tt.sent).FirstLoss
			if diff := cmp.Diff(tt.want, got); diff != "" {
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
			got := countAll(tt.start, tt.arrivals).result(0).Windows
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

func TestVariation(t *testing.T) {
	v := newVariation()
	for i := range 100 {
		v.add(0, uint64(i), time.Duration(i%2)*100*time.Microsecond)
	}
	v.add(0, 1000, time.Hour) // Not consecutive.
	v.add(0, 1001, time.Hour+2*ms)
	got := v.result()
	want := probe.Variation{P50: 100 * time.Microsecond, P99: 100 * time.Microsecond, Max: 2 * ms}
	within := func(got, want time.Duration) bool { return (got - want).Abs() <= want/1000 }
	if !within(got.P50, want.P50) || !within(got.P99, want.P99) || !within(got.Max, want.Max) {
		t.Errorf("got %v, want %v within 0.1 %%", got, want)
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
		{"stamped in the future: clock was set back", 0, wall + 1, time.Second},
		{"stamped long ago: clock was set forward", 0, wall - int64(time.Hour), time.Second},
		{"never back", 999 * ms, wall - int64(3*ms), 999 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := arrivalClock{last: tt.last}
			if got := c.at(tt.stamp, wall, time.Second); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
