package udp

import (
	"fmt"
	"sync/atomic"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// listener hears the receiver's feedback of a lane from its hello on. Its
// goroutine ends when close interrupts its reading, or the peer falls silent.
type listener struct {
	lane    *lane
	ended   func() error                  // Of the context of Send.
	told    atomic.Pointer[wire.Feedback] // The newest; none comes twice.
	heard   atomic.Int64                  // When it came, by the sender's clock.
	final   chan struct{}                 // Closed by the final feedback.
	closing chan struct{}
	done    chan struct{}
}

// listen begins to listen; the caller must close the listener. The peer's hello
// counts as heard.
func listen(l *lane, ended func() error) *listener {
	n := &listener{
		lane: l, ended: ended,
		final: make(chan struct{}), closing: make(chan struct{}), done: make(chan struct{}),
	}
	n.heard.Store(int64(l.clock.Now()))
	n.told.Store(&wire.Feedback{})
	go n.run()
	return n
}

// stop says why the sender must not go on.
func (n *listener) stop(now time.Duration) error {
	if err := n.ended(); err != nil {
		return err
	}
	return n.silence(now)
}

// silence is an error when the peer has not been heard for too long.
func (n *listener) silence(now time.Duration) error {
	if now-time.Duration(n.heard.Load()) < silenceLimit {
		return nil
	}
	return fmt.Errorf("%w: no feedback for %v", probe.ErrPeerSilent, silenceLimit)
}

func (n *listener) run() {
	defer close(n.done)
	var b [wire.FeedbackSize + 1]byte
	for n.armed() {
		size, err := n.lane.flows[0].conn.Read(b[:])
		if err == nil {
			n.handle(b[:size])
		}
	}
}

// armed makes reading end when the silence has lasted too long, and says whether
// to go on.
func (n *listener) armed() bool {
	left := time.Duration(n.heard.Load()) + silenceLimit - n.lane.clock.Now()
	_ = n.lane.flows[0].conn.SetReadDeadline(time.Now().Add(left)) // Fails only when closed; so will Read.
	select {
	case <-n.closing: // Comes before or after the deadline just set; see sockets.InterruptOn.
		return false
	default:
		return n.stop(n.lane.clock.Now()) == nil
	}
}

func (n *listener) handle(b []byte) {
	f, err := wire.OpenFeedback(b, n.lane.trial.Key)
	fresh := err == nil && n.lane.owns(&f.Header) && f.Echo == n.lane.nonce && f.Sequence > n.told.Load().Sequence
	if !fresh {
		return
	}
	n.told.Store(&f)
	n.heard.Store(int64(n.lane.clock.Now()))
	if f.Final {
		n.finish()
	}
}

func (n *listener) finish() {
	select {
	case <-n.final:
	default:
		close(n.final)
	}
}

// close ends the listening and waits for it.
func (n *listener) close() {
	close(n.closing)
	_ = n.lane.flows[0].conn.SetReadDeadline(sockets.LongAgo())
	<-n.done
}
