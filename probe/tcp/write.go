package tcp

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The pace of a flow is kept by two: the writer hands over a chunk whenever its
// time has come by the clock, so that the mean is exact and nothing is queued when
// the load ends; and TCP spaces the segments of a chunk (SO_MAX_PACING_RATE, whose
// bytes are payload), a little faster so that the chunk is gone in time. Alone, TCP
// was up to 1 % slow at 2 Gbit/s, and sends its first ten segments at once.
const (
	chunkTime = 2 * time.Millisecond
	paceAhead = 1.03
)

// chunk is how much a paced flow hands over at once: whole segments, two at
// least, but no more than the load's writes.
func (l Load) chunk(mss int) int {
	if !l.paced() {
		return l.write()
	}
	mss = max(1, mss)
	paced := int(l.GoodputBitsPerSecond / 8 * chunkTime.Seconds())
	return min(max(paced/mss, 2)*mss, l.write())
}

// writer puts the load into one flow.
type writer struct {
	conn    *net.TCPConn
	flow    int
	payload payload
	put     outlet
	chunk   int
	began   time.Time
	until   <-chan struct{} // Ends the load.
	quit    <-chan struct{} // Ends the trial.
	written *atomic.Uint64
}

// run writes until the load is over, which the connection's write deadline says,
// or all of it is written and its time is over, or until or quit is closed.
func (w *writer) run() error {
	limit := w.payload.load.limit()
	for written := uint64(0); w.await(written) && written < limit; {
		place := w.payload.place(w.flow, written)
		size := min(w.chunk, len(w.payload.bytes)-place)
		n, err := w.put(place, int(min(uint64(size), limit-written)))
		written += uint64(n)
		w.written.Store(written)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return err
		}
		if w.payload.load.Flows > 1 {
			runtime.Gosched() // A flow that never has to wait would keep the others waiting.
		}
	}
	return w.conn.CloseWrite()
}

// await returns when the byte after so many is due, and says whether to go on.
func (w *writer) await(written uint64) bool {
	load := w.payload.load
	if !load.paced() {
		return true
	}
	due := time.Duration(float64(written) * 8e9 / load.GoodputBitsPerSecond)
	wait := time.NewTimer(time.Until(w.began.Add(due)))
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-w.until:
		return false
	case <-w.quit:
		return false
	}
}

// outlet hands n bytes of the payload from a place on to a flow, and says how many
// were taken. It waits for the rest until the connection's write deadline.
type outlet func(place, n int) (int, error)

// copying lets the kernel copy the payload.
func copying(conn *net.TCPConn, p payload) outlet {
	return func(place, n int) (int, error) { return conn.Write(p.bytes[place : place+n]) }
}

// lending lets the kernel send the file's own pages.
func lending(raw syscall.RawConn, file *os.File) outlet {
	from := int(file.Fd())
	return func(place, n int) (int, error) {
		offset, end := int64(place), int64(place+n)
		var failure error
		err := raw.Write(func(fd uintptr) bool {
			for offset < end && failure == nil {
				n, err := unix.Sendfile(int(fd), from, &offset, int(end-offset))
				switch {
				case errors.Is(err, unix.EAGAIN):
					return false
				case errors.Is(err, unix.EINTR):
				case err == nil && n == 0:
					failure = io.ErrUnexpectedEOF
				default:
					failure = err
				}
			}
			return true
		})
		return int(offset) - place, errors.Join(err, failure)
	}
}
