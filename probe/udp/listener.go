package udp

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// listener hears the receiver's feedback while the sender sends. Its goroutine
// ends when close interrupts its reading.
type listener struct {
	sender   *sender
	ended    func() error // Of the context of Send.
	progress *reporter
	told     atomic.Pointer[wire.Feedback] // The newest.
	start    time.Duration
	counter  uint64        // Of the newest feedback; none comes twice.
	heard    atomic.Int64  // When the newest came, by the sender's clock.
	final    chan struct{} // Closed by the final feedback.
	closing  chan struct{}
	done     chan struct{}
}

// listen begins to listen; the caller must close the listener. The peer's hello
// counts as heard.
func listen(s *sender, ended func() error, progress func(probe.Progress)) *listener {
	l := &listener{
		sender: s, ended: ended, start: s.clock.Now(),
		final: make(chan struct{}), closing: make(chan struct{}), done: make(chan struct{}),
	}
	l.heard.Store(int64(l.start))
	l.told.Store(&wire.Feedback{})
	l.progress = report(progress, s.trial.progressEvery(), l.standing)
	go l.run()
	return l
}

// stop says why the sender must not go on.
func (l *listener) stop(now time.Duration) error {
	if err := l.ended(); err != nil {
		return err
	}
	return l.silence(now)
}

// silence is an error when the peer has not been heard for too long.
func (l *listener) silence(now time.Duration) error {
	if now-time.Duration(l.heard.Load()) < silenceLimit {
		return nil
	}
	return fmt.Errorf("%w: no feedback for %v", probe.ErrPeerSilent, silenceLimit)
}

func (l *listener) run() {
	defer close(l.done)
	var b [wire.FeedbackSize + 1]byte
	for l.armed() {
		n, err := l.sender.conns[0].Read(b[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			l.handle(b[:n])
		}
	}
}

// armed sets the deadlines of the sockets: reading and writing end when the
// silence has lasted too long, so that a full socket does not hold the sender.
// It says whether to go on.
func (l *listener) armed() bool {
	left := time.Duration(l.heard.Load()) + silenceLimit - l.sender.clock.Now()
	setDeadlines(l.sender.conns, time.Now().Add(left))
	select {
	case <-l.closing: // Comes before or after the deadline just set; see interruptOn.
		return false
	default:
	}
	if l.stop(l.sender.clock.Now()) != nil {
		for _, conn := range l.sender.conns {
			_ = conn.SetWriteDeadline(longAgo)
		}
		return false
	}
	return true
}

func (l *listener) handle(b []byte) {
	f, err := wire.OpenFeedback(b, l.sender.trial.Key)
	fresh := err == nil && l.sender.trial.owns(f.Header, 1) && f.Echo == l.sender.nonce && f.Sequence > l.counter
	if !fresh {
		return
	}
	now := l.sender.clock.Now()
	l.counter = f.Sequence
	l.heard.Store(int64(now))
	l.told.Store(&f)
	if f.Final {
		l.finish()
	}
}

func (l *listener) standing() probe.Progress {
	f := l.told.Load()
	return probe.Progress{
		Sent: l.sender.out.sequence.Load(), Received: f.Received, Lost: f.Lost, Elapsed: l.sender.clock.Now() - l.start,
	}
}

func (l *listener) finish() {
	select {
	case <-l.final:
	default:
		close(l.final)
	}
}

// close ends the listening and waits for it.
func (l *listener) close() {
	close(l.closing)
	_ = l.sender.conns[0].SetReadDeadline(longAgo)
	<-l.done
	l.progress.close()
}
