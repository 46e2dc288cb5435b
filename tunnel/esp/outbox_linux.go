package esp

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel/offload"
)

// Limits of one UDP_SEGMENT message.
const (
	maxSegments = offload.MostUDP
	maxPayload  = 65535 - 20 - 8 // What IPv4's total length leaves to UDP payload, in bytes.
)

// message is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type message struct {
	header unix.Msghdr
	length uint32 // Bytes received.
}

// outbox sends packets through a connected socket, UDP or raw, a batch with one
// system call. Nothing is copied: the messages point at the packets. One goroutine at
// a time uses it; it allocates nothing after newOutbox.
type outbox struct {
	socket       *port
	segmentation bool // The kernel segments (UDP_SEGMENT). May turn false, never true.

	vectors  [batchSize]unix.Iovec
	controls [batchSize]sendControl
	messages [batchSize]message
	counts   [batchSize]int // Packets in each message.
	class    byte           // Of the outer packets of this send.

	refused []int // Result of send.
	errors  int   // Met since takeErrors, about earlier datagrams.
	tooLong bool  // One was refused for its length since takeTooLong.

	// Arguments and results of attempt, which is made once: a closure made for
	// each call would be an allocation for each batch.
	attempt func(fd uintptr) bool
	pending []message
	sent    int
	errno   syscall.Errno
}

func newOutbox(socket *port, c carrier) *outbox {
	o := &outbox{socket: socket, refused: make([]int, 0, batchSize)}
	o.attempt = o.sendmmsg
	for i := range o.controls {
		o.controls[i].prepare(c.version)
	}
	if !c.raw { // Only UDP is segmented.
		// Linux knows the option since 4.18; whether the interface can do it
		// shows only when sending, see retry.
		_, unknown := unix.GetsockoptInt(socket.fd, unix.SOL_UDP, unix.UDP_SEGMENT)
		o.segmentation = unknown == nil
	}
	return o
}

// send hands up to batchSize packets to the kernel, which all get the same outer
// traffic class. It returns the indices of those that the kernel refused, or that
// were left when the socket was stopped; they are valid until the next call.
func (o *outbox) send(packets [][]byte, class byte) (refused []int) {
	o.refused, o.class = o.refused[:0], class
	count := o.compose(packets)
	first := 0 // Index of the first packet of message next.
	for next := 0; next < count; {
		sent, errno, err := o.transmit(o.messages[next:count])
		for ; sent > 0; sent-- {
			first += o.counts[next]
			next++
		}
		if err != nil {
			o.refuse(first, len(packets)-first, 0)
			break
		}
		if errno != 0 {
			o.retry(next, first)
			first += o.counts[next]
			next++
		}
	}
	return o.refused
}

// compose fills messages with packets and returns how many messages it took.
func (o *outbox) compose(packets [][]byte) int {
	count := 0
	for first := 0; first < len(packets); count++ {
		run := 1
		if o.segmentation {
			run = segments(packets[first:])
		}
		o.fill(count, first, packets[first:first+run])
		first += run
	}
	return count
}

// segments says how many packets at the front of a list one UDP_SEGMENT message
// carries: they are of equal length, only the last may be shorter.
func segments(packets [][]byte) int {
	packets = packets[:min(len(packets), maxSegments)]
	size, total := len(packets[0]), len(packets[0])
	for i, packet := range packets[1:] {
		total += len(packet)
		if len(packet) > size || total > maxPayload {
			return i + 1
		}
		if len(packet) < size {
			return i + 2
		}
	}
	return len(packets)
}

// fill makes message i out of packets; vectors[first] is for the first of them.
func (o *outbox) fill(i, first int, packets [][]byte) {
	for j, packet := range packets {
		vector := &o.vectors[first+j]
		vector.Base = unsafe.SliceData(packet)
		vector.SetLen(len(packet))
	}
	o.counts[i] = len(packets)
	size := 0
	if len(packets) > 1 {
		size = len(packets[0])
	}
	o.point(i, first, len(packets), size)
}

// point makes message i carry count vectors from first on, in segments of size
// bytes, or unsegmented where that is 0.
func (o *outbox) point(i, first, count, size int) {
	header := &o.messages[i].header
	*header = unix.Msghdr{Iov: &o.vectors[first]}
	header.SetIovlen(count)
	o.controls[i].attach(header, size, o.class)
}

// retry deals with message i, which the kernel refused; first is the index of its
// first packet. Where segmentation may be what is refused, the packets then go one by
// one. If they do, size was not the reason.
func (o *outbox) retry(i, first int) {
	went, errno := o.insist(i)
	switch {
	case went:
		o.errors++
	case o.counts[i] > 1 && refusesSegments(errno):
		o.segmentation = !o.single(i, first) || errno == unix.EMSGSIZE
	default:
		o.refuse(first, o.counts[i], errno)
	}
}

// mostReports is how many errors about earlier datagrams may come between two
// attempts to send one.
const mostReports = 8

// insist sends message i. A connected socket reports an ICMP message about an earlier
// datagram once, and sends nothing by that call. That looks like a refusal, but for
// coming to an end.
func (o *outbox) insist(i int) (went bool, errno syscall.Errno) {
	for reports := range mostReports {
		sent, refusal, err := o.transmit(o.messages[i : i+1])
		if sent == 1 {
			o.errors += reports
			return true, 0
		}
		if err != nil {
			return false, 0
		}
		errno = refusal
	}
	return false, errno
}

// refusesSegments says whether the kernel may have meant UDP_SEGMENT: EIO where
// the interface has no checksum offload, EINVAL or EMSGSIZE where a segment
// exceeds the MTU (net/ipv4/udp.c, udp_send_skb).
func refusesSegments(errno syscall.Errno) bool {
	return errno == unix.EIO || errno == unix.EINVAL || errno == unix.EMSGSIZE
}

// single sends the packets of message i one by one, and says whether the first
// went, which is as long as any of them.
func (o *outbox) single(i, first int) (went bool) {
	for k := first; k < first+o.counts[i]; k++ {
		o.point(i, k, 1, 0)
		sent, errno := o.insist(i)
		if !sent {
			o.refuse(k, 1, errno)
		}
		went = went || sent && k == first
	}
	return went
}

func (o *outbox) refuse(first, count int, errno syscall.Errno) {
	for k := range count {
		o.refused = append(o.refused, first+k)
	}
	o.tooLong = o.tooLong || errno == unix.EMSGSIZE
}

// takeTooLong says whether a packet was refused for its length since it was last
// called.
func (o *outbox) takeTooLong() bool {
	tooLong := o.tooLong
	o.tooLong = false
	return tooLong
}

// takeErrors returns how many errors about earlier datagrams were met since it
// was last called.
func (o *outbox) takeErrors() int {
	count := o.errors
	o.errors = 0
	return count
}

// transmit sends messages until one is refused, and waits while the socket's
// buffer is full. errno is about the first message that was not sent; it is 0
// where the kernel took less than all without saying why.
func (o *outbox) transmit(messages []message) (sent int, errno syscall.Errno, err error) {
	o.pending, o.sent, o.errno = messages, 0, 0
	err = o.socket.Write(o.attempt)
	return o.sent, o.errno, err
}

func (o *outbox) sendmmsg(fd uintptr) (done bool) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd,
		uintptr(unsafe.Pointer(unsafe.SliceData(o.pending))), uintptr(len(o.pending)), 0, 0, 0)
	switch errno {
	case 0:
		o.sent = int(n)
	case unix.EAGAIN:
		return false
	case unix.EINTR: // Nothing was sent; the caller comes again.
	default:
		o.errno = errno
	}
	return true
}
