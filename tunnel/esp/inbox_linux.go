package esp

import (
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel/overhead"
)

const (
	// receiveBatch is how many messages one recvmmsg takes. With UDP_GRO each
	// may hold many datagrams.
	receiveBatch = 8
	// receiveBuffer is the longest message that UDP_GRO makes, in bytes.
	receiveBuffer = 65535
)

// inbox receives ESP packets from UDP or raw, a batch with one system call. One
// worker uses it; it allocates nothing after newInbox.
type inbox struct {
	socket   *port
	headed   bool // Messages begin with the outer IP header.
	buffers  [][]byte
	vectors  [receiveBatch]unix.Iovec
	controls [receiveBatch]receiveControl
	messages [receiveBatch]message

	// Results of attempt, which is made once, as in outbox.
	attempt  func(fd uintptr) bool
	received int
	errno    syscall.Errno
}

func newInbox(socket *port, c carrier) *inbox {
	in := &inbox{socket: socket, headed: c.headed(), buffers: newBuffers(receiveBatch, receiveBuffer)}
	in.attempt = in.recvmmsg
	return in
}

// setReceive asks for what comes beside the packets: their traffic class, and for
// UDP that the kernel coalesces datagrams. Those of different classes it keeps
// apart: inet_gro_receive and ipv6_gro_receive of net, in newer kernels inet_gro_flush
// and ipv6_gro_flush of include/net/gro.h.
func (c carrier) setReceive(fd int) error {
	level, option := unix.IPPROTO_IP, unix.IP_RECVTOS
	if c.version == overhead.IPv6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return os.NewSyscallError("setsockopt IP_RECVTOS", err)
	}
	if c.raw {
		return nil
	}
	err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1)
	if errors.Is(err, unix.ENOPROTOOPT) {
		err = nil // Linux before 5.0: each message is one datagram.
	}
	return os.NewSyscallError("setsockopt UDP_GRO", err)
}

// receive waits for messages and returns how many came. It returns 0 messages
// and the errno where the network reported an error about datagrams sent. An
// error says that the socket is closed or its deadline has passed.
func (in *inbox) receive() (count int, errno syscall.Errno, err error) {
	for i := range in.messages {
		in.prepare(i)
	}
	in.received, in.errno = 0, 0
	err = in.socket.Read(in.attempt)
	return in.received, in.errno, err
}

func (in *inbox) prepare(i int) {
	vector, control, header := &in.vectors[i], &in.controls[i], &in.messages[i].header
	vector.Base = unsafe.SliceData(in.buffers[i])
	vector.SetLen(len(in.buffers[i]))
	*header = unix.Msghdr{Iov: vector, Control: unsafe.SliceData(control.bytes())}
	header.SetIovlen(1)
	header.SetControllen(len(control.bytes()))
}

// message returns message i of the last receive: one or more ESP packets of size
// bytes each, the last of which may be shorter, and their outer traffic class.
func (in *inbox) message(i int) (payload []byte, size int, class byte) {
	message, control := &in.messages[i], in.controls[i].bytes()
	payload = in.buffers[i][:message.length]
	size, class = readControls(control[:min(int(message.header.Controllen), len(control))])
	if in.headed {
		payload = withoutHeader(payload)
	}
	if size == 0 {
		size = len(payload)
	}
	return payload, size, class
}

func (in *inbox) recvmmsg(fd uintptr) (done bool) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd,
		uintptr(unsafe.Pointer(&in.messages)), receiveBatch, 0, 0, 0)
	switch errno {
	case 0:
		in.received = int(n)
	case unix.EAGAIN:
		return false
	case unix.EINTR: // Nothing was received; the caller comes again.
	default:
		in.errno = errno
	}
	return true
}
