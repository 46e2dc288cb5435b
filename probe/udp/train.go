package udp

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketWriter sends a train with one system call (sendmmsg(2)). Datagrams of one
// length go as one message that the kernel segments (UDP_SEGMENT, udp(7)), the last
// of which may be shorter; or, where the route's device does not allow that, each as
// a message of its own.
//
// It owns its message headers, so that sending does not allocate. It serves all flows of a lane.
type socketWriter struct {
	segments bool // Whether UDP_SEGMENT is to be used, and works as far as known.
	joined   bool // Whether it has been.

	batch    []mmsghdr
	iovs     []unix.Iovec
	controls [][segmentControl]byte
	runs     []int // Datagrams of each message.
	poll     [1]unix.PollFd

	// In and out of send.
	count int // Messages.
	taken int // Of them.
	errno syscall.Errno
}

var _ trainWriter = (*socketWriter)(nil)

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32 // Bytes of this message, set by the kernel.
	_      [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// segmentControl holds one control message with a 16-bit segment size.
const segmentControl = unix.SizeofCmsghdr + 8

// newSocketWriter writes trains of at most train datagrams.
func newSocketWriter(train int, segment bool) *socketWriter {
	w := &socketWriter{
		segments: segment,
		batch:    make([]mmsghdr, train), iovs: make([]unix.Iovec, train),
		controls: make([][segmentControl]byte, train), runs: make([]int, train),
	}
	for i := range w.batch {
		w.batch[i].header.Iov = &w.iovs[i]
		w.batch[i].header.SetIovlen(1)
		cmsg := (*unix.Cmsghdr)(unsafe.Pointer(&w.controls[i][0]))
		cmsg.Level, cmsg.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		cmsg.SetLen(unix.CmsgLen(2))
	}
	return w
}

// write implements trainWriter. A call that ends early does not say why: the next
// one does.
func (w *socketWriter) write(to *plain, data []byte, lengths []int) (taken int, err error) {
	for len(lengths) > 0 {
		w.collect(data, lengths)
		w.send(to.fd)
		n, size := w.accepted()
		data, lengths, taken = data[size:], lengths[n:], taken+n
		switch {
		case w.errno == 0 || w.errno == unix.EINTR:
		case w.runs[0] > 1 && unsegmentable(w.errno):
			w.segments = false
		default:
			return taken, w.errno
		}
	}
	return taken, nil
}

// unsegmentable says whether the error means that this route cannot segment: EIO
// without checksum offload, EINVAL where a segment does not fit the device or
// the kernel takes fewer of them (Linux, net/ipv4/udp.c, udp_send_skb).
func unsegmentable(errno syscall.Errno) bool {
	return errno == unix.EIO || errno == unix.EINVAL || errno == unix.EOPNOTSUPP
}

// collect makes messages of the datagrams.
func (w *socketWriter) collect(data []byte, lengths []int) {
	for w.count = 0; len(lengths) > 0; w.count++ {
		n, size := w.run(lengths)
		w.runs[w.count] = n
		w.iovs[w.count].Base = &data[0]
		w.iovs[w.count].SetLen(size)
		header := &w.batch[w.count].header
		header.Control = nil
		header.SetControllen(0)
		if n > 1 {
			control := &w.controls[w.count]
			*(*uint16)(unsafe.Pointer(&control[unix.SizeofCmsghdr])) = uint16(lengths[0])
			header.Control = &control[0]
			header.SetControllen(len(control))
		}
		data, lengths = data[size:], lengths[n:]
	}
}

// run is how many of the datagrams make up the next message, and how long it is.
func (w *socketWriter) run(lengths []int) (n, size int) {
	n, size = 1, lengths[0]
	for w.segments && n < min(len(lengths), maxSegments) && lengths[n-1] == lengths[0] &&
		lengths[n] <= lengths[0] && size+lengths[n] <= maxTrain {
		size += lengths[n]
		n++
	}
	return n, size
}

// accepted is how many datagrams the last call took, and how long they are.
func (w *socketWriter) accepted() (datagrams, size int) {
	for i := range w.taken {
		datagrams += w.runs[i]
		size += int(w.iovs[i].Len)
		w.joined = w.joined || w.runs[i] > 1
	}
	return datagrams, size
}

func (w *socketWriter) send(fd int) {
	n, _, errno := syscall.Syscall6(unix.SYS_SENDMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&w.batch[0])), uintptr(w.count), unix.MSG_DONTWAIT, 0, 0)
	w.taken, w.errno = int(n), errno
	if errno != 0 {
		w.taken = 0
	}
}

// awaitRoom implements trainWriter.
func (w *socketWriter) awaitRoom(to *plain, d time.Duration) {
	w.poll[0] = unix.PollFd{Fd: int32(to.fd), Events: unix.POLLOUT}
	_, _ = unix.Poll(w.poll[:], int(d.Milliseconds())) // A signal ends it early.
}

func (w *socketWriter) segmented() bool { return w.joined }
