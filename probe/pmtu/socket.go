package pmtu

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/sockets"
)

// family has what differs between the two versions of IP.
type family struct {
	least   int // The size from which is searched, in bytes.
	headers int // Of IP and UDP, in bytes.
	// level, errors and fragments tell what the kernel says beside a datagram.
	level, errors, fragments int
	options                  []sockets.Option
}

// Unlike sockets.SetDontFragment, PMTUDISC_PROBE sends what the kernel, which believes
// ICMP, takes for too large.
var (
	familyIPv4 = &family{
		least: leastIPv4, headers: sockets.IPv4Header + sockets.UDPHeader,
		level: unix.IPPROTO_IP, errors: unix.IP_RECVERR, fragments: unix.IP_RECVFRAGSIZE,
		options: []sockets.Option{
			{Name: "IP_MTU_DISCOVER", Level: unix.IPPROTO_IP, Which: unix.IP_MTU_DISCOVER, Value: unix.IP_PMTUDISC_PROBE},
			{Name: "IP_RECVERR", Level: unix.IPPROTO_IP, Which: unix.IP_RECVERR, Value: 1},
			{Name: "IP_RECVFRAGSIZE", Level: unix.IPPROTO_IP, Which: unix.IP_RECVFRAGSIZE, Value: 1},
		},
	}
	familyIPv6 = &family{
		least: leastIPv6, headers: sockets.IPv6Header + sockets.UDPHeader,
		level: unix.IPPROTO_IPV6, errors: unix.IPV6_RECVERR, fragments: unix.IPV6_RECVFRAGSIZE,
		options: []sockets.Option{
			{Name: "IPV6_MTU_DISCOVER", Level: unix.IPPROTO_IPV6, Which: unix.IPV6_MTU_DISCOVER, Value: unix.IPV6_PMTUDISC_PROBE},
			{Name: "IPV6_RECVERR", Level: unix.IPPROTO_IPV6, Which: unix.IPV6_RECVERR, Value: 1},
			{Name: "IPV6_RECVFRAGSIZE", Level: unix.IPPROTO_IPV6, Which: unix.IPV6_RECVFRAGSIZE, Value: 1},
		},
	}
)

func familyOf(conn *net.UDPConn) *family {
	if sockets.IsIPv4(conn) {
		return familyIPv4
	}
	return familyIPv6
}

// socket is one end's. It sends every datagram with DF, whatever the kernel has heard
// about the path, and keeps what ICMP says.
type socket struct {
	conn    *net.UDPConn
	family  *family
	buffer  []byte
	control []byte // For what the kernel says beside a datagram.
	// said is the least MTU that ICMP told, saidBy who did.
	said   int
	saidBy netip.Addr
	// refused is the interface's MTU, if that was why the last datagram did not
	// leave.
	refused int
}

// newSocket takes conn, which stays as it was prepared.
func newSocket(conn *net.UDPConn) (*socket, error) {
	if err := sockets.CheckConnected(conn); err != nil {
		return nil, err
	}
	s := &socket{conn: conn, family: familyOf(conn), buffer: make([]byte, sockets.MaxInner), control: make([]byte, 512)}
	return s, sockets.Control(conn, func(fd int) error { return sockets.Set(fd, s.family.options...) })
}

// write sends b. Where the own interface takes no packet of that size, limit is its
// MTU, in bytes.
//
// A device that drops it, as a veth does where its peer's MTU is smaller (ENOBUFS), is
// a part of the path. An error of an earlier datagram, which ICMP told, comes up here too; looking at the
// queue of errors clears it.
func (s *socket) write(b []byte) (limit int, err error) {
	for range 3 {
		s.refused = 0
		if _, err = s.conn.Write(b); err == nil || errors.Is(err, unix.ENOBUFS) {
			return 0, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return 0, err
		}
		s.hearErrors()
		if s.refused > 0 {
			return s.refused, nil
		}
	}
	return 0, err
}

// read waits for a datagram until the deadline of the socket. fragment is the longest
// fragment that it came in, in bytes; zero where it came whole.
func (s *socket) read() (b []byte, fragment int, err error) {
	n, control, _, _, err := s.conn.ReadMsgUDPAddrPort(s.buffer, s.control)
	if err == nil {
		b, fragment = s.buffer[:n], s.fragment(s.control[:control])
	}
	s.hearErrors() // Overwrites s.control.
	return b, fragment, err
}

func (s *socket) fragment(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if int(m.Header.Level) == s.family.level && int(m.Header.Type) == s.family.fragments && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return 0
}

// hearErrors empties the socket's queue of errors, which takes as many as fit its
// receive buffer.
func (s *socket) hearErrors() {
	const most = 1000 // More than search and peer can cause.
	_ = sockets.Control(s.conn, func(fd int) error {
		for range most {
			var b [1]byte
			_, n, _, _, err := unix.Recvmsg(fd, b[:], s.control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return nil // There are no more.
			}
			s.hear(s.control[:n])
		}
		return nil
	})
}

// hear takes down one error.
func (s *socket) hear(control []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return
	}
	for _, m := range messages {
		if int(m.Header.Level) != s.family.level || int(m.Header.Type) != s.family.errors {
			continue
		}
		switch e := parseTooBig(m.Data); {
		case e.mtu <= 0 || e.mtu > sockets.MaxInner:
		case e.local:
			s.refused = e.mtu
		case s.said == 0 || e.mtu < s.said:
			s.said, s.saidBy = e.mtu, e.from
		}
	}
}

// tooBig says that a datagram was larger than mtu, in bytes, which is zero where it
// says something else or an old router named no MTU (RFC 792).
type tooBig struct {
	mtu   int
	local bool // The own interface's.
	from  netip.Addr
}

// parseTooBig reads a struct sock_extended_err and the sockaddr behind it (ip(7),
// IP_RECVERR).
func parseTooBig(b []byte) tooBig {
	const size = 4 + 1 + 1 + 1 + 1 + 4 + 4
	if len(b) < size || binary.NativeEndian.Uint32(b) != uint32(unix.EMSGSIZE) {
		return tooBig{}
	}
	e := tooBig{mtu: int(binary.NativeEndian.Uint32(b[8:])), from: parseAddress(b[size:])}
	switch b[4] {
	case unix.SO_EE_ORIGIN_LOCAL:
		e.local = true
	case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
	default:
		return tooBig{}
	}
	return e
}

// parseAddress reads the address of a struct sockaddr_in or sockaddr_in6.
func parseAddress(b []byte) netip.Addr {
	if len(b) < 2 {
		return netip.Addr{}
	}
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET && len(b) >= 2+2+4:
		return netip.AddrFrom4([4]byte(b[4:8]))
	case family == unix.AF_INET6 && len(b) >= 2+2+4+16:
		return netip.AddrFrom16([16]byte(b[8:24]))
	}
	return netip.Addr{}
}

// cachedMTU is what the kernel takes for the path's MTU; zero where it does not say.
func (s *socket) cachedMTU() int {
	mtu, _ := sockets.PathMTU(s.conn)
	return mtu
}
