package lab

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// early is how long before they are due packets may leave, and how long before
	// that the process wakes: timers are about as late.
	early = 40 * time.Microsecond
	// nap is how long at least the process sleeps while packets are on their way.
	nap = 2 * early
)

// wanProcess is the WAN in one direction where netem is not. It is a thread that
// ends with the process, and this is its work:
//
//  1. the kernel puts what comes into a ring, and notes when;
//  2. the thread looks through what is new, and decides each packet's fate;
//  3. it sends what is due, straight from the ring, and gives the slots back;
//  4. it sleeps until a packet is due, or until one could be that comes now.
//
// While none is on its way it sleeps until one comes. What is not to be delayed is so
// nevertheless, by the time that a thread takes to wake: some 0.1 ms.
type wanProcess struct {
	ring   *packetRing
	sender *frameSender
	flight *flight
	least  int64 // The shortest time, in ns, that a packet is on its way.
	begin  time.Time

	looked  int64     // When the ring was last looked through, in ns since begin.
	batch   []passage // What the sender's batch holds.
	waiting [2]unix.PollFd
	timeout unix.Timespec

	ending atomic.Bool
	wake   int // An eventfd that ends a sleep.
	ended  chan struct{}
	counts wanCounts
}

// wanCounts is what others may read while the thread works.
type wanCounts struct {
	forwarded, dropped, duplicated, reordered, refused atomic.Uint64
	// Of delays: how many, the sum in ns of what they were more than asked for, and
	// their bounds.
	timed             atomic.Uint64
	excess            atomic.Int64
	shortest, longest atomic.Int64
}

// startWANProcess starts one that takes what an interface hears, which is all that
// goes toward a site, and sends it by the one that leads there. Both are of the
// calling thread's namespace.
func startWANProcess(from, to int, w WAN, direction uint64, mtu int) (*wanProcess, error) {
	geometry := newRingGeometry(w.slots(mtu), mtu)
	p := &wanProcess{
		flight: newFlight(w, direction, geometry.slots()),
		least:  (w.Delay - w.Jitter).Nanoseconds(),
		begin:  time.Now(),
		batch:  make([]passage, 0, frameBatch),
		ended:  make(chan struct{}),
	}
	p.counts.shortest.Store(math.MaxInt64)
	var err error
	if p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("open eventfd: %w", err)
	}
	if p.ring, err = openRing(from, geometry); err != nil {
		return nil, errors.Join(err, unix.Close(p.wake))
	}
	if p.sender, err = openSender(to); err != nil {
		return nil, errors.Join(err, p.ring.close(), unix.Close(p.wake))
	}
	p.waiting = [2]unix.PollFd{{Fd: int32(p.wake), Events: unix.POLLIN}, {Fd: int32(p.ring.socket), Events: unix.POLLIN}}
	go p.run()
	return p, nil
}

// close ends the thread, and drops what is on its way.
func (p *wanProcess) close() error {
	p.ending.Store(true)
	one := [8]byte{1}
	_, err := unix.Write(p.wake, one[:])
	<-p.ended
	return errors.Join(err, p.ring.close(), p.sender.close(), unix.Close(p.wake))
}

// run ends when close says so.
func (p *wanProcess) run() {
	defer close(p.ended)
	// The thread is discarded with the goroutine, and its priority as well.
	runtime.LockOSThread()
	goFirst()
	for !p.ending.Load() {
		p.receive()
		p.send()
		p.sleep()
	}
}

// goFirst puts the calling thread before all that is measured over the WAN, as a
// kernel's timers would be: on a busy host it then wakes within 0.1 ms instead of
// within some. It takes time only where others send. Should the kernel refuse, delays
// are less exact, and say so.
func goFirst() {
	realTime := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	if unix.SchedSetAttr(0, &realTime, 0) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}

func (p *wanProcess) now() int64 { return time.Since(p.begin).Nanoseconds() }

