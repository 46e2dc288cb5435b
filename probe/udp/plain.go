package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/sockets"
)

// plain is a UDP socket that is not in the epoll set of Go's runtime. The kernel wakes
// who polls that set for each packet that comes or that has left: on a veth pair that
// took a third to half of a sender's time. Load is sent and counted by threads that
// look by themselves, so nobody needs it.
//
// One goroutine reads, and may be interrupted by SetReadDeadline; others may write.
// Close comes after all of them.
type plain struct {
	fd            int
	ipv4          bool
	headers       int            // What a packet has before a datagram's payload, in bytes.
	local, remote netip.AddrPort // Remote is not valid where it is not connected.
	bell          *bell          // Nil where nobody reads.
}

// takeOver makes conn's socket a plain one; conn is closed.
func takeOver(conn *net.UDPConn) (*plain, error) {
	defer conn.Close()
	p := &plain{
		ipv4: sockets.IsIPv4(conn), headers: sockets.Headers(conn),
		local: conn.LocalAddr().(*net.UDPAddr).AddrPort(),
	}
	if remote, ok := conn.RemoteAddr().(*net.UDPAddr); ok {
		p.remote = remote.AddrPort()
	}
	if err := sockets.Control(conn, func(fd int) (err error) {
		p.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return err
	}); err != nil {
		return nil, fmt.Errorf("take the trial's socket: %w", err)
	}
	return p, nil
}

// readable must be called before reading, once: of thousands of flows few are read.
func (p *plain) readable() (err error) {
	p.bell, err = newBell(p.fd)
	return err
}

func (p *plain) isConnected() bool { return p.remote.IsValid() }

// SetReadDeadline makes reading end with os.ErrDeadlineExceeded.
func (p *plain) SetReadDeadline(t time.Time) error { return p.bell.file.SetReadDeadline(t) }

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
func (p *plain) wait() error { return p.bell.wait() }

// Write sends b to the peer, if there is room for it now.
func (p *plain) Write(b []byte) (int, error) {
	return unix.SendmsgN(p.fd, b, nil, nil, unix.MSG_DONTWAIT)
}

// writeTo sends b to an address, if there is room for it now.
func (p *plain) writeTo(b []byte, to netip.AddrPort) error {
	if p.ipv4 {
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
	if p.bell != nil {
		err = errors.Join(err, p.bell.file.Close())
	}
	return err
}

// bell rings once when a socket can be read, and only for who waits. It is an epoll
// set of one socket that the runtime's set holds: the goroutine that waits takes no
// thread, and no processor that the tunnel needs.
type bell struct {
	file  *os.File
	raw   syscall.RawConn
	fd    int
	heard func(epoll uintptr) bool // As a field, so that waiting does not allocate.
	armed bool
	err   error
}

func newBell(fd int) (*bell, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch the trial's socket: %w", err)
	}
	// The runtime polls only what does not block.
	err = errors.Join(unix.SetNonblock(epoll, true), unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{}))
	b := &bell{file: os.NewFile(uintptr(epoll), "epoll"), fd: fd}
	b.heard = b.listen
	if err == nil {
		b.raw, err = b.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch the trial's socket: %w", err), b.file.Close())
	}
	return b, nil
}

// wait returns when the socket can be read, or an error at the file's deadline.
func (b *bell) wait() error {
	b.armed = false
	if err := b.raw.Read(b.heard); err != nil {
		return err
	}
	return b.err
}

// listen arms the bell when it is called first, and says whether it has rung: also
// before, since an error of the socket rings it unarmed.
func (b *bell) listen(epoll uintptr) bool {
	if !b.armed {
		b.armed = true
		once := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
		if b.err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, b.fd, &once); b.err != nil {
			return true
		}
	}
	var rung [1]unix.EpollEvent
	n, err := unix.EpollWait(int(epoll), rung[:], 0)
	return n > 0 || err != nil && err != unix.EINTR
}
