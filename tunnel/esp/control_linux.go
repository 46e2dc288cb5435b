package esp

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel/overhead"
)

// sendControl is the room for what one message to send may carry beside packets, in
// this order: how to segment it (udp(7), UDP_SEGMENT) and the traffic class of its
// outer IP header (ip(7), IP_TOS; RFC 3542, Section 6.5).
type sendControl struct {
	segment segmentControl
	class   classControl
}

type segmentControl struct {
	header unix.Cmsghdr
	size   uint16
	_      [6]byte
}

type classControl struct {
	header unix.Cmsghdr
	class  int32
	_      [4]byte
}

// prepare fills in all that stays the same.
func (c *sendControl) prepare(version overhead.IPVersion) {
	c.segment.header.Level, c.segment.header.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	c.segment.header.SetLen(unix.CmsgLen(2))
	c.class.header.Level, c.class.header.Type = classOption(version)
	c.class.header.SetLen(unix.CmsgLen(4))
}

// attach makes a message carry those of both that are not 0.
func (c *sendControl) attach(header *unix.Msghdr, size int, class byte) {
	c.segment.size, c.class.class = uint16(size), int32(class)
	switch {
	case size == 0 && class == 0:
		return
	case size == 0:
		header.Control = (*byte)(unsafe.Pointer(&c.class))
		header.SetControllen(unix.CmsgSpace(4))
	case class == 0:
		header.Control = (*byte)(unsafe.Pointer(c))
		header.SetControllen(unix.CmsgSpace(2))
	default:
		header.Control = (*byte)(unsafe.Pointer(c))
		header.SetControllen(unix.CmsgSpace(2) + unix.CmsgSpace(4))
	}
}

// classOption is the control message by which a traffic class comes and goes.
func classOption(version overhead.IPVersion) (level, option int32) {
	if version == overhead.IPv6 {
		return unix.SOL_IPV6, unix.IPV6_TCLASS
	}
	return unix.SOL_IP, unix.IP_TOS
}

// receiveControl is the room for what comes beside a message: at most UDP_GRO and
// one of the two classes. It is aligned as the kernel aligns control messages.
type receiveControl [(24 + 24) / 8]uint64

func (c *receiveControl) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Sizeof(*c))
}

// readControls walks control messages. size is that of the datagrams which the
// kernel has coalesced into the message (udp(7), UDP_GRO), 0 where it has not said;
// class is the outer traffic class, 0 where it has not said. What is malformed ends
// the walk; each step takes at least a header, which bounds it.
func readControls(data []byte) (size int, class byte) {
	for len(data) >= unix.CmsgLen(0) {
		header, value, rest, err := unix.ParseOneSocketControlMessage(data)
		if err != nil {
			return size, class
		}
		switch {
		case isControl(header, unix.SOL_UDP, unix.UDP_GRO) && len(value) >= 4:
			size = max(0, int(int32(binary.NativeEndian.Uint32(value))))
		case isControl(header, unix.SOL_IP, unix.IP_TOS) && len(value) >= 1: // One byte: ip_cmsg_recv_tos, net/ipv4/ip_sockglue.c.
			class = value[0]
		case isControl(header, unix.SOL_IPV6, unix.IPV6_TCLASS) && len(value) >= 4:
			class = byte(binary.NativeEndian.Uint32(value))
		}
		data = rest
	}
	return size, class
}

func isControl(header unix.Cmsghdr, level, kind int32) bool {
	return header.Level == level && header.Type == kind
}
