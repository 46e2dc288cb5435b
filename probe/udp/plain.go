package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/sockets"
)

// plain is a UDP socket that Go's runtime does not poll. A socket that it does is in an
// epoll set, and the kernel then wakes the polling thread for each packet that comes
// or that has left: on a veth pair that took a third to half of a sender's time. Load
// is sent and counted by threads that look by themselves, so nobody needs it.
//
// One goroutine reads, and may be interrupted by SetReadDeadline; others may write.
// Close comes after all of them.
type plain struct {
	fd            int
	local, remote netip.AddrPort // Remote is not valid where it is not connected.
	deadline      atomic.Int64   // Of reading, in ns since 1970; zero: none.
}

// slice is for how long reading waits at most before it looks at its deadline again.
const slice = 10 * time.Millisecond

// takeOver makes conn's socket a plain one; conn is closed.
func takeOver(conn *net.UDPConn) (*plain, error) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("take the trial's socket: %w", err)
	}
	p := &plain{local: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	if remote, ok := conn.RemoteAddr().(*net.UDPAddr); ok {
		p.remote = remote.AddrPort()
	}
	var failed error
	err = raw.Control(func(fd uintptr) { p.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("take the trial's socket: %w", err)
	}
	return p, nil
}

func (p *plain) isIPv4() bool { return p.local.Addr().Unmap().Is4() }

// headers is what a packet has before a datagram's payload, in bytes.
func (p *plain) headers() int {
	if p.isIPv4() {
		return sockets.IPv4Header + sockets.UDPHeader
	}
	return sockets.IPv6Header + sockets.UDPHeader
}

func (p *plain) isConnected() bool { return p.remote.IsValid() }

// SetReadDeadline makes reading end with os.ErrDeadlineExceeded, within 10 ms.
func (p *plain) SetReadDeadline(t time.Time) error {
	at := int64(0)
	if !t.IsZero() {
		at = t.UnixNano()
	}
	p.deadline.Store(at)
	return nil
}

// SetDeadline is that of reading; writing never waits.
func (p *plain) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// Read waits for a datagram.
func (p *plain) Read(b []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(p.fd, b, unix.MSG_DONTWAIT)
		if err != unix.EAGAIN && err != unix.EINTR {
			return max(n, 0), err
		}
		if err := p.wait(); err != nil {
			return 0, err
		}
	}
}

// wait returns when there may be something to read, or an error at the deadline.
func (p *plain) wait() error {
	patience := slice
	if at := p.deadline.Load(); at != 0 {
		left := time.Until(time.Unix(0, at))
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		patience = min(patience, left)
	}
	wanted := [1]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	timeout := unix.NsecToTimespec(int64(patience))
	_, err := unix.Ppoll(wanted[:], &timeout, nil)
	if err == unix.EINTR {
		return nil
	}
	return err
}

// Write sends b to the peer, if there is room for it now.
func (p *plain) Write(b []byte) (int, error) {
	return unix.SendmsgN(p.fd, b, nil, nil, unix.MSG_DONTWAIT)
}

// writeTo sends b to an address, if there is room for it now.
func (p *plain) writeTo(b []byte, to netip.AddrPort) error {
	if p.isIPv4() {
		return unix.Sendto(p.fd, b, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()})
	}
	return unix.Sendto(p.fd, b, unix.MSG_DONTWAIT, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
}

// Close may be called again.
func (p *plain) Close() error {
	if p.fd < 0 {
		return nil
	}
	err := unix.Close(p.fd)
	p.fd = -1
	return err
}
