package pmtu

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"time"

	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// end is what both ends of a search are made of.
type end struct {
	*socket
	options Options
	start   time.Time  // Zero of this end's clock.
	nonce   wire.Nonce // This end's.
	// peer is the other end's nonce, the zero nonce until it has said hello.
	peer wire.Nonce
	// padding is random, so that nothing on the way compresses it, and enough for the
	// largest packet.
	padding []byte
}

func newEnd(conn *net.UDPConn, o Options) (*end, error) {
	o, err := o.filled(familyOf(conn))
	if err != nil {
		return nil, err
	}
	s, err := newSocket(conn)
	if err != nil {
		return nil, err
	}
	e := &end{socket: s, options: o, start: time.Now(), nonce: wire.NewNonce(), padding: make([]byte, sockets.MaxInner)}
	_, _ = rand.Read(e.padding) // Never fails (crypto/rand).
	return e, nil
}

func (e *end) now() time.Duration { return time.Since(e.start) }

// greeted says whether the other end has said hello.
func (e *end) greeted() bool { return e.peer != (wire.Nonce{}) }

// listen hands the next datagram of the trial to handle, with the longest fragment that
// it came in, if one comes until then.
func (e *end) listen(ctx context.Context, until time.Duration, handle func(t wire.Type, b []byte, fragment int)) error {
	_ = e.conn.SetReadDeadline(e.start.Add(until)) // Fails only when closed; so will reading.
	if err := ctx.Err(); err != nil {
		return err
	}
	b, fragment, err := e.read()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	if err == nil { // Other errors are the deadline, and what ICMP said.
		if h, err := wire.ParseHeader(b); err == nil && h.Trial == e.options.Trial {
			handle(h.Type, b, fragment)
		}
	}
	return ctx.Err()
}

// openSized reads the SIZED b if the other end made it, and it has the size that it says.
func (e *end) openSized(b []byte) (wire.Sized, bool) {
	m, err := wire.OpenSized(b, e.options.Key)
	return m, err == nil && m.Echo == e.nonce && int(m.InnerSize) == len(b)+e.family.headers
}
