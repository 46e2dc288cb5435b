package strongswan

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"tunnelmark/tunnel"
)

// portTaken is what charon says where another has its port, and then goes on
// without (socket_default_socket.c).
const portTaken = "unable to bind socket"

var errClosed = fmt.Errorf("this end is closed: %w", os.ErrClosed)

// peering is one charon with its one connection to a peer.
type peering struct {
	local, remote netip.AddrPort
	userSpace     bool
	routes        bool // Charon routes to the peer's networks itself.
	charon        *charon
	version       string
	keeper        *keeper

	mu    sync.Mutex // Guards what follows.
	rekey time.Duration
}

// start starts charon in the namespace; it knows no connection yet.
func (p *peering) start(ctx context.Context, found programs, namespace *tunnel.Namespace, files map[string][]byte) (err error) {
	d := daemon{userSpace: p.userSpace, port: p.local.Port(), ipv6: !p.local.Addr().Unmap().Is4(), routes: p.routes}
	if p.charon, err = startCharon(ctx, found, namespace, d, files); err != nil {
		return err
	}
	if line := p.charon.journal.find(portTaken); line != "" {
		return fmt.Errorf("start charon: UDP port %d: %s", p.local.Port(), line)
	}
	p.version, err = p.charon.version(ctx)
	return err
}

// negotiate begins to negotiate the connection that charon knows, and keeps it
// up. The end with the lower outer address initiates.
func (p *peering) negotiate() {
	p.keeper = startKeeper(p.charon, p.local.Compare(p.remote) < 0)
}

// end stops charon, which tells the peer, and waits for all goroutines.
func (p *peering) end() error {
	if p.keeper != nil {
		p.keeper.stop()
	}
	if p.charon == nil {
		return nil
	}
	return p.charon.stop()
}

// Await returns once both ends have negotiated their SAs. The error of an end
// that did not come to that quotes what charon says.
func (p *peering) Await(ctx context.Context) error {
	if _, err := p.keeper.await(ctx, carries); err != nil {
		return fmt.Errorf("negotiate with %s by IKEv2: %w", p.remote, err)
	}
	return nil
}

// Rekey negotiates new SAs with the peer and says how long that took, from the
// order to their use.
func (p *peering) Rekey(ctx context.Context) (time.Duration, error) {
	before, err := p.keeper.await(ctx, carries)
	if err != nil {
		return 0, fmt.Errorf("rekey: %w", err)
	}
	began := time.Now()
	if err := p.charon.rekey(ctx); err != nil {
		return 0, fmt.Errorf("rekey: %w", err)
	}
	renewed := func(a association) bool { return a.carries && a.child.spiIn != before.child.spiIn }
	if _, err := p.keeper.await(ctx, renewed); err != nil {
		return 0, fmt.Errorf("rekey: %w", err)
	}
	took := time.Since(began)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rekey = took
	return took, nil
}

// Details are charon's version and what has been negotiated so far.
func (p *peering) Details() []tunnel.Detail {
	details := []tunnel.Detail{
		{Name: "charon", Value: p.version},
		{Name: "ESP", Value: choose(p.userSpace, "of charon in user space (kernel-libipsec)", "of the kernel")},
	}
	details = append(details, p.keeper.details()...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rekey > 0 {
		details = append(details, tunnel.Detail{Name: "rekey time", Value: p.rekey.Round(time.Millisecond).String()})
	}
	return details
}
