package esp

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel/offload"
)

// tunReader reads packets from the clear side. One goroutine at a time uses it; it
// allocates nothing after newTUNReader.
type tunReader struct {
	device *port

	// Arguments and results of attempt, which is made once, as in outbox.
	attempt func(fd uintptr) bool
	into    []byte
	wait    bool
	length  int
	errno   syscall.Errno
}

func newTUNReader(device *port) *tunReader {
	r := &tunReader{device: device}
	r.attempt = r.read
	return r
}

// next reads one packet or super-packet behind its header (package offload). Where
// none is there it waits for one, or returns 0 at once. An error says that the
// device is closed or its deadline has passed, or what the kernel refused.
func (r *tunReader) next(into []byte, wait bool) (length int, err error) {
	r.into, r.wait, r.length, r.errno = into, wait, 0, 0
	if err := r.device.Read(r.attempt); err != nil {
		return 0, err
	}
	if r.errno != 0 {
		return 0, r.errno
	}
	return r.length, nil
}

func (r *tunReader) read(fd uintptr) (done bool) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(r.into))), uintptr(len(r.into)))
	switch errno {
	case 0:
		r.length = int(n)
	case unix.EAGAIN:
		return !r.wait
	case unix.EINTR: // Nothing was read; the caller comes again.
	default:
		r.errno = errno
	}
	return true
}

// tunWriter writes packets to the clear side. One goroutine at a time uses it; it
// allocates nothing after newTUNWriter.
type tunWriter struct {
	device  *port
	vectors [offload.MostParts]unix.Iovec

	attempt func(fd uintptr) bool
	count   int
	errno   syscall.Errno
}

func newTUNWriter(device *port) *tunWriter {
	w := &tunWriter{device: device}
	w.attempt = w.write
	return w
}

// put writes one packet or super-packet, whose parts begin with its header.
func (w *tunWriter) put(parts [][]byte) error {
	w.count, w.errno = len(parts), 0
	for i, part := range parts {
		w.vectors[i].Base = unsafe.SliceData(part)
		w.vectors[i].SetLen(len(part))
	}
	if err := w.device.Write(w.attempt); err != nil {
		return err
	}
	if w.errno != 0 {
		return w.errno
	}
	return nil
}

func (w *tunWriter) write(fd uintptr) (done bool) {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.vectors)), uintptr(w.count))
		if errno == unix.EINTR {
			continue
		}
		w.errno = errno
		return errno != unix.EAGAIN
	}
}
