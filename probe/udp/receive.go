package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// Measured in November 2026 on two busy cores, a datagram was read 17 to 89 us
// (median) and up to 70 ms after the kernel had stamped it: more than three
// windows. So arrival times are the kernel's.

// nap is how long the receiver rests after a batch, so that the next one is
// worth a system call. It does not where there was more than a batch to read: without
// UDP_GRO, trains came faster than it read them, and 40 to 76 % found the socket full.
const nap = 50 * time.Microsecond

// Receive counts the load that Send offers to conns, and returns when the sender has
// said in every lane that it is over. There is one of conns for each lane; Receive
// takes them over and closes them, but not those of a trial that it refuses. Where the
// load is one flow, its may be connected; several come from any ports of trial.Peer.
// trial and load must be the sender's.
//
// The windows of one lane begin and end with packets (probe.WindowCount). Those of
// several begin and end every 20 ms, which all lanes share, and their counts are
// right to within a burst of each lane.
//
// progress, if not nil, is called at multiples of trial.ProgressEvery since the first
// packet came, from another goroutine, but never after Receive has returned.
//
// Errors come with what was counted until then: probe.ErrNoHello when the sender's
// hello did not come in a lane, probe.ErrPeerSilent when its end did not, or ctx's
// error. The first of them ends all lanes.
func Receive(ctx context.Context, conns []*net.UDPConn, trial Trial, load probe.Load, progress func(probe.Progress)) (probe.Received, error) {
	if err := checkInlets(conns, trial, load); err != nil {
		return probe.Received{}, err
	}
	in, err := newIntake(conns, trial, load, progress)
	defer in.close()
	if err != nil {
		return probe.Received{}, err
	}
	runErr := in.run(ctx)
	got, err := in.result()
	if err := errors.Join(runErr, err); err != nil {
		return got, fmt.Errorf("receive the load: %w", err)
	}
	return got, nil
}

// checkInlets expects a socket for each lane that takes all its flows, and nothing
// but them.
func checkInlets(conns []*net.UDPConn, trial Trial, load probe.Load) error {
	if want := load.LaneCount(); len(conns) != want {
		return fmt.Errorf("take the sockets: they are %d, for %d lanes", len(conns), want)
	}
	for _, conn := range conns {
		if err := checkTrial(sockets.Headers(conn), trial, load); err != nil {
			return err
		}
		connected := conn.RemoteAddr() != nil
		switch {
		case !connected && !trial.Peer.IsValid():
			return fmt.Errorf("take the socket at %s: it is not connected to a peer, and the trial names none", conn.LocalAddr())
		case connected && load.FlowCount() > 1:
			return fmt.Errorf("take the socket at %s: it is connected to one port, but %d flows come from as many", conn.LocalAddr(), load.Flows)
		}
	}
	return nil
}

// intake is the receiving end of one trial: all its lanes.
type intake struct {
	lanes    []*receiver
	origin   *origin
	start    time.Time // Zero of the receivers' clock.
	progress *reporter // Nil until the first packet has come.
}

func newIntake(conns []*net.UDPConn, trial Trial, load probe.Load, progress func(probe.Progress)) (*intake, error) {
	in := &intake{origin: &origin{}, start: time.Now()}
	in.origin.begin = func() {
		in.progress = report(in.start.Add(in.origin.at), progress, trial.progressEvery(), in.standing)
	}
	for lane, conn := range conns {
		r, err := newReceiver(conn, trial, load, lane, in)
		if err != nil {
			return in, err
		}
		in.lanes = append(in.lanes, r)
	}
	return in, nil
}

func (in *intake) close() {
	for _, r := range in.lanes {
		_ = r.conn.Close() // All of it was read.
	}
}

// run receives in every lane until its trial is over, one of them fails, or ctx ends.
func (in *intake) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	conns := make([]*plain, len(in.lanes))
	for i, r := range in.lanes {
		conns[i] = r.conn
	}
	defer sockets.InterruptOn(ctx, conns...)()
	for _, r := range in.lanes {
		group.Go(func() error { return r.run(ctx) })
	}
	err := group.Wait()
	if in.progress != nil {
		in.progress.close()
	}
	return err
}

