package tcp

import (
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How much is read at once, at most: by flows that share a buffer which nobody
// writes to, and by those with one each.
const (
	discardSize = 1 << 20
	verifySize  = 256 << 10
)

// inFlow is one flow at the receiver's end.
type inFlow struct {
	number   int
	conn     *net.TCPConn
	raw      syscall.RawConn
	received atomic.Uint64 // Bytes.
	last     time.Time     // When the last of them, or the flow's end, came.
	flags    int           // Of each read.
}

// newInFlow takes a flow to read. With discard nothing is written where it is read
// to: the kernel only counts (tcp(7), MSG_TRUNC), at 1.3 times the speed.
func newInFlow(number int, conn *net.TCPConn, discard bool) (*inFlow, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	f := &inFlow{number: number, conn: conn, raw: raw}
	if discard {
		f.flags = unix.MSG_TRUNC
	}
	return f, nil
}

// take reads the flow to its end into b, and tells taken what came and when.
func (f *inFlow) take(b []byte, taken func(b []byte, at time.Time) error) error {
	read := f.reader(b)
	for {
		n, err := read()
		if err != nil {
			return err
		}
		f.last = time.Now()
		if n == 0 {
			return nil
		}
		if err := taken(b[:n], f.last); err != nil {
			return err
		}
		f.received.Add(uint64(n))
	}
}

// reader returns a function that reads into b what there is, and waits for it;
// nothing is the flow's end. Waiting in the runtime's poller was as fast as a
// blocked thread for each flow. Between two reads the flow can be closed.
func (f *inFlow) reader(b []byte) func() (int, error) {
	var n int
	var errno syscall.Errno
	once := func(fd uintptr) bool {
		for {
			n, errno = receive(fd, b, f.flags)
			if errno != unix.EINTR {
				return errno != unix.EAGAIN
			}
		}
	}
	return func() (int, error) {
		if err := f.raw.Read(once); err != nil {
			return 0, fmt.Errorf("read: %w", err)
		}
		if errno != 0 {
			return 0, fmt.Errorf("read: %w", errno)
		}
		return n, nil
	}
}

func receive(fd uintptr, b []byte, flags int) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags), 0, 0)
	return int(n), errno
}

// awaitReset returns when the sender has reset the connection, whose end has been
// read, or at the time at the latest.
func (f *inFlow) awaitReset(until time.Time) {
	_ = f.conn.SetReadDeadline(until) // Fails only when closed; so will reading.
	var info unix.TCPInfo
	// A reset makes the socket ready to read once more.
	_ = f.raw.Read(func(fd uintptr) bool {
		return readInfo(int(fd), &info) != nil || info.State == unix.BPF_TCP_CLOSE
	})
}
