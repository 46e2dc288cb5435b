package udp

import (
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
	// writeTrain sends b as datagrams of size bytes each. It returns how many
	// the stack took, why it took no more, and whether it made the sender
	// wait for room. It does not keep b.
	writeTrain(b []byte, size int) (taken int, waited bool, err error)
}

// transmission is the load while it is sent. It is used by one goroutine;
// others may read sequence.
type transmission struct {
	clock  clock
	flows  []trainWriter                 // They take turns.
	turn   int                           // The flow of the next train.
	stop   func(now time.Duration) error // Says why not to go on; nil to go on.
	trial  Trial
	size   int    // Payload of one datagram, in bytes.
	buffer []byte // One train.

	sequence atomic.Uint64 // Of the next packet: how many were sent.
	refused  uint64
}

// paced sends the load as s schedules it, and returns how long it lasted.
//
// Each moment between two departures is accounted for: either the sender slept
// until the next one was due, or it was busy with the one before.
func (t *transmission) paced(s *schedule) (elapsed time.Duration, err error) {
	start, slot := t.clock.Now(), uint64(0)
	for n := s.next(slot); n > 0; n = s.next(slot) {
		now := t.clock.Now()
		if slot > 0 {
			s.sent(now - start)
		}
		leave, err := t.await(now, start+s.due(slot), s)
		if err != nil {
			return t.lasted(s, start, slot), err
		}
		s.leaves(slot, leave-start)
		waited, err := t.send(n, leave)
		if err != nil {
			return t.lasted(s, start, slot), err
		}
		slot += uint64(n)
		if waited {
			s.waited(t.clock.Now() - start)
		}
	}
	return t.lasted(s, start, slot), nil
}

// lasted is from start to the end of the interval of the last slot.
func (t *transmission) lasted(s *schedule, start time.Duration, slots uint64) time.Duration {
	return max(s.due(slots), t.clock.Now()-start)
}

// await returns when a train is due, with the time of its departure, or why it
// must not leave.
func (t *transmission) await(now, due time.Duration, s *schedule) (leave time.Duration, err error) {
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
	s.woke(now - due)
	return now, t.stop(now)
}

// send sends a train of n packets on the flow whose turn it is. What the local stack refuses is counted as
// such, and its sequence numbers go to the next packets.
func (t *transmission) send(n int, now time.Duration) (waited bool, err error) {
	first := t.sequence.Load()
	h := t.trial.header(wire.TypeData, t.turn)
	h.SendTime = wire.StampOf(now)
	for i := range n {
		h.Sequence = first + uint64(i)
		h.Put(t.buffer[i*t.size:])
	}
	taken, waited, err := t.flows[t.turn].writeTrain(t.buffer[:n*t.size], t.size)
	t.turn = (t.turn + 1) % len(t.flows)
	t.sequence.Store(first + uint64(taken))
	if err == nil {
		return waited, nil
	}
	if stop := t.stop(t.clock.Now()); stop != nil {
		return waited, stop // It is what interrupted the write.
	}
	var errno unix.Errno
	if !errors.As(err, &errno) || errno == unix.EMSGSIZE {
		return waited, fmt.Errorf("send datagrams of %d bytes: %w", t.size, err)
	}
	t.refused += uint64(n - taken)
	return waited, nil
}

// counts is what has been sent so far.
func (t *transmission) counts() probe.Sent {
	return probe.Sent{Packets: t.sequence.Load(), Refused: t.refused, Burst: len(t.buffer) / t.size}
}
