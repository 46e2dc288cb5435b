package latency

import (
	"context"
	"errors"
	"net"
	"time"

	"tunnelmark/probe/sockets"
)

// party is one end's part of the protocol, without I/O: it is told what happens and
// sends what is due.
type party interface {
	// handle takes one datagram, and when it came.
	handle(b []byte, came moment)
	// departed tells when the message that was sent with the number left.
	departed(number uint64, at time.Duration)
	// next is when tick must be called at the latest.
	next() time.Duration
	// tick does what is due. All that had come by now has been handled.
	tick(now time.Duration)
	// over says that there is nothing more to do.
	over() bool
}

// moment is when a datagram came or left, by an end's own clock, and whether its
// kernel said so.
type moment struct {
	at     time.Duration
	kernel bool
}

// link joins a party with its socket: it carries datagrams and their times.
type link struct {
	socket     *socket
	start      time.Time // Zero of this end's clock.
	clock      sockets.StampClock
	departures departures
	party      party
}

// maxPass bounds how many datagrams one pass takes: more than the socket's buffer
// holds of the probe's own.
const maxPass = 4096

func newLink(conn *net.UDPConn, o Options, size int) (*link, error) {
	s, err := newSocket(conn, size, o.DSCP)
	if err != nil {
		return nil, err
	}
	l := &link{socket: s, start: time.Now()}
	l.look()
	return l, nil
}

// now is the time of this end's clock.
func (l *link) now() time.Duration { return time.Since(l.start) }

func (l *link) look() {
	now := time.Now()
	l.clock.Look(now.UnixNano(), now.Sub(l.start))
}

// run lets the party have its way until it is over or ctx ends.
func (l *link) run(ctx context.Context, p party) error {
	l.party = p
	release := sockets.InterruptOn(ctx, l.socket.conn)
	defer release()
	armed := time.Duration(-1) // None is yet; a party may be due at zero.
	for !p.over() {
		if next := p.next(); next != armed {
			armed = next
			_ = l.socket.conn.SetReadDeadline(l.start.Add(next)) // Fails only when closed; so will waiting.
		}
		// Looked at after the deadline was set; see sockets.InterruptOn.
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.pass(); err != nil {
			return err
		}
		p.tick(l.now())
	}
	return nil
}

// pass waits for a datagram or for the party's next moment, and then takes all that
// there is. So a party that was kept off the CPU sees what came meanwhile before it
// judges what did not.
func (l *link) pass() error {
	// Other errors are the deadline, which tick sees to, and ICMP errors of what was
	// sent, which reading clears.
	if err := l.socket.wait(); errors.Is(err, net.ErrClosed) {
		return err
	}
	l.look()
	l.takeDepartures()
	for range maxPass {
		b, stamp, ok := l.socket.read()
		if !ok {
			break
		}
		now := l.now()
		at, known := l.clock.At(stamp, now)
		if !known {
			at = now
		}
		l.party.handle(b, moment{at: at, kernel: known})
	}
	return nil
}

// send sends b, whose departure the party is told under the number; unnumbered: not.
func (l *link) send(b []byte, number uint64) error {
	before := l.now()
	if err := l.socket.write(b); err != nil {
		// The kernel may have counted it or not: count from zero again.
		l.departures = departures{}
		l.socket.resetCount()
		return err
	}
	l.departures.add(number, before)
	l.takeDepartures()
	return nil
}

// takeDepartures tells the party the stamps that the kernel has made.
func (l *link) takeDepartures() {
	for range maxPass {
		count, stamp, ok := l.socket.departure()
		if !ok {
			return
		}
		at, known := l.clock.At(stamp, l.now())
		if !known {
			continue
		}
		if number, found := l.departures.take(count, at); found {
			l.party.departed(number, at)
		}
	}
}

// unnumbered is of messages whose departure nobody asks for.
const unnumbered = ^uint64(0)

// departures are the messages that were sent last, in the order in which the kernel
// counts them.
type departures struct {
	ring [64]departure
	next uint32
}

type departure struct {
	number uint64
	before time.Duration // Sending began.
}

func (d *departures) add(number uint64, before time.Duration) {
	d.ring[d.next%uint32(len(d.ring))] = departure{number: number, before: before}
	d.next++
}

// take finds the message that left at and that the kernel counted so. A message counted
// before the count was last reset left before the one that has its count now.
func (d *departures) take(count uint32, at time.Duration) (number uint64, found bool) {
	if age := d.next - count; age == 0 || age > uint32(len(d.ring)) {
		return 0, false
	}
	sent := &d.ring[count%uint32(len(d.ring))]
	if at < sent.before || sent.number == unnumbered {
		return 0, false
	}
	number = sent.number
	sent.number = unnumbered // A packet that passes several devices is stamped at each; the first counts.
	return number, true
}
