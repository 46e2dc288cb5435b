package udp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// Measured in November 2026 on two busy cores, a datagram was read 17 to 89 us
// (median) and up to 70 ms after the kernel had stamped it: more than three
// windows. So arrival times are the kernel's.

// nap is how long the receiver rests after a batch, so that the next one is
// worth a system call.
const nap = 50 * time.Microsecond

// Receive counts the load that Send offers at the other end of conn, and
// returns when the sender has said that it is over. conn must not be used by
// others meanwhile, and be connected where the load is one flow; several come
// from several ports of trial.Peer to one that is not. trial and load must be the
// sender's.
//
// progress, if not nil, is called some ten times a second from another
// goroutine, but never after Receive has returned.
//
// Errors come with what was counted until then: probe.ErrNoHello when the
// sender's hello did not come, probe.ErrPeerSilent when its end did not, or
// ctx's error.
func Receive(ctx context.Context, conn *net.UDPConn, trial Trial, load probe.Load, progress func(probe.Progress)) (probe.Received, error) {
	if err := checkInlet(conn, trial, load); err != nil {
		return probe.Received{}, err
	}
	size, err := payloadSize(conn, trial, load)
	if err != nil {
		return probe.Received{}, err
	}
	if err := prepareReceiver(conn); err != nil {
		return probe.Received{}, err
	}
	release := interruptOn(ctx, conn)
	defer release()
	before, err := socketDrops(conn)
	if err != nil {
		return probe.Received{}, err
	}
	r, err := newReceiver(conn, trial, load, size, progress)
	if err != nil {
		return probe.Received{}, err
	}
	runErr := r.run(ctx)
	r.progress.close()
	got, err := r.reception.result()
	after, dropsErr := socketDrops(conn)
	got.SocketDrops = uint64(after - before) // Modulo 2^32, like the counter.
	if err := errors.Join(firstOf(runErr, err), dropsErr); err != nil {
		return got, fmt.Errorf("receive the load: %w", err)
	}
	return got, nil
}

// checkInlet expects a socket that takes all flows, and nothing but them.
func checkInlet(conn *net.UDPConn, trial Trial, load probe.Load) error {
	connected := conn.RemoteAddr() != nil
	switch {
	case !connected && !trial.Peer.IsValid():
		return fmt.Errorf("take the socket at %s: it is not connected to a peer, and the trial names none", conn.LocalAddr())
	case connected && flowsOf(load) > 1:
		return fmt.Errorf("take the socket at %s: it is connected to one port, but %d flows come from as many", conn.LocalAddr(), load.Flows)
	}
	return nil
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// receiver is the receiving end of one trial.
type receiver struct {
	conn      *net.UDPConn
	peer      netip.Addr // The only one heard; not valid where conn is connected.
	start     time.Time  // Zero of the receiver's clock.
	arrival   arrivalClock
	batch     *batchReader
	reception *reception
	deadline  time.Duration // The socket's, by the receiver's clock.
	progress  *reporter
	reported  time.Duration
}

func newReceiver(conn *net.UDPConn, trial Trial, load probe.Load, size int, progress func(probe.Progress)) (*receiver, error) {
	batch, err := newBatchReader(conn)
	if err != nil {
		return nil, fmt.Errorf("take the trial's socket: %w", err)
	}
	var nonce wire.Nonce
	_, _ = rand.Read(nonce[:]) // Never fails (crypto/rand).
	r := &receiver{conn: conn, start: time.Now(), batch: batch, progress: newReporter(progress)}
	answer := func(_ netip.AddrPort, b []byte) {
		_, _ = conn.Write(b) // All that it answers is repeated; one may fail.
	}
	if conn.RemoteAddr() == nil {
		r.peer = trial.Peer.Unmap()
		answer = func(to netip.AddrPort, b []byte) { _, _ = conn.WriteToUDPAddrPort(b, to) }
	}
	r.reception = newReception(trial, load, size, nonce, 0, answer)
	return r, nil
}

// run receives until the trial is over or ctx ends.
func (r *receiver) run(ctx context.Context) error {
	for r.reception.phase != over {
		r.arm()
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.batch.read()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		// Other errors are the deadline, which tick sees to, and ICMP errors
		// of what was answered, which reading clears.
		now := r.take(n)
		r.reception.tick(now)
		r.report(now)
		if n > 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
			rest()
		}
	}
	return nil
}

// arm makes reading end when the reception has something to do.
func (r *receiver) arm() {
	if next := r.reception.next(); next != r.deadline {
		r.deadline = next
		_ = r.conn.SetReadDeadline(r.start.Add(next)) // Fails only when closed; so will reading.
	}
}

// take hands the n messages of a batch to the reception, datagram by datagram.
func (r *receiver) take(n int) (now time.Duration) {
	read := time.Now()
	now = read.Sub(r.start)
	for i := range n {
		data, segment, stamp := r.batch.message(i)
		source := r.batch.source(i)
		if source.Addr() != r.peer {
			r.reception.malformed++ // A stranger's; it is not answered.
			continue
		}
		r.reception.source = source
		at := r.arrival.at(stamp, read.UnixNano(), now)
		for segment > 0 && len(data) > segment {
			r.reception.handle(data[:segment], at)
			data = data[segment:]
		}
		r.reception.handle(data, at)
	}
	return now
}

func (r *receiver) report(now time.Duration) {
	if now-r.reported < feedbackEvery {
		return
	}
	r.reported = now
	t := r.reception.counts.tracker
	p := probe.Progress{Received: t.packets, Lost: t.lost(t.next)}
	if r.reception.counts.any {
		p.Elapsed = now - r.reception.counts.first
	}
	r.progress.tell(p)
}

// rest naps; a signal may end it early.
func rest() {
	ts := unix.NsecToTimespec(int64(nap))
	_ = unix.Nanosleep(&ts, nil)
}
