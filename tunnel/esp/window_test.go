package esp

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

// take is what open does with an authenticated number.
func (w *window) take(sequence uint64) bool {
	if !w.fresh(sequence) {
		return false
	}
	w.accept(sequence)
	return true
}

func TestWindow(t *testing.T) {
	type step struct {
		sequence uint64
		want     bool
	}
	for _, size := range []uint64{leastWindow, 33, 63, 64, 65, 127, 128, 1000, mostWindow, defaultWindow} {
		tests := []struct {
			name  string
			steps []step
		}{
			{"0 is never sent", []step{{0, false}, {1, true}, {0, false}}},
			{"in order", []step{{1, true}, {2, true}, {3, true}, {3, false}, {2, false}, {1, false}}},
			{"out of order", []step{{3, true}, {1, true}, {2, true}, {1, false}, {2, false}, {3, false}}},
			{"edges", []step{{size + 1, true}, {1, false}, {2, true}, {2, false}, {size + 2, true}, {2, false}, {3, true}, {3, false}}},
			{"jump by a window", []step{{1, true}, {1 + size, true}, {1, false}, {2, true}, {size, true}, {size, false}}},
			{"jump over all words", []step{{5, true}, {5 + 1000*wordBits*1024, true}, {5, false}, {4 + 1000*wordBits*1024, true}}},
			{"old marks are gone", []step{{7, true}, {7 + 2*size, true}, {7 + 4*size, true}, {7 + 3*size + 1, true}, {7 + 3*size, false}}},
			{"last numbers", []step{{math.MaxUint64 - 1, true}, {math.MaxUint64, true}, {math.MaxUint64, false}, {math.MaxUint64 - 2, true}}},
			{"over the wrap of the low half", []step{{1<<32 - 2, true}, {1 << 32, true}, {1<<32 - 1, true}, {1<<32 - 1, false}}},
		}
		for _, test := range tests {
			t.Run(fmt.Sprintf("%d, %s", size, test.name), func(t *testing.T) {
				w := newWindow(int(size))
				for i, step := range test.steps {
					if got := w.take(step.sequence); got != step.want {
						t.Errorf("step %d: sequence number %d: got %t, want %t", i, step.sequence, got, step.want)
					}
				}
			})
		}
	}
}

// Once delivered, no number is fresh again, however far the window has moved on.
func TestWindowForgetsNothing(t *testing.T) {
	for _, size := range []int{leastWindow, 65, mostWindow} {
		w := newWindow(size)
		for sequence := uint64(1); sequence < uint64(3*size); sequence++ {
			if !w.take(sequence) {
				t.Fatalf("window of %d: number %d is refused", size, sequence)
			}
			for _, back := range []uint64{0, 1, uint64(size) - 1, uint64(size), uint64(size) + 1, 2 * uint64(size)} {
				if back < sequence && w.fresh(sequence-back) {
					t.Fatalf("window of %d: number %d is fresh again, %d back", size, sequence-back, back)
				}
			}
		}
	}
}

// modelWindow is the naive window: every number that was seen.
type modelWindow struct {
	size, highest uint64
	seen          map[uint64]bool
}

func (m *modelWindow) take(sequence uint64) bool {
	if sequence == 0 || m.seen[sequence] || m.highest >= m.size && sequence <= m.highest-m.size {
		return false
	}
	m.seen[sequence] = true
	m.highest = max(m.highest, sequence)
	return true
}

// Whatever numbers come, the window's verdicts are those of the naive model.
// Each eight bytes are a step: five choose where from, the rest how far.
func FuzzWindow(f *testing.F) {
	steps := func(words ...uint64) (data []byte) {
		for _, word := range words {
			data = binary.BigEndian.AppendUint64(data, word)
		}
		return data
	}
	f.Add(uint16(32), steps(1, 2, 2, 1, 40, 9))
	f.Add(uint16(64), steps(64<<3|4, 64<<3|5, 0, 1<<60|6))
	f.Add(uint16(4096), steps(math.MaxUint64, 5, 4096<<3|5, 4097<<3|5))
	f.Fuzz(func(t *testing.T, size uint16, data []byte) {
		length := leastWindow + int(size)%(mostWindow-leastWindow+1)
		w := newWindow(length)
		m := &modelWindow{size: uint64(length), seen: map[uint64]bool{}}
		for ; len(data) >= 8; data = data[8:] {
			sequence := pick(binary.BigEndian.Uint64(data), m.highest)
			if got, want := w.take(sequence), m.take(sequence); got != want {
				t.Fatalf("window of %d at %d: number %d: got %t, want %t", length, m.highest, sequence, got, want)
			}
		}
	})
}

// pick makes a number near the highest one, ahead or behind, or any.
func pick(word, highest uint64) uint64 {
	far := word >> 3
	switch word & 7 {
	case 0:
		return far
	case 1, 2, 3:
		return highest + far%128
	case 4:
		return highest + far%(2*mostWindow)
	}
	return highest - min(highest, far%(2*mostWindow))
}

func TestExtend(t *testing.T) {
	const wrap = 1 << 32
	for _, size := range []uint64{leastWindow, 64, mostWindow, defaultWindow} {
		tests := []struct {
			highest uint64
			low     uint32
			want    uint64
		}{
			{0, 1, 1},
			{0, math.MaxUint32, math.MaxUint32}, // Nothing was before epoch 0.
			{10, 11, 11},
			{10, 5, 5},
			{size, 1, 1},
			{size, 0, wrap}, // Left of the window: next epoch.
			{wrap - 1, 0, wrap},
			{wrap - 1, uint32(wrap - size), wrap - size},
			{wrap - 1, uint32(wrap - size - 1), 2*wrap - size - 1},
			{wrap, math.MaxUint32, wrap - 1},
			{wrap + 5, uint32(wrap - size + 6), wrap - size + 6},
			{wrap + 5, uint32(wrap - size + 5), 2*wrap - size + 5},
			{7*wrap + 5, 6, 7*wrap + 6},
		}
		for _, test := range tests {
			t.Run(fmt.Sprintf("window of %d: %d after %d", size, test.low, test.highest), func(t *testing.T) {
				w := window{size: size, highest: test.highest}
				if got := w.extend(test.low); got != test.want {
					t.Errorf("got %d, want %d", got, test.want)
				}
			})
		}
	}
}

// The model of RFC 4303, Appendix A2: the 2^32 numbers from the window's left
// edge on, of which each low half names one.
func FuzzExtend(f *testing.F) {
	f.Add(uint16(0), uint64(0), uint32(0))
	f.Add(uint16(32), uint64(1<<32), uint32(1))
	f.Add(uint16(4064), uint64(1<<32-1), uint32(math.MaxUint32))
	f.Add(uint16(32), uint64(5<<32+20), uint32(64))
	f.Fuzz(func(t *testing.T, length uint16, highest uint64, ahead uint32) {
		w := window{size: leastWindow + uint64(length), highest: highest}
		edge := uint64(0)
		if highest >= w.size-1 {
			edge = highest - (w.size - 1)
		}
		want := edge + uint64(ahead)
		if want < edge {
			return // Beyond the last sequence number.
		}
		if highest < w.size-1 && want > math.MaxUint32 {
			return // Nothing was before epoch 0: its low halves name its own numbers.
		}
		if got := w.extend(uint32(want)); got != want {
			t.Errorf("window of %d, %d after %d: got %d, want %d", w.size, uint32(want), highest, got, want)
		}
	})
}
