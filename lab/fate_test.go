package lab

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The fates of a seed are the same for ever: results name the seed.
func TestFatesOfASeed(t *testing.T) {
	f := newFates(WAN{LossRatio: 0.1, ReorderRatio: 0.1, DuplicateRatio: 0.1, Seed: 42}, 1)
	var lost, late, twice []int
	for n := range 60 {
		fate := f.next()
		for _, kind := range []struct {
			is   bool
			list *[]int
		}{{fate.lost, &lost}, {fate.late, &late}, {fate.twice, &twice}} {
			if kind.is {
				*kind.list = append(*kind.list, n)
			}
		}
	}
	want := [][]int{{2, 10}, {4, 29, 31, 35, 41, 56}, {1, 16, 17, 22, 25, 38}}
	if diff := cmp.Diff(want, [][]int{lost, late, twice}); diff != "" {
		t.Errorf("lost, late and twice (-want +got):\n%s", diff)
	}
}

func TestFatesShares(t *testing.T) {
	const packets = 1_000_000
	for _, w := range []WAN{
		{},
		{LossRatio: 0.0001, ReorderRatio: 0.01, DuplicateRatio: 0.5},
		{LossRatio: 0.5, ReorderRatio: 0.5, DuplicateRatio: 0.0001, Seed: math.MaxUint64},
	} {
		f := newFates(w, 0)
		var lost, late, twice int
		for range packets {
			fate := f.next()
			lost += count(fate.lost)
			late += count(fate.late)
			twice += count(fate.twice)
		}
		for _, kind := range []struct {
			name string
			got  int
			want float64
		}{{"lost", lost, w.LossRatio}, {"late", late, w.ReorderRatio}, {"twice", twice, w.DuplicateRatio}} {
			expected := packets * kind.want
			if math.Abs(float64(kind.got)-expected) > 5*math.Sqrt(expected) {
				t.Errorf("%+v: want about %.0f packets %s, got %d", w, expected, kind.name, kind.got)
			}
		}
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// One kind of decision does not depend on the ratios of the others, nor one
// direction on another.
func TestFatesAreApart(t *testing.T) {
	lost := func(w WAN, direction uint64) (numbers []int) {
		f := newFates(w, direction)
		for n := range 1000 {
			if f.next().lost {
				numbers = append(numbers, n)
			}
		}
		return numbers
	}
	alone := lost(WAN{LossRatio: 0.1}, 0)
	if diff := cmp.Diff(alone, lost(WAN{LossRatio: 0.1, ReorderRatio: 0.3, DuplicateRatio: 0.3}, 0)); diff != "" {
		t.Errorf("lost, with other ratios (-want +got):\n%s", diff)
	}
	for name, other := range map[string][]int{
		"another direction": lost(WAN{LossRatio: 0.1}, 1),
		"another seed":      lost(WAN{LossRatio: 0.1, Seed: 1}, 0),
	} {
		if cmp.Equal(alone, other) {
			t.Errorf("%s: the same packets are lost", name)
		}
	}
}

// Whenever packets come, they leave in order, within the jitter.
func FuzzWander(f *testing.F) {
	f.Add(int64(2*time.Millisecond), uint64(1), uint64(0), int64(0), []byte{1, 255, 0, 17})
	f.Add(int64(1), uint64(0), uint64(7), int64(time.Hour), []byte{0, 0, 1})
	f.Add(int64(maxDelay), uint64(1<<63), uint64(1), int64(1<<61), []byte{255, 255})
	f.Fuzz(func(t *testing.T, amplitude int64, seed, direction uint64, at int64, gaps []byte) {
		if amplitude < 0 || amplitude > int64(maxDelay) || at < 0 || at > 1<<61 {
			return // not what is asked for
		}
		w := newWander(amplitude, seed, direction)
		left := int64(math.MinInt64)
		for _, gap := range gaps {
			at += int64(gap) * int64(gap) * int64(gap) * (1 + amplitude/1e6)
			jitter := w.at(at)
			if jitter < -amplitude || jitter > amplitude {
				t.Errorf("at %d: want a jitter of at most %d, got %d", at, amplitude, jitter)
			}
			if at+jitter < left {
				t.Errorf("at %d: leaves at %d, before what came earlier (%d)", at, at+jitter, left)
			}
			left = at + jitter
		}
	})
}

func TestWanderMean(t *testing.T) {
	const amplitude, samples = 2e6, 200_000
	w := newWander(amplitude, 1, 0)
	var sum, squares float64
	for n := range int64(samples) {
		jitter := float64(w.at(n * 1e6))
		sum += jitter
		squares += jitter * jitter
	}
	if mean := sum / samples; math.Abs(mean) > amplitude/100 {
		t.Errorf("want a mean near 0, got %.0f ns", mean)
	}
	// Of a line between two values that are spread evenly, 2/9 of the amplitude's square.
	if got, want := squares/samples/amplitude/amplitude, 2.0/9; math.Abs(got/want-1) > 0.05 {
		t.Errorf("want a variance of %.3f, got %.3f", want, got)
	}
}