// receive decides about the packets that have come.
func (p *wanProcess) receive() {
	at := time.Now()
	now, wall := at.Sub(p.begin).Nanoseconds(), at.UnixNano()
	for range p.ring.geometry.slots() {
		slot, stamp, found := p.ring.take()
		if !found {
			break
		}
		p.looked = arrival(stamp, wall, now, p.looked)
		if !p.flight.enter(slot, p.looked) {
			p.ring.release(slot)
		}
	}
	p.looked = now
	p.counts.dropped.Store(p.flight.dropped)
}

// arrival is when a packet came that the kernel stamped by the wall clock, which shows
// wall now. It came since the last look, or the packet before, whatever a clock that
// was set meanwhile says.
func arrival(stamp, wall, now, last int64) int64 {
	return min(max(last, now-(wall-stamp)), now)
}

// send lets all leave that is due.
func (p *wanProcess) send() {
	until := p.now() + early.Nanoseconds()
	for {
		passage, found := p.flight.leave(until)
		if !found {
			break
		}
		p.add(passage)
	}
	p.flush()
}

func (p *wanProcess) add(passage passage) {
	frame := p.ring.frame(passage.slot)
	if p.sender.room() < 2 {
		p.flush()
	}
	p.sender.add(frame)
	if passage.twice {
		p.sender.add(frame)
	}
	p.batch = append(p.batch, passage)
}

// flush sends the batch, gives its slots back and counts.
func (p *wanProcess) flush() {
	if len(p.batch) == 0 {
		return
	}
	before := p.now()
	p.sender.flush()
	p.count((before + p.now()) / 2)
	for _, passage := range p.batch {
		p.ring.release(passage.slot)
	}
	p.batch = p.batch[:0]
}

// count counts the batch, which left at about the same time.
func (p *wanProcess) count(left int64) {
	c := &p.counts
	var timed uint64
	var excess int64
	shortest, longest := c.shortest.Load(), c.longest.Load()
	for _, passage := range p.batch {
		if passage.late {
			continue
		}
		delay := left - passage.arrival
		shortest, longest = min(shortest, delay), max(longest, delay)
		excess += delay - p.flight.delay
		timed++
	}
	c.shortest.Store(shortest)
	c.longest.Store(longest)
	c.excess.Add(excess)
	c.timed.Add(timed)
	c.forwarded.Add(uint64(len(p.batch)))
	c.duplicated.Store(p.flight.duplicated)
	c.reordered.Store(p.flight.reordered)
	c.refused.Store(p.sender.refused)
}

// sleep returns when there may be work. A packet that comes meanwhile is found in
// time: its own time on the way has not passed.
func (p *wanProcess) sleep() {
	next := p.flight.next()
	if next == math.MaxInt64 {
		_, _ = unix.Ppoll(p.waiting[:], nil, nil) // Interrupted or not, there may be work.
		return
	}
	now := p.now()
	until := min(next, now+max(p.least, nap.Nanoseconds())) - early.Nanoseconds()
	if until <= now {
		return
	}
	p.timeout = unix.NsecToTimespec(until - now)
	// Not for the ring, which stays ready while its last frame is on its way.
	_, _ = unix.Ppoll(p.waiting[:1], &p.timeout, nil)
}

// read returns what was counted so far.
func (c *wanCounts) read(delay time.Duration) WANCounters {
	read := WANCounters{
		Forwarded: c.forwarded.Load(), Dropped: c.dropped.Load(),
		Duplicated: c.duplicated.Load(), Reordered: c.reordered.Load(),
	}
	if timed := c.timed.Load(); timed > 0 {
		read.Delay = DelayStatistics{
			Packets: timed,
			Mean:    delay + time.Duration(c.excess.Load()/int64(timed)),
			Least:   time.Duration(c.shortest.Load()), Most: time.Duration(c.longest.Load()),
		}
	}
	return read
}
