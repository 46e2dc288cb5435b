package esp

// batchSize is how many packets pass between the loops and the clear side at
// once: what the tun package reads and writes best (conn.IdealBatchSize).
const batchSize = 128

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
