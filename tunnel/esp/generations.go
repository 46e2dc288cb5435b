package esp

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tunnelmark/tunnel"
)

// Timing of generations.
const (
	// leastAge is how old a generation is before this end leaves it. It is by how much
	// a packet may come late and still be opened.
	leastAge = askAge / 2
	// askAge is how old one is before this end asks for the next, whatever it has
	// carried: older than leastAge, because the peer may have moved to it later.
	askAge = tunnel.LeastRekeyTime
	// askAgain is after what time without an answer the question is repeated.
	askAgain = 100 * time.Millisecond
	// rest is for how long there is nothing to do where nothing happens.
	rest = time.Hour
)

// generations are the SA pairs of one end, of which each replaces the one before
// without losing a packet. There is no IKE: both ends know the keys and SPIs of all
// generations (series.go), so they only have to agree when to move on:
//
//  1. Each end receives on three generations: the previous, the current, and the next
//     one. It sends on the current one.
//  2. When the current one's lifetime is used up, or on demand, an end sends a
//     question, a dummy packet under the next generation, and again until 3 happens.
//     All else it still sends under the current one.
//  3. An end that authenticates a packet of its next generation moves there, unless the
//     current one is younger than leastAge: the next becomes the current one and the
//     current the previous one. Nothing else moves it.
//  4. It answers a question by a dummy packet under its current generation, unless
//     other packets under it are on their way out, which answer as well.
//
// So a pair is replaced as a whole, within one round trip, and whichever end asks, or
// both do at once. What is lost on the way delays that and does no more. What follows:
//
//   - An end at generation g has seen a packet of g, which its peer sends at g-1 or
//     later: the ends are never more than one generation apart, none is ever skipped,
//     and what an end sends under g its peer can open, being at g-1, g, or g+1.
//   - The peer drops g only when it moves to g+2. For that it needs a packet of g+2
//     from this end, which left g by then and was at g+1 for leastAge, before which it
//     neither asks nor moves. So a packet under g is opened if it comes no more than
//     leastAge later than the fastest packet would have.
//   - A peer that knows nothing of this discards the questions and notices nothing.
//
// Lifetimes are soft (RFC 4301, Section 4.4.2.1): where the peer does not answer, an end
// goes on under the keys that it has, until their sequence numbers are used up.
//
// Without keys there is nothing to replace, and anybody could forge a question: such
// generations stay at the first.
//
// Only questions can find a peer that does not know their SPI yet: where the answer to
// its own question was lost, and it is asked before it has repeated it.
//
// Memory is bounded: five SAs. One goroutine at a time is at heard; all else may run
// beside everything.
type generations struct {
	lifetime  tunnel.Lifetime // Complete.
	out, in   *series
	selectors selectors
	window    int // In packets.
	clock     func() time.Time
	keyed     bool // There are keys to replace.

	receiving atomic.Pointer[inbounds] // What it points at does not change.
	wake      chan struct{}            // Says that attend has something new to do.

	mu       sync.Mutex // Guards what follows, and the numbers of the outbound SAs.
	number   uint64     // Of the current generation.
	sending  *outbound
	next     *outbound
	bytes    uint64        // Of inner packets under the current generation.
	began    time.Time     // When this end moved to it.
	asked    time.Time     // When this end asked for the next one last; zero is not yet.
	demanded bool          // The next one is wanted before the lifetime is used up.
	woken    bool          // The lifetime was found to be used up.
	owed     bool          // The peer wants an answer.
	moved    chan struct{} // Closed when this end moves.
}

// inbounds are the SAs on which this end receives.
type inbounds struct {
	previous *inbound // nil is none yet.
	current  *inbound
	next     *inbound
}

// newGenerations makes the first generation and its next. Limits of the lifetime that
// are 0 are tunnel.MostRekeyPackets and tunnel.MostRekeyBytes.
func newGenerations(out, in *series, s selectors, window int, l tunnel.Lifetime, clock func() time.Time) (*generations, error) {
	g := &generations{
		lifetime: complete(l), out: out, in: in, selectors: s, window: window, clock: clock, keyed: out.secret != nil,
		wake: make(chan struct{}, 1), moved: make(chan struct{}), began: clock(),
	}
	var err error
	if g.sending, err = g.newOutbound(); err != nil {
		return nil, err
	}
	if g.next, err = g.newOutbound(); err != nil {
		return nil, err
	}
	first, err := g.newInbound()
	if err != nil {
		return nil, err
	}
	second, err := g.newInbound()
	g.receiving.Store(&inbounds{current: first, next: second})
	return g, err
}

func complete(l tunnel.Lifetime) tunnel.Lifetime {
	if l.Packets == 0 {
		l.Packets = tunnel.MostRekeyPackets
	}
	if l.Bytes == 0 {
		l.Bytes = tunnel.MostRekeyBytes
	}
	return l
}

