package tcp

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

const (
	// greetWithin is how long a connection may take to say who it is.
	greetWithin = 2 * time.Second
	// maxStrangers is how many connections beyond the trial's flows may be about
	// to say so.
	maxStrangers = 16
)

// gate lets the trial's flows in, and nothing else.
type gate struct {
	trial Trial
	allIn context.CancelFunc // Called when the last flow is in.

	mu        sync.Mutex     // Guards what follows.
	nonce     wire.Nonce     // The sender's, of the first flow that came in: all must have it.
	flows     []*net.TCPConn // By their numbers; nil until they are in.
	missing   int
	strangers uint64
}

func newGate(trial Trial, load Load) *gate {
	return &gate{trial: trial, flows: make([]*net.TCPConn, load.Flows), missing: load.Flows}
}

// admit accepts connections until all flows are in. All others are closed then, and
// on an error all are.
func (g *gate) admit(ctx context.Context, listener *net.TCPListener) error {
	within, cancel := context.WithTimeout(ctx, g.trial.helloWithin())
	defer cancel()
	missing, allIn := context.WithCancel(within)
	defer allIn()
	g.allIn = allIn
	err := g.accept(missing, listener)
	if g.missing == 0 {
		return nil
	}
	g.resetAll()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case within.Err() != nil:
		return fmt.Errorf("%w within %v: %d of %d flows did not come, %d other connections did",
			probe.ErrNoHello, g.trial.helloWithin(), g.missing, len(g.flows), g.strangers)
	}
	return fmt.Errorf("accept a flow: %w", err)
}

// accept takes connections until ctx ends, and returns when it knows of each whose
// it is.
func (g *gate) accept(ctx context.Context, listener *net.TCPListener) error {
	defer sockets.InterruptOn(ctx, listener)()
	var greeting sync.WaitGroup
	defer greeting.Wait()
	places := make(chan struct{}, len(g.flows)+maxStrangers)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		conn, err := listener.AcceptTCP()
		if err != nil {
			return err
		}
		greeting.Go(func() {
			defer func() { <-places }()
			if hello, err := g.identify(ctx, conn); err != nil || !g.take(conn, hello) {
				g.refuse(conn)
			}
		})
	}
}

// identify finds out whose a connection is.
func (g *gate) identify(ctx context.Context, conn *net.TCPConn) (wire.Hello, error) {
	from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	if g.trial.Peer.IsValid() && g.trial.Peer.Unmap() != from {
		return wire.Hello{}, fmt.Errorf("%w: %s is not the peer", wire.ErrForeign, from)
	}
	ctx, cancel := context.WithTimeout(ctx, greetWithin)
	defer cancel()
	defer sockets.InterruptOn(ctx, conn)()
	return greetSender(conn, g.trial, len(g.flows))
}

// take lets a flow in, unless there is one with its number, or it is another
// sender's.
func (g *gate) take(conn *net.TCPConn, hello wire.Hello) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.missing == len(g.flows)
	if g.flows[hello.Stream] != nil || !first && hello.Nonce != g.nonce {
		return false
	}
	g.flows[hello.Stream], g.nonce = conn, hello.Nonce
	g.missing--
	if g.missing == 0 {
		g.allIn()
	}
	return true
}

func (g *gate) refuse(conn *net.TCPConn) {
	reset(conn)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.strangers++
}

func (g *gate) resetAll() {
	for _, conn := range g.flows {
		if conn != nil {
			reset(conn)
		}
	}
}
