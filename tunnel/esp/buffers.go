package esp

import "tunnelmark/tunnel/offload"

const (
	// batchSize is how many packets a sender's worker has in hand at most: one
	// super-packet behind single packets.
	batchSize = mostSingles + mostSegments
	// mostSingles is how many packets that the kernel gives one by one are sent
	// together.
	mostSingles = 64
	// mostSegments is how many packets the kernel may give as one.
	mostSegments = offload.MostUDP
	// superLength is the longest super-packet, in bytes.
	superLength = 65535
)

// colour staggers buffers, in bytes: at a stride that is a power of two the
// heads of all packets would fall into the same few sets of the CPU's caches.
const colour = 17 * 64

// newBuffers cuts count buffers of length bytes out of one block. None can grow
// into the next.
func newBuffers(count, length int) [][]byte {
	const cacheLine = 64
	stride := (length+cacheLine-1)/cacheLine*cacheLine + colour
	block := make([]byte, count*stride)
	buffers := make([][]byte, count)
	for i := range buffers {
		buffers[i] = block[i*stride : i*stride+length : i*stride+length]
	}
	return buffers
}
