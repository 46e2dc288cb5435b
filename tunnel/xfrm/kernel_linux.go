package xfrm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// kernel speaks netlink to one namespace, whichever thread calls. It writes its
// own messages where package netlink cannot say what is needed: lifetimes of
// policies and routes, SAs for inner packets of both IP versions.
type kernel struct {
	protocol int // unix.NETLINK_XFRM or unix.NETLINK_ROUTE.
	sockets  map[int]*nl.SocketHandle
}

func openKernel(namespace *tunnel.Namespace, protocol int) (*kernel, error) {
	socket, err := nl.GetNetlinkSocketAt(netns.NsHandle(namespace.FD()), netns.None(), protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	k := &kernel{protocol, map[int]*nl.SocketHandle{protocol: {Socket: socket}}}
	err = errors.Join(
		socket.SetSendTimeout(&nl.SocketTimeoutTv),
		socket.SetReceiveTimeout(&nl.SocketTimeoutTv),
		socket.SetExtAck(true)) // Errors in the kernel's own words.
	if err != nil {
		k.close()
		return nil, fmt.Errorf("prepare netlink socket: %w", err)
	}
	return k, nil
}

func (k *kernel) close() { k.sockets[k.protocol].Close() }

// request sends one message and returns what comes back, of type answer if that
// is not 0. Where the kernel refuses for want of a privilege, the error says which
// and wraps os.ErrPermission.
func (k *kernel) request(kind, flags int, body *message, answer uint16) ([][]byte, error) {
	r := nl.NewNetlinkRequest(kind, flags)
	r.Sockets = k.sockets
	r.AddData(body)
	answers, err := r.Execute(k.protocol, answer)
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w: it takes CAP_NET_ADMIN", err)
	}
	return answers, err
}

// Flags of requests.
const (
	create = unix.NLM_F_CREATE | unix.NLM_F_EXCL | unix.NLM_F_ACK
	act    = unix.NLM_F_ACK
	dump   = unix.NLM_F_DUMP
)

// longestMessage has room for every message of ours, so that none is copied
// while it grows: it may hold a key.
const longestMessage = 2048

// message is the body of a netlink message: a fixed head, then attributes.
type message struct {
	bytes []byte
}

func newMessage(head []byte) *message {
	return &message{append(make([]byte, 0, longestMessage), head...)}
}

// attribute appends one whose value is the concatenation of parts.
func (m *message) attribute(kind int, parts ...[]byte) {
	length := unix.SizeofRtAttr
	for _, part := range parts {
		length += len(part)
	}
	m.bytes = binary.NativeEndian.AppendUint16(m.bytes, uint16(length))
	m.bytes = binary.NativeEndian.AppendUint16(m.bytes, uint16(kind))
	for _, part := range parts {
		m.bytes = append(m.bytes, part...)
	}
	for len(m.bytes)%unix.RTA_ALIGNTO != 0 {
		m.bytes = append(m.bytes, 0)
	}
}

func (m *message) number(kind int, value uint32) { m.attribute(kind, native32(value)) }

// Len and Serialize make it a nl.NetlinkRequestData.
func (m *message) Len() int { return len(m.bytes) }

// Serialize returns the message itself.
func (m *message) Serialize() []byte { return m.bytes }

func native32(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// big32 is v as the kernel keeps what stands in packets: in network byte order.
func big32(v uint32) uint32 {
	return binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, v))
}

func big16(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func kernelAddress(address netip.Addr) (a nl.XfrmAddress) {
	copy(a[:], address.AsSlice())
	return a
}

func family(address netip.Addr) uint16 {
	if address.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func native16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