// standing is what the lanes have published last, together.
func (in *intake) standing() probe.Progress {
	p := probe.Progress{Elapsed: time.Since(in.start) - in.origin.at}
	for _, r := range in.lanes {
		p.Received += r.published.packets.Load()
		p.ReceivedInnerBytes += r.published.bytes.Load()
		p.Lost += r.published.lost.Load()
	}
	return p
}

// result is what the lanes have counted, and an error where it is not known what
// their sockets dropped.
func (in *intake) result() (probe.Received, error) {
	lanes := make([]*counts, len(in.lanes))
	var malformed, drops uint64
	var errs []error
	for i, r := range in.lanes {
		lanes[i] = r.reception.counts
		malformed += r.reception.malformed
		after, err := socketDrops(r.conn.fd)
		drops += uint64(after - r.drops) // Modulo 2^32, like the counter.
		errs = append(errs, err)
	}
	got := result(lanes)
	got.Malformed, got.SocketDrops = malformed, drops
	return got, errors.Join(errs...)
}

// receiver is the receiving end of one lane.
type receiver struct {
	conn      *plain
	peer      netip.Addr // The only one heard; not valid where conn is connected.
	start     time.Time  // Zero of the receiver's clock.
	drops     uint32     // Of the socket, before the trial.
	arrival   arrivalClock
	batch     *batchReader
	reception *reception
	deadline  time.Duration // The socket's, by the receiver's clock.
	// published is the count as of the last batch, for the progress of all lanes.
	published struct{ packets, bytes, lost atomic.Uint64 }
}

func newReceiver(opened *net.UDPConn, trial Trial, load probe.Load, lane int, in *intake) (*receiver, error) {
	if err := prepareReceiver(opened, load, !trial.NoGRO); err != nil {
		return nil, err
	}
	conn, err := takeOver(opened)
	if err != nil {
		return nil, err
	}
	drops, err := socketDrops(conn.fd)
	if err := errors.Join(err, conn.readable()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	r := &receiver{conn: conn, start: in.start, drops: drops, batch: newBatchReader(conn, load.LaneCount())}
	answer := func(_ netip.AddrPort, b []byte) {
		_, _ = conn.Write(b) // All that it answers is repeated; one may fail.
	}
	if !conn.isConnected() {
		r.peer = trial.Peer.Unmap()
		answer = func(to netip.AddrPort, b []byte) { _ = conn.writeTo(b, to) }
	}
	r.reception = newReception(trial, load, lane, conn.headers, in.origin, wire.NewNonce(), r.look(), answer)
	return r, nil
}

// run receives until the lane's trial is over or ctx ends.
func (r *receiver) run(ctx context.Context) error {
	for r.reception.phase != over {
		r.arm()
		if err := ctx.Err(); err != nil {
			return err
		}
		n, more := r.batch.read()
		// Errors are the deadline, which tick sees to, and ICMP errors of what was
		// answered, which reading clears.
		r.reception.tick(r.take(n))
		if n > 0 && !more {
			rest()
		}
	}
	return r.reception.err()
}

// arm makes reading end when the reception has something to do.
func (r *receiver) arm() {
	if next := r.reception.next(); next != r.deadline {
		r.deadline = next
		_ = r.conn.SetReadDeadline(r.start.Add(next)) // Fails only when closed; so will reading.
	}
}

// look reads the clocks.
func (r *receiver) look() (now time.Duration) {
	read := time.Now()
	now = read.Sub(r.start)
	r.arrival.Look(read.UnixNano(), now)
	return now
}

// take hands the n messages of a batch to the reception, datagram by datagram.
func (r *receiver) take(n int) (now time.Duration) {
	now = r.look()
	for i := range n {
		data, segment, stamp := r.batch.message(i)
		source := r.batch.source(i)
		if source.Addr() != r.peer {
			r.reception.malformed++ // A stranger's; it is not answered.
			continue
		}
		r.reception.source = source
		at := r.arrival.arrived(stamp, now)
		for segment > 0 && len(data) > segment {
			r.reception.handle(data[:segment], at)
			data = data[segment:]
		}
		r.reception.handle(data, at)
	}
	r.publish()
	return now
}

func (r *receiver) publish() {
	c := r.reception.counts
	r.published.packets.Store(c.packets)
	r.published.bytes.Store(c.bytes)
	r.published.lost.Store(c.lost())
}

// rest naps; a signal may end it early.
func rest() {
	ts := unix.NsecToTimespec(int64(nap))
	_ = unix.Nanosleep(&ts, nil)
}
