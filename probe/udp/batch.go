package udp

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/sockets"
)

const (
	// batchSize is how many messages one recvmmsg(2) may take in all lanes together,
	// and laneBatch in each of many; with UDP_GRO each may hold a train of up to 64
	// KiB. Of such trains it takes cachedBytes at a time: 64 of them went through 4
	// MiB of buffers, which the processor's cache does not hold, and each packet
	// took a third longer than with 8.
	batchSize   = 128
	laneBatch   = 8
	cachedBytes = 512 << 10
	messageSize = 1 << 16
	// stride is from one message's buffer to the next: not a power of two, after
	// which all of them would begin in the same few lines of the cache.
	stride      = messageSize + 192
	controlSize = 64 // A time stamp and a segment size are 16+16 and 16+8 bytes.
)

// batchReader reads datagrams in batches (recvmmsg(2)) into buffers of its own.
// Reading does not allocate.
type batchReader struct {
	conn     *plain
	batch    []mmsghdr
	depth    int // How many of them the next read takes at most.
	iovs     []unix.Iovec
	buffers  []byte
	controls []byte
	names    []unix.RawSockaddrInet6 // Of the senders; none where the socket is connected.
}

// newBatchReader reads conn, of one of so many lanes.
func newBatchReader(conn *plain, lanes int) *batchReader {
	size := max(batchSize/lanes, laneBatch)
	r := &batchReader{
		conn:     conn,
		batch:    make([]mmsghdr, size),
		depth:    laneBatch,
		iovs:     make([]unix.Iovec, size),
		buffers:  make([]byte, size*stride),
		controls: make([]byte, size*controlSize),
	}
	for i := range r.batch {
		r.iovs[i].Base = &r.buffers[i*stride]
		r.iovs[i].SetLen(messageSize)
		r.batch[i].header.Iov = &r.iovs[i]
		r.batch[i].header.SetIovlen(1)
		r.batch[i].header.Control = &r.controls[i*controlSize]
	}
	if !conn.isConnected() {
		r.askNames()
	}
	return r
}

// askNames makes the kernel tell where each message comes from. An IPv4 address
// fits where an IPv6 one does.
func (r *batchReader) askNames() {
	r.names = make([]unix.RawSockaddrInet6, len(r.batch))
	for i := range r.batch {
		r.batch[i].header.Name = (*byte)(unsafe.Pointer(&r.names[i]))
	}
}

// read waits for at least one message, until the socket's read deadline, and
// returns how many there are, none after an error, and whether there may be more
// already. They are valid until the next read.
func (r *batchReader) read() (n int, more bool) {
	for i := range r.depth { // The kernel set these to what it used.
		r.batch[i].header.SetControllen(controlSize)
		r.batch[i].header.Namelen = unix.SizeofSockaddrInet6 // Means nothing without a name.
	}
	for {
		n, errno := r.recvmmsg()
		switch {
		case errno == 0:
			more = n == r.depth
			r.adapt(n)
			return n, more
		case errno != unix.EAGAIN && errno != unix.EINTR, r.conn.wait() != nil:
			return 0, false
		}
	}
}

func (r *batchReader) recvmmsg() (n int, errno syscall.Errno) {
	count, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, uintptr(r.conn.fd),
		uintptr(unsafe.Pointer(&r.batch[0])), uintptr(r.depth), unix.MSG_DONTWAIT, 0, 0)
	return int(count), errno
}

// adapt makes the next read take as many messages as the cache holds, if they are
// as long as the n of this one.
func (r *batchReader) adapt(n int) {
	longest := 1
	for i := range n {
		longest = max(longest, int(r.batch[i].length))
	}
	r.depth = min(max(cachedBytes/longest, laneBatch), len(r.batch))
}

// message returns the i-th message's datagrams, the length of each but the last
// (zero: there is one), and when the first one reached this host, by
// CLOCK_REALTIME in ns since 1970 (zero: not known).
func (r *batchReader) message(i int) (data []byte, segment int, stamp int64) {
	m := &r.batch[i]
	control := r.controls[i*controlSize:][:min(m.header.Controllen, controlSize)]
	segment, stamp = parseControl(control)
	return r.buffers[i*stride:][:m.length], segment, stamp
}

// source is where the i-th message comes from; not valid where the socket is
// connected.
func (r *batchReader) source(i int) netip.AddrPort {
	if r.names == nil {
		return netip.AddrPort{}
	}
	name := &r.names[i]
	if name.Family == unix.AF_INET {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), ntohs(four.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), ntohs(name.Port))
}

// ntohs reads a port, which the kernel gives in network byte order.
func ntohs(port uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&port))[:])
}

// parseControl reads what the kernel says beside a message (cmsg(3)).
func parseControl(b []byte) (segment int, stamp int64) {
	for len(b) >= unix.SizeofCmsghdr {
		h, body, rest, err := unix.ParseOneSocketControlMessage(b)
		switch {
		case err != nil:
			return segment, stamp
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(body) >= 4:
			segment = int(binary.NativeEndian.Uint32(body))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(body) >= int(unsafe.Sizeof(unix.Timespec{})):
			stamp = (*unix.Timespec)(unsafe.Pointer(&body[0])).Nano()
		}
		b = rest
	}
	return segment, stamp
}

// arrivalClock says when datagrams arrived, by a clock that never goes back. The kernel
// stamps a packet when it arrives, however late it is read; a nap or a busy host does
// not blur the windows.
type arrivalClock struct {
	sockets.StampClock
	last time.Duration
}

// arrived is when a datagram did that was read now: where its stamp says nothing, now.
func (c *arrivalClock) arrived(stamp int64, now time.Duration) time.Duration {
	at, known := c.At(stamp, now)
	if !known {
		at = now
	}
	c.last = max(c.last, at)
	return c.last
}
