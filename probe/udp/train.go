package udp

import (
	"errors"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketWriter sends a train with one system call: as one super-packet that
// the kernel segments (UDP_SEGMENT, udp(7)), or, where the route's device does
// not allow that, as a batch of datagrams (sendmmsg(2)).
//
// It owns its message headers, and its two closures are made once, so that
// sending does not allocate.
type socketWriter struct {
	raw      syscall.RawConn
	segments bool // Whether UDP_SEGMENT works, as far as known.

	iov     unix.Iovec
	message unix.Msghdr
	control [segmentControl]byte

	batch []mmsghdr
	iovs  []unix.Iovec

	sendSegmented, sendBatch func(fd uintptr) bool

	// In and out of the closures.
	first, count int // Of batch.
	taken        int
	waited       bool
	errno        syscall.Errno
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32 // Bytes of this message, set by the kernel.
	_      [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// segmentControl holds one control message with a 16-bit segment size.
const segmentControl = unix.SizeofCmsghdr + 8

// newSocketWriter writes trains of at most train datagrams to conn.
func newSocketWriter(conn *net.UDPConn, train int) (*socketWriter, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &socketWriter{
		raw: raw, segments: true,
		batch: make([]mmsghdr, train), iovs: make([]unix.Iovec, train),
	}
	w.message.Iov = &w.iov
	w.message.SetIovlen(1)
	for i := range w.batch {
		w.batch[i].header.Iov = &w.iovs[i]
		w.batch[i].header.SetIovlen(1)
	}
	cmsg := (*unix.Cmsghdr)(unsafe.Pointer(&w.control[0]))
	cmsg.Level, cmsg.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	cmsg.SetLen(unix.CmsgLen(2))
	w.sendSegmented = w.trySegmented
	w.sendBatch = w.tryBatch
	return w, nil
}

// writeTrain implements trainWriter. It waits while the socket's buffer is
// full, until the socket's write deadline.
func (w *socketWriter) writeTrain(b []byte, size int) (taken int, waited bool, err error) {
	w.waited = false
	if w.segments {
		taken, err = w.writeSegmented(b, size)
		if !w.unsegmentable(err) || len(b) == size {
			return taken, w.waited, err
		}
		w.segments = false
	}
	taken, err = w.writeBatch(b, size)
	return taken, w.waited, err
}

// unsegmentable says whether err means that this route cannot segment: EIO
// without checksum offload, EINVAL where a segment does not fit the device or
// the kernel takes fewer of them (Linux, net/ipv4/udp.c, udp_send_skb).
func (w *socketWriter) unsegmentable(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

func (w *socketWriter) writeSegmented(b []byte, size int) (taken int, err error) {
	w.iov.Base = &b[0]
	w.iov.SetLen(len(b))
	w.message.Control, w.message.Controllen = nil, 0
	if len(b) > size {
		*(*uint16)(unsafe.Pointer(&w.control[unix.SizeofCmsghdr])) = uint16(size)
		w.message.Control = &w.control[0]
		w.message.SetControllen(len(w.control))
	}
	if err := w.raw.Write(w.sendSegmented); err != nil {
		return 0, err
	}
	if w.errno != 0 {
		return 0, w.errno
	}
	return len(b) / size, nil
}

func (w *socketWriter) trySegmented(fd uintptr) bool {
	_, _, w.errno = syscall.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&w.message)), 0)
	return w.done()
}

func (w *socketWriter) writeBatch(b []byte, size int) (taken int, err error) {
	w.count = len(b) / size
	for i := range w.count {
		w.iovs[i].Base = &b[i*size]
		w.iovs[i].SetLen(size)
	}
	// A batch that ends early does not say why: the next call does.
	for w.first = 0; w.first < w.count; w.first += w.taken {
		if err := w.raw.Write(w.sendBatch); err != nil {
			return w.first, err
		}
		if w.errno != 0 {
			return w.first, w.errno
		}
	}
	return w.count, nil
}

func (w *socketWriter) tryBatch(fd uintptr) bool {
	var n uintptr
	n, _, w.errno = syscall.Syscall6(unix.SYS_SENDMMSG, fd,
		uintptr(unsafe.Pointer(&w.batch[w.first])), uintptr(w.count-w.first), 0, 0, 0)
	w.taken = int(n)
	return w.done()
}

// done says whether the system call is over; if not, the runtime waits for room.
func (w *socketWriter) done() bool {
	if w.errno != unix.EAGAIN && w.errno != unix.EINTR {
		return true
	}
	w.waited = w.waited || w.errno == unix.EAGAIN
	return false
}
