package esp

import (
	"errors"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// receiveBatch is how many messages one recvmmsg takes. With UDP_GRO each
	// may hold many datagrams.
	receiveBatch = 8
	// receiveBuffer is the longest message that UDP_GRO makes, in bytes.
	receiveBuffer = 65535
)

// groControl is the control message that carries UDP_GRO (udp(7)).
type groControl struct {
	header unix.Cmsghdr
	size   int32
	_      [4]byte
}

// inbox receives datagrams, a batch with one system call. One goroutine uses
// it; it allocates nothing after newInbox.
type inbox struct {
	socket   syscall.RawConn
	buffers  [][]byte
	vectors  [receiveBatch]unix.Iovec
	controls [receiveBatch]groControl
	messages [receiveBatch]message

	// Results of attempt, which is made once, as in outbox.
	attempt  func(fd uintptr) bool
	received int
	errno    syscall.Errno
}

func newInbox(socket *net.UDPConn) (*inbox, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	in := &inbox{socket: raw, buffers: newBuffers(receiveBatch, receiveBuffer)}
	in.attempt = in.recvmmsg
	var option error
	err = raw.Control(func(fd uintptr) {
		option = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1)
	})
	if errors.Is(option, unix.ENOPROTOOPT) {
		option = nil // Linux before 5.0: each message is one datagram.
	}
	return in, errors.Join(err, option)
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
	*header = unix.Msghdr{Iov: vector, Control: (*byte)(unsafe.Pointer(control))}
	header.SetIovlen(1)
	header.SetControllen(int(unsafe.Sizeof(*control)))
}

// message returns message i of the last receive: one or more datagrams of size
// bytes each, the last of which may be shorter.
func (in *inbox) message(i int) (payload []byte, size int) {
	message, control := &in.messages[i], &in.controls[i]
	payload = in.buffers[i][:message.length]
	if int(message.header.Controllen) >= unix.CmsgLen(4) &&
		control.header.Level == unix.SOL_UDP && control.header.Type == unix.UDP_GRO && control.size > 0 {
		return payload, int(control.size)
	}
	return payload, len(payload)
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
