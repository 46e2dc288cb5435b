package udp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// maxNap is how long the sender may sleep before it looks whether to stop.
const maxNap = 10 * time.Millisecond

// clock is what pacing needs of time.
type clock interface {
	Now() time.Duration
	SleepUntil(t time.Duration)
}

// trainWriter hands datagrams to the local stack.
type trainWriter interface {
	// write sends data from the socket as datagrams of the lengths. It returns how
	// many the stack took and why it took no more: EAGAIN where the socket is full.
	// It keeps neither.
	write(to *plain, data []byte, lengths []int) (taken int, err error)
	// awaitRoom returns when the socket has room, or after d.
	awaitRoom(to *plain, d time.Duration)
	// segmented says whether the stack has taken several datagrams as one.
	segmented() bool
}

// transmission is a lane's load while it is sent. It is used by one goroutine;
// others may read what is atomic.
//
// Packets have their places in the lane's load, from 0: a place decides a packet's
// size and when it is due. Numbers they have by flow.
type transmission struct {
	clock   clock
	writer  trainWriter
	flows   []flow // They take turns.
	turn    int    // The flow of the next train.
	renewal *renewal
	stop    func(now time.Duration) error // Says why not to go on; nil to go on.
	trial   Trial

	order   *probe.Order
	fixed   bool // All packets have one size.
	headers int  // What a packet has beside its datagram's payload, in bytes.
	train   int  // Packets of a train, at most.
	burst   int  // What is said of it; see batching.
	// data and lengths are the datagrams of a train, one behind the other.
	data    []byte
	lengths []int

	packets    atomic.Uint64 // Sent.
	innerBytes atomic.Uint64
	refused    uint64
	pace       *evenness
}

// newTransmission is of a lane of the load, without its flows and what stops it.
func newTransmission(c clock, trial Trial, load probe.Load, headers int) *transmission {
	most := load.Mix.Most() - headers
	b := batchingOf(load, most)
	t := &transmission{
		clock: c, writer: newSocketWriter(b.train, b.segment), trial: trial,
		order: load.Mix.Order(), fixed: load.Mix.IsFixed(), headers: headers, train: b.train, burst: b.burst,
		data: make([]byte, b.train*most), lengths: make([]int, b.train),
		pace: newEvenness(laneRate(load)/8, float64(b.burst*load.Mix.Most())),
	}
	// Random bytes: a path that compresses must not look faster than it is.
	_, _ = rand.Read(t.data) // Never fails (crypto/rand).
	for i := range t.lengths {
		t.lengths[i] = most
	}
	return t
}

// paced sends the load from start on as s schedules it, and returns how long it
// lasted.
//
// Each moment between two departures is accounted for: either the sender slept
// until the next one was due, or it was busy with the one before.
func (t *transmission) paced(s *schedule, start time.Duration) (elapsed time.Duration, err error) {
	place := uint64(0)
	for n := s.next(place); n > 0 && err == nil; n = s.next(place) {
		now := t.clock.Now()
		if place > 0 {
			s.sent(now - start)
		}
		if err = t.renew(now - start); err != nil {
			break
		}
		var leave time.Duration
		if leave, err = t.await(now, start, place, s); err != nil {
			break
		}
		s.leaves(place, leave-start)
		var sent sending
		sent, err = t.send(place, n, leave)
		t.pace.add(leave-start-s.skipped, sent.innerBytes)
		if sent.waited {
			s.waited(t.clock.Now() - start)
		}
		place += uint64(n)
	}
	// To the end of the last packet's interval.
	return max(s.due(place), t.clock.Now()-start), err
}

// renew lets new flows begin whose time has come.
func (t *transmission) renew(now time.Duration) error {
	if t.renewal == nil {
		return nil
	}
	return t.renewal.exchange(t.flows, now)
}

// await returns when the train that begins with place is due, with the time of its
// departure, or why it must not leave.
func (t *transmission) await(now, start time.Duration, place uint64, s *schedule) (leave time.Duration, err error) {
	due := start + s.departs(place)
	if now >= due {
		return now, t.stop(now)
	}
	for ; due-now > maxNap; now = t.clock.Now() {
		if err := t.stop(now); err != nil {
			return now, err
		}
		t.clock.SleepUntil(now + maxNap)
	}
	t.clock.SleepUntil(due)
	now = t.clock.Now()
	s.woke(place, now-due)
	return now, t.stop(now)
}

// sending is what became of a train.
type sending struct {
	innerBytes uint64
	waited     bool // For room in the socket.
}

// send sends a train of n packets on the flow whose turn it is. What the local stack
// refuses is counted as such, and its sequence numbers go to the flow's next packets.
func (t *transmission) send(place uint64, n int, now time.Duration) (sending, error) {
	f := &t.flows[t.turn]
	t.turn = (t.turn + 1) % len(t.flows)
	data, lengths := t.compose(f, place, n, now)
	taken, waited, err := t.deliver(f.conn, data, lengths)
	s := sending{innerBytes: t.order.Bytes(place+uint64(taken)) - t.order.Bytes(place), waited: waited}
	f.next += uint64(taken)
	t.packets.Add(uint64(taken))
	t.innerBytes.Add(s.innerBytes)
	switch {
	case err == nil:
		return s, nil
	case !refusal(err):
		return s, err
	case errors.Is(err, unix.EMSGSIZE):
		return s, fmt.Errorf("send a datagram of %d bytes: %w", lengths[taken], err)
	}
	t.refused += uint64(n - taken)
	return s, nil
}

// refusal says whether the error is the local stack's.
func refusal(err error) bool {
	var errno unix.Errno
	return errors.As(err, &errno)
}

// compose writes the headers of a flow's next n packets into what is sent.
func (t *transmission) compose(f *flow, place uint64, n int, now time.Duration) (data []byte, lengths []int) {
	lengths = t.lengths[:n]
	if !t.fixed {
		for i := range lengths {
			lengths[i] = t.order.Size(place+uint64(i)) - t.headers
		}
	}
	h := t.trial.header(wire.TypeData, f.number)
	h.SendTime = wire.StampOf(now)
	size := 0
	for i, length := range lengths {
		h.Sequence = f.next + uint64(i)
		h.Put(t.data[size:])
		size += length
	}
	return t.data[:size], lengths
}

// deliver hands datagrams to the stack, and waits while the socket is full.
func (t *transmission) deliver(to *plain, data []byte, lengths []int) (taken int, waited bool, err error) {
	for {
		n, err := t.writer.write(to, data, lengths)
		taken += n
		if !errors.Is(err, unix.EAGAIN) {
			return taken, waited, err
		}
		for _, length := range lengths[:n] {
			data = data[length:]
		}
		lengths, waited = lengths[n:], true
		if err := t.stop(t.clock.Now()); err != nil {
			return taken, waited, err
		}
		t.writer.awaitRoom(to, maxNap)
	}
}

// counts is what has been sent so far.
func (t *transmission) counts() probe.Sent {
	return probe.Sent{
		Packets: t.packets.Load(), InnerBytes: t.innerBytes.Load(), Refused: t.refused,
		Burst: t.burst, Segmented: t.writer.segmented(),
	}
}
