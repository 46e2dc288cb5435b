package lab

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// frameBatch is how many frames one system call may send.
const frameBatch = 64

// frameSender sends whole Ethernet frames by an interface, in batches.
type frameSender struct {
	socket   int
	messages [frameBatch]message
	vectors  [frameBatch]unix.Iovec
	count    int
	refused  uint64
}

// message is struct mmsghdr of sendmmsg(2).
type message struct {
	header unix.Msghdr
	_      uint32 // Its length once sent.
}

// openSender opens one on an interface of the calling thread's namespace. What is
// sent passes the interface's egress programs and queue.
func openSender(index int) (*frameSender, error) {
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	s := &frameSender{socket: socket}
	if err := s.start(index); err != nil {
		return nil, errors.Join(err, s.close())
	}
	for i := range s.messages {
		s.messages[i].header.Iov = &s.vectors[i]
		s.messages[i].header.SetIovlen(1)
	}
	return s, nil
}

func (s *frameSender) start(index int) error {
	// A shaper's queue is to drop, and not to hold this process back.
	if err := unix.SetsockoptInt(s.socket, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, math.MaxInt32/2); err != nil {
		return fmt.Errorf("enlarge buffer of packet socket: %w", err)
	}
	// A socket of protocol 0 hears nothing. The kernel finds out by itself what it
	// sends (net/packet/af_packet.c, packet_parse_headers).
	if err := unix.Bind(s.socket, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	return nil
}

// room is how many frames more the batch can hold.
func (s *frameSender) room() int { return frameBatch - s.count }

// add puts a frame into the batch. It must stay as it is until flush.
func (s *frameSender) add(frame []byte) {
	s.vectors[s.count].Base = &frame[0]
	s.vectors[s.count].SetLen(len(frame))
	s.count++
}

// flush sends the batch. A frame that is refused is dropped, as a wire would: by a
// shaper whose queue is full, or by a receiver that is busy, which both count it.
func (s *frameSender) flush() {
	for sent := 0; sent < s.count; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.socket),
			uintptr(unsafe.Pointer(&s.messages[sent])), uintptr(s.count-sent), 0, 0, 0)
		if errno != 0 {
			n = 0
		}
		if sent += int(n); sent < s.count {
			s.refused++
			sent++
		}
	}
	s.count = 0
}

func (s *frameSender) close() error { return unix.Close(s.socket) }
