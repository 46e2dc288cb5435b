package latency

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

const (
	// stamping asks for the kernel's stamps: of a packet's arrival, and of when it
	// enters its device's queue, which needs nothing of the device's driver. The latter
	// come through the error queue with a count of the socket's packets instead of the
	// packet (Documentation/networking/timestamping.rst, sections 1.3.1 to 1.3.4).
	stamping = unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE |
		unix.SOF_TIMESTAMPING_TX_SCHED | unix.SOF_TIMESTAMPING_OPT_TSONLY
	counting = unix.SOF_TIMESTAMPING_OPT_ID

	// receiveBuffer outlasts an end that is off the CPU for a second at 1000 pings a
	// second: a small datagram takes about 1 KiB in the kernel.
	receiveBuffer = 4 << 20

	// controlSize holds a message's three stamps (16 + 3 x 16 bytes) and what an error
	// queue adds: 16 + 16 bytes of error, and an address of up to 28.
	controlSize = 256
)

// socket is a connected UDP socket with the kernel's stamps. Its closures are made
// once, so that reading and writing do not allocate. Neither waits.
type socket struct {
	conn *net.UDPConn
	raw  syscall.RawConn

	received, failed message // What came, and the error queue's head.
	pending          bool    // received has been read by wait.
	outgoing         []byte
	errno            syscall.Errno // Of the last write.

	await          func(fd uintptr) bool
	poll, transmit func(fd uintptr)
	pollErrors     func(fd uintptr)
}

// newSocket prepares conn for datagrams of size bytes.
func newSocket(conn *net.UDPConn, size int, dscp uint8) (*socket, error) {
	if err := prepare(conn, dscp); err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, raw: raw}
	s.received.init(size + 1) // A longer one is seen to be so.
	s.failed.init(1)
	s.await = func(fd uintptr) bool {
		s.pending = s.received.read(fd, 0)
		return s.received.errno != unix.EAGAIN && s.received.errno != unix.EINTR
	}
	s.poll = func(fd uintptr) { s.pending = s.received.read(fd, unix.MSG_DONTWAIT) }
	s.pollErrors = func(fd uintptr) { s.failed.read(fd, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT) }
	s.transmit = s.trySend
	return s, nil
}

// payload is the length of every PING and PONG on conn, in bytes.
func (o Options) payload(conn *net.UDPConn) (int, error) {
	if err := sockets.CheckConnected(conn); err != nil {
		return 0, err
	}
	mtu, err := sockets.PathMTU(conn)
	if err != nil {
		return 0, fmt.Errorf("take the socket at %s: %w", conn.LocalAddr(), err)
	}
	headers := sockets.Headers(conn)
	if least := headers + wire.PongSize; o.InnerSize < least || o.InnerSize > mtu {
		return 0, fmt.Errorf("take the latency probe: inner size is %d bytes, the path takes %d to %d", o.InnerSize, least, mtu)
	}
	return o.InnerSize - headers, nil
}

// prepare sets conn's options. Without stamps the probe still works, with the clocks
// of user space.
func prepare(conn *net.UDPConn, dscp uint8) error {
	return sockets.Control(conn, func(fd int) error {
		_ = countFromZero(fd)
		return errors.Join(sockets.SetDontFragment(fd), sockets.SetDSCP(fd, dscp), sockets.SetReceiveBuffer(fd, receiveBuffer))
	})
}

// countFromZero asks for stamps, and has the packets counted from the next one on.
func countFromZero(fd int) error {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamping)
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamping|counting)
}

// wait returns when there is a datagram or, with an error, at the read deadline.
func (s *socket) wait() error {
	if s.pending {
		return nil
	}
	return s.raw.Read(s.await)
}

// read returns the next datagram, valid until the next read, and the kernel's stamp of
// its arrival, by CLOCK_REALTIME in ns since 1970 (zero: none).
func (s *socket) read() (b []byte, stamp int64, ok bool) {
	for range 2 { // The first may find an ICMP error, and clears it.
		if !s.pending {
			_ = s.raw.Control(s.poll) // Fails only when closed.
		}
		if s.pending {
			s.pending = false
			stamp, _ = s.received.stamp()
			return s.received.bytes(), stamp, true
		}
		if s.received.errno == unix.EAGAIN {
			break
		}
	}
	return nil, 0, false
}

// departure returns the next stamp of a departure, and how many packets the socket had
// sent before since the count was last reset.
func (s *socket) departure() (count uint32, stamp int64, ok bool) {
	_ = s.raw.Control(s.pollErrors) // Fails only when closed.
	if s.failed.errno != 0 {
		return 0, 0, false
	}
	stamp, count = s.failed.stamp()
	return count, stamp, true
}

// resetCount makes the kernel count the packets that are sent from now on from zero.
func (s *socket) resetCount() {
	_ = sockets.Control(s.conn, countFromZero)
}

// write sends b, or returns why the local stack does not take it now.
func (s *socket) write(b []byte) error {
	s.outgoing = b
	for range 2 { // The first may find an ICMP error of an earlier packet, and clears it.
		if err := s.raw.Control(s.transmit); err != nil {
			return err
		}
		if s.errno == 0 {
			return nil
		}
	}
	return s.errno
}

func (s *socket) trySend(fd uintptr) {
	_, _, s.errno = syscall.Syscall6(unix.SYS_SENDTO, fd,
		uintptr(unsafe.Pointer(&s.outgoing[0])), uintptr(len(s.outgoing)), unix.MSG_DONTWAIT, 0, 0)
}

// message is room for one datagram and what the kernel says beside it.
type message struct {
	header  unix.Msghdr
	iov     unix.Iovec
	data    []byte
	control [controlSize]byte
	length  int
	errno   syscall.Errno
}

func (m *message) init(size int) {
	m.data = make([]byte, size)
	m.iov.Base = &m.data[0]
	m.iov.SetLen(size)
	m.header.Iov = &m.iov
	m.header.SetIovlen(1)
	m.header.Control = &m.control[0]
}

// read receives one message, if there is one.
func (m *message) read(fd uintptr, flags int) bool {
	m.header.SetControllen(controlSize) // The kernel sets it to what it used.
	n, _, errno := syscall.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&m.header)), uintptr(flags))
	m.length, m.errno = int(n), errno
	return errno == 0
}

func (m *message) bytes() []byte { return m.data[:m.length] }

// stamp is the software stamp beside the message and, in an error queue, the count of
// the packet that it is of.
func (m *message) stamp() (stamp int64, count uint32) {
	return parseControl(m.control[:min(m.header.Controllen, controlSize)])
}

// parseControl reads what the kernel says beside a message (cmsg(3)).
func parseControl(b []byte) (stamp int64, count uint32) {
	for len(b) >= unix.SizeofCmsghdr {
		h, body, rest, err := unix.ParseOneSocketControlMessage(b)
		switch {
		case err != nil:
			return stamp, count
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPING && len(body) >= int(unsafe.Sizeof(unix.ScmTimestamping{})):
			stamp = (*unix.ScmTimestamping)(unsafe.Pointer(&body[0])).Ts[0].Nano()
		case isError(h) && len(body) >= int(unsafe.Sizeof(unix.SockExtendedErr{})):
			count = binary.NativeEndian.Uint32(body[unsafe.Offsetof(unix.SockExtendedErr{}.Data):])
		}
		b = rest
	}
	return stamp, count
}

func isError(h unix.Cmsghdr) bool {
	return h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR || h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR
}
