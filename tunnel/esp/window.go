package esp

const (
	// leastWindow is what every receiver must have (RFC 4303, Section 3.4.3).
	leastWindow = 32
	// mostWindow is the kernel's limit (XFRMA_REPLAY_ESN_MAX of
	// include/uapi/linux/xfrm.h), so that a spec fits both ends.
	mostWindow = 4096
	// defaultWindow is for paths of many queues, which reorder: at 64 packets a
	// burst it reaches back over 127 bursts, and costs 1 KiB an SA.
	defaultWindow = 127*wordBits + 1
)

// wordBits is how many sequence numbers one word of the bitmap holds.
const wordBits = 64

// window is the anti-replay window of one SA: the highest sequence number that was
// authenticated, and which of those before it were. Its bitmap is a ring of words
// that the window slides over whole words at a time, without shifting a bit
// (RFC 6479, Section 2). One goroutine at a time uses it.
type window struct {
	size    uint64 // In packets, the highest included.
	highest uint64 // 0: none yet, since the first packet has 1 (RFC 4303, Section 2.2).
	words   []uint64
	mask    uint64 // len(words)-1: their number is a power of two.
}

// newWindow makes a window of size packets. Its ring holds them wherever in a
// word the highest lies, so that no two numbers inside share a bit.
func newWindow(size int) window {
	count := 1
	for count*wordBits < size+wordBits-1 {
		count *= 2
	}
	return window{size: uint64(size), words: make([]uint64, count), mask: uint64(count - 1)}
}

// fresh says whether the number is neither left of the window nor seen before
// (RFC 4303, Section 3.4.3). It moves nothing.
func (w *window) fresh(sequence uint64) bool {
	switch {
	case sequence == 0:
		return false
	case sequence > w.highest:
		return true
	case w.highest-sequence >= w.size:
		return false
	}
	return w.words[sequence/wordBits&w.mask]&(1<<(sequence%wordBits)) == 0
}

// accept marks a number that is fresh and authenticated, and moves the window
// where it is the highest.
func (w *window) accept(sequence uint64) {
	if sequence > w.highest {
		w.slide(sequence)
	}
	w.words[sequence/wordBits&w.mask] |= 1 << (sequence % wordBits)
}

// slide clears the words that the window enters.
func (w *window) slide(highest uint64) {
	from, to := w.highest/wordBits, highest/wordBits
	for i := range min(to-from, uint64(len(w.words))) {
		w.words[(to-i)&w.mask] = 0
	}
	w.highest = highest
}

// extend reconstructs the extended sequence number of which only the low half
// was sent: the one in reach of the window (RFC 4303, Appendix A2.2).
func (w *window) extend(low uint32) uint64 {
	highestLow, epoch := uint32(w.highest), w.highest>>32
	reach := uint32(w.size) - 1
	bottom := highestLow - reach // May wrap: the window then spans two epochs.
	switch {
	case highestLow >= reach && low < bottom:
		epoch++ // Case A, wrapped since.
	case highestLow < reach && low >= bottom && epoch > 0:
		epoch-- // Case B, from before the wrap. In epoch 0 nothing was before.
	}
	return epoch<<32 | uint64(low)
}
