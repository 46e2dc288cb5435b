package esp

import (
	"sync"
	"sync/atomic"
	"time"

	"tunnelmark/tunnel/overhead"
)

// ceiling is the largest inner packet that the outer interface takes now. Open has
// seen that it takes the tunnel's MTU, but somebody may lower the interface's later.
// What is longer then is refused before it is sealed, while it can still be quoted to
// its sender. Its methods may be called from several goroutines at once.
//
// The ceiling is looked up when the outer socket refuses a packet for its length, and
// again when a packet exceeds it, so that it rises soon after somebody tries. How soon
// senders try is their kernel's to say (net.ipv4.route.mtu_expires).
type ceiling struct {
	added overhead.Encapsulation
	full  int                              // The tunnel's MTU.
	ask   func() (overhead.PathMTU, error) // What the outer interface takes.
	most  atomic.Int64                     // Inner length, in bytes.

	mu     sync.Mutex // Guards what follows.
	looked time.Time
	budget bucket // Of answers.
}

func newCeiling(added overhead.Encapsulation, mtu int, ask func() (overhead.PathMTU, error)) *ceiling {
	c := &ceiling{added: added, full: mtu, ask: ask}
	c.most.Store(int64(mtu))
	return c
}

// takes says whether an inner packet of that length passes. It costs a comparison.
func (c *ceiling) takes(length int) bool { return int64(length) <= c.most.Load() }

// look is for after the outer socket has refused a packet for its length. Where the
// interface cannot be asked, the ceiling stays.
func (c *ceiling) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= betweenLooks {
		c.looked = now
		if path, err := c.ask(); err == nil {
			c.most.Store(int64(min(c.full, int(c.added.TunnelMTU(path)))))
		}
	}
}

// answer is for an inner packet that the ceiling does not take: it writes to into
// what its sender is to be told (answerTooLong), and returns 0 where that is nothing,
// or too much was told of late. Or it says that the packet passes after all.
func (c *ceiling) answer(into, packet []byte) (length int, passes bool) {
	c.look()
	if c.takes(len(packet)) {
		return 0, true
	}
	length = answerTooLong(into, packet, int(c.most.Load()))
	if length > 0 && !c.mayAnswer() {
		length = 0
	}
	return length, false
}

func (c *ceiling) mayAnswer() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.budget.take(time.Now())
}

// Implementation: each look asks the kernel by netlink, while nothing is sent, and
// each answer makes it work. One answer serves all flows between two addresses.
const (
	betweenLooks     = 100 * time.Millisecond
	answersPerSecond = 10
	mostAnswers      = 10
)

// bucket limits a rate (RFC 1812, Section 4.3.2.8; RFC 4443, Section 2.4 (f)): a
// token bucket, full at first.
type bucket struct {
	spent float64 // Tokens that have not come back.
	last  time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.spent = max(0, b.spent-now.Sub(b.last).Seconds()*answersPerSecond)
	b.last = now
	if b.spent+1 > mostAnswers {
		return false
	}
	b.spent++
	return true
}
