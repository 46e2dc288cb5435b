package esp

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// port is a descriptor that packets pass through, the TUN device's or the outer
// socket's. It is not in the epoll set of Go's runtime: the kernel would wake who polls
// that set for each packet that comes, and for each that has left, while the workers
// look by themselves. Who finds nothing waits for a bell.
//
// One goroutine at a time reads; writes wait for one another.
type port struct {
	fd       int // Does not block.
	in       *bell
	stopping atomic.Bool

	writing sync.Mutex
	out     *bell
}

// newPort takes ownership of a descriptor.
func newPort(fd int) (*port, error) {
	in, err := newBell(fd, unix.EPOLLIN)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	out, err := newBell(fd, unix.EPOLLOUT)
	if err != nil {
		return nil, errors.Join(err, in.file.Close(), unix.Close(fd))
	}
	return &port{fd: fd, in: in, out: out}, nil
}

// portOf makes a port of a socket, with a descriptor of its own. The runtime's set
// has the socket for as long as that is open.
func portOf(socket syscall.Conn) (*port, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var own int
	var duplicate error
	err = raw.Control(func(fd uintptr) { own, duplicate = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = os.NewSyscallError("fcntl", duplicate)
	}
	if err != nil {
		return nil, err
	}
	return newPort(own)
}

// Read calls f, which says whether it is done, until it is, and waits in between. As
// in syscall.RawConn.
func (p *port) Read(f func(fd uintptr) (done bool)) error {
	for !p.stopping.Load() {
		if f(uintptr(p.fd)) {
			return nil
		}
		if err := p.in.wait(); err != nil {
			return err
		}
	}
	return os.ErrDeadlineExceeded
}

// Write is to writing what Read is to reading.
func (p *port) Write(f func(fd uintptr) (done bool)) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	for !f(uintptr(p.fd)) {
		if err := p.out.wait(); err != nil {
			return err
		}
	}
	return nil
}

// stop makes Read end with os.ErrDeadlineExceeded, and Write where it still waits
// after the grace.
func (p *port) stop(grace time.Duration) error {
	p.stopping.Store(true)
	now := time.Now()
	return errors.Join(p.in.file.SetReadDeadline(now), p.out.file.SetReadDeadline(now.Add(grace)))
}

// Close comes when nobody reads or writes any more. A second one does nothing: the
// number may be another's by then.
func (p *port) Close() error {
	if p.fd < 0 {
		return nil
	}
	err := errors.Join(p.in.file.Close(), p.out.file.Close(), os.NewSyscallError("close", unix.Close(p.fd)))
	p.fd = -1
	return err
}

// bell rings once when a descriptor is ready, and only for who waits: an epoll set of
// one descriptor, armed once for each time, which is in the runtime's own set. So the
// goroutine that waits holds neither a thread nor one of the runtime's processors,
// which others of the process need.
type bell struct {
	file   *os.File
	epoll  syscall.RawConn
	fd     int
	events uint32
	heard  func(epoll uintptr) bool // As a field, so that waiting does not allocate.
	event  unix.EpollEvent
	armed  bool
	err    error
}

func newBell(fd int, events uint32) (*bell, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch a descriptor: %w", err)
	}
	// The runtime polls only what does not block.
	err = errors.Join(unix.SetNonblock(epoll, true), unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{}))
	b := &bell{file: os.NewFile(uintptr(epoll), "epoll"), fd: fd, events: events | unix.EPOLLONESHOT}
	b.heard = b.listen
	if err == nil {
		err = b.file.SetReadDeadline(time.Time{}) // Refused where the runtime does not poll it.
	}
	if err == nil {
		b.epoll, err = b.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch a descriptor: %w", err), b.file.Close())
	}
	return b, nil
}

// wait returns when the descriptor may be ready, or an error at the file's deadline.
func (b *bell) wait() error {
	b.armed, b.err = false, nil
	if err := b.epoll.Read(b.heard); err != nil {
		return err
	}
	return b.err
}

// listen arms the bell when it is called first, and says whether it has rung: an error
// of the descriptor has rung it before it is armed for the first time. Its system calls
// do not wait, and go past the runtime: one that is told of them wakes its monitor,
// which then looks every 20 us.
func (b *bell) listen(epoll uintptr) bool {
	if !b.armed {
		b.armed = true
		b.event.Events = b.events
		_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, epoll, unix.EPOLL_CTL_MOD, uintptr(b.fd), uintptr(unsafe.Pointer(&b.event)), 0, 0)
		if errno != 0 {
			b.err = errno
			return true
		}
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(&b.event)), 1, 0, 0, 0)
	if errno == unix.EINTR {
		return false
	}
	if errno != 0 {
		b.err = errno
	}
	return n > 0
}
