package lab

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = int64(time.Millisecond)

// departure is a packet, by its slot, that left.
type departure struct {
	Slot int
	At   int64
}

// departures lets all leave that is on its way, each when it is due.
func departures(f *flight) (all []departure) {
	for at := f.next(); at != math.MaxInt64; at = f.next() {
		p, found := f.leave(at)
		if !found {
			return append(all, departure{Slot: -1, At: at}) // next was wrong.
		}
		all = append(all, departure{p.slot, at})
	}
	return all
}

// decided makes the next fates sure, which no ratio that Validate allows does.
func decided(f *flight, kind fate) *flight {
	set := func(into *uint64, yes bool) {
		if *into = 0; yes {
			*into = math.MaxUint64
		}
	}
	set(&f.fates.loss, kind.lost)
	set(&f.fates.reorder, kind.late)
	set(&f.fates.another, kind.twice)
	return f
}

func TestFlightDelays(t *testing.T) {
	f := newFlight(WAN{Delay: 40 * time.Millisecond}, 0, 8)
	for slot, arrival := range []int64{0, 1, 10 * ms} {
		f.enter(slot, arrival)
	}
	if _, found := f.leave(40*ms - 1); found {
		t.Error("a packet leaves before it is due")
	}
	want := []departure{{0, 40 * ms}, {1, 40*ms + 1}, {2, 50 * ms}}
	if diff := cmp.Diff(want, departures(f)); diff != "" {
		t.Errorf("departures (-want +got):\n%s", diff)
	}
}

func TestFlightFates(t *testing.T) {
	f := decided(newFlight(WAN{}, 0, 8), fate{lost: true})
	if f.enter(0, 0) || f.dropped != 1 || f.next() != math.MaxInt64 {
		t.Errorf("want the packet lost, got %+v", f)
	}
	decided(f, fate{twice: true}).enter(1, 0)
	if p, found := f.leave(0); !found || !p.twice || f.duplicated != 1 {
		t.Errorf("want the packet twice, got %+v", p)
	}
}

// What is held back leaves after the next packets, and counts as reordered once one
// of them has passed it.
func TestFlightHoldsBack(t *testing.T) {
	type arrival struct {
		at   int64
		late bool
	}
	held, most := heldBack.Nanoseconds(), heldAtMost.Nanoseconds()
	tests := []struct {
		name      string
		arrivals  []arrival
		want      []departure
		reordered uint64
	}{
		{"passed", []arrival{{0, true}, {1 * ms, false}, {20 * ms, false}}, []departure{{1, 1 * ms}, {0, held}, {2, 20 * ms}}, 1},
		{"passed late", []arrival{{0, true}, {20 * ms, false}}, []departure{{1, 20 * ms}, {0, held}}, 1},
		{"two, passed by one", []arrival{{0, true}, {1, true}, {2, false}}, []departure{{2, 2}, {0, held}, {1, held + 1}}, 2},
		{"alone", []arrival{{0, true}}, []departure{{0, most}}, 0},
		{"after all others", []arrival{{0, false}, {0, true}}, []departure{{0, 0}, {1, most}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFlight(WAN{}, 0, 8)
			for slot, a := range tt.arrivals {
				decided(f, fate{late: a.late}).enter(slot, a.at)
			}
			if diff := cmp.Diff(tt.want, departures(f)); diff != "" {
				t.Errorf("departures (-want +got):\n%s", diff)
			}
			if f.reordered != tt.reordered {
				t.Errorf("want %d reordered, got %d", tt.reordered, f.reordered)
			}
		})
	}
}

// Whatever comes when, each packet is lost or leaves once, when next says so, and
// those that are not held back in order.
func FuzzFlight(f *testing.F) {
	f.Add(uint64(1), 40*ms, 2*ms, 0.1, 0.1, 0.1, []byte{0, 1, 2, 200, 3})
	f.Add(uint64(0), int64(0), int64(0), 0.5, 0.5, 0.5, []byte{255, 0, 255, 0})
	f.Fuzz(func(t *testing.T, seed uint64, delay, jitter int64, loss, reorder, duplicate float64, gaps []byte) {
		w := WAN{Delay: time.Duration(delay), Jitter: time.Duration(jitter), LossRatio: loss, ReorderRatio: reorder, DuplicateRatio: duplicate, Seed: seed}
		if w.check() != nil {
			return // not what can be asked for
		}
		flight, slots := newFlight(w, 0, len(gaps)), make(map[int]int)
		var now int64
		var newest uint64
		left := func() {
			p, found := flight.leave(now)
			if !found {
				return
			}
			if slots[p.slot]++; p.late {
				return
			}
			if p.number < newest {
				t.Errorf("packet %d leaves after %d", p.number, newest)
			}
			newest = p.number
		}
		for slot, gap := range gaps {
			now += int64(gap) * ms / 4
			flight.enter(slot, now)
			left()
		}
		for now = flight.next(); now != math.MaxInt64; now = flight.next() {
			before := len(slots)
			if left(); len(slots) == before {
				t.Fatalf("nothing leaves at %d, when next says so", now)
			}
		}
		if len(slots)+int(flight.dropped) != len(gaps) {
			t.Errorf("%d packets left and %d were lost, of %d", len(slots), flight.dropped, len(gaps))
		}
		for slot, times := range slots {
			if times != 1 {
				t.Errorf("packet %d left %d times", slot, times)
			}
		}
	})
}

func TestFlightDoesNotAllocate(t *testing.T) {
	f := newFlight(WAN{Delay: time.Millisecond, Jitter: time.Microsecond, LossRatio: 0.1, ReorderRatio: 0.1, DuplicateRatio: 0.1}, 0, 64)
	var now int64
	allocated := testing.AllocsPerRun(1000, func() {
		now += ms
		f.enter(0, now)
		f.leave(now)
	})
	if allocated != 0 {
		t.Errorf("want no allocation, got %g per packet", allocated)
	}
}

func BenchmarkFlight(b *testing.B) {
	f := newFlight(WAN{Delay: time.Millisecond, Jitter: time.Microsecond, LossRatio: 0.01, ReorderRatio: 0.01}, 0, 1024)
	var now int64
	for b.Loop() {
		now += 2000
		f.enter(0, now)
		for _, found := f.leave(now); found; _, found = f.leave(now) {
		}
	}
}