func (g *generations) newOutbound() (*outbound, error) {
	t, spi, err := g.out.next()
	if err != nil {
		return nil, fmt.Errorf("make SA to send on: %w", err)
	}
	return newOutbound(spi, t), nil
}

func (g *generations) newInbound() (*inbound, error) {
	t, spi, err := g.in.next()
	if err != nil {
		return nil, fmt.Errorf("make SA to receive on: %w", err)
	}
	return newInbound(spi, t, g.selectors, g.window), nil
}

// reserve takes sequence numbers of the current generation for count packets, of that
// many bytes of inner packets together, as outbound.reserve does. They are to leave
// before any that is reserved later; sent is to be called then.
func (g *generations) reserve(count, bytes int) (sa *outbound, first uint64, granted int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first, granted = g.sending.reserve(count)
	g.sending.leaving++
	g.bytes += uint64(bytes)
	if !g.woken && g.usedUpLocked() {
		g.woken = true
		g.signal()
	}
	return g.sending, first, granted
}

func (g *generations) usedUpLocked() bool {
	return g.bytes >= g.lifetime.Bytes || g.sending.sequence >= g.lifetime.Packets
}

// sent is told that the packets of one reserve have left.
func (g *generations) sent(sa *outbound) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sa.leaving--
}

// find returns the SA whose SPI a datagram has. It returns the current one where that
// is none, which then says what is wrong with the datagram.
func (g *generations) find(datagram []byte) *inbound {
	in := g.receiving.Load()
	if len(datagram) < headerLength {
		return in.current
	}
	switch spi := binary.BigEndian.Uint32(datagram); {
	case spi == in.next.spi:
		return in.next
	case in.previous != nil && spi == in.previous.spi:
		return in.previous
	}
	return in.current
}

// heard is told of every authentic packet: by which SA it came, and whether it was a
// question.
func (g *generations) heard(in *inbound, question bool) {
	if g.keyed && (question || in == g.receiving.Load().next) {
		g.follow(in, question)
	}
}

func (g *generations) follow(in *inbound, question bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if in == g.receiving.Load().next && g.clock().Sub(g.began) >= leastAge {
		g.moveLocked()
	}
	if question && in == g.receiving.Load().current {
		g.owed = true
		g.signal()
	}
}

// moveLocked goes to the next generation and makes the one after it.
func (g *generations) moveLocked() {
	out, outErr := g.newOutbound()
	in, inErr := g.newInbound()
	if outErr != nil || inErr != nil {
		// Of the same suite two were made when the tunnel was opened.
		panic(fmt.Sprintf("internal error: replace SAs: %v, %v", outErr, inErr))
	}
	before := g.receiving.Load()
	g.receiving.Store(&inbounds{previous: before.current, current: before.next, next: in})
	g.sending, g.next = g.next, out
	g.number++
	g.began, g.asked = g.clock(), time.Time{}
	g.bytes, g.demanded, g.woken, g.owed = 0, false, false, false
	close(g.moved)
	g.moved = make(chan struct{})
	g.signal() // Another time is now the next at which there is something to do.
}

// demand asks for the next generation now, and returns what is closed once this end
// has moved there.
func (g *generations) demand() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.demanded = true
	g.signal()
	return g.moved
}

func (g *generations) signal() {
	select {
	case g.wake <- struct{}{}:
	default: // It is awake, or was told already.
	}
}

// attend sends the dummy packets that are due, and returns after what time it wants to
// be called again; sooner where wake says so. They leave before anything can be
// reserved, so that nothing with a later number overtakes them.
func (g *generations) attend(send func(dummies [][]byte)) (again time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	dummies, again := g.pollLocked()
	if len(dummies) > 0 {
		send(dummies)
	}
	return again
}

func (g *generations) pollLocked() (dummies [][]byte, again time.Duration) {
	now := g.clock()
	if g.owed && g.sending.leaving == 0 {
		dummies = g.sending.appendDummy(dummies, answer)
	}
	g.owed = false
	again = g.dueLocked(now).Sub(now)
	if again <= 0 {
		dummies = g.next.appendDummy(dummies, question)
		g.asked, again = now, askAgain
	}
	return dummies, again
}

// dueLocked is when this end will ask for the next generation.
func (g *generations) dueLocked(now time.Time) time.Time {
	due := now.Add(rest)
	if !g.keyed {
		return due
	}
	if g.lifetime.Time > 0 {
		due = g.began.Add(g.lifetime.Time)
	}
	if g.demanded || g.usedUpLocked() {
		due = now
	}
	return latest(due, g.began.Add(askAge), g.asked.Add(askAgain))
}

func latest(times ...time.Time) time.Time {
	last := times[0]
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// count is how often this end has moved.
func (g *generations) count() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.number
}
