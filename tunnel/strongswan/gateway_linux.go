package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"tunnelmark/tunnel"
)

// Gateway describes one end of a tunnel between the networks of two sites, as an
// appliance or a router has it: hosts behind it know nothing of the tunnel.
type Gateway struct {
	// Namespace is the gateway's own. It must forward packets, have an address in
	// each local network, and be left to charon: with user-space ESP charon adds
	// its interface and routes there, with the kernel's its SAs and policies,
	// which stay where the process dies and the namespace does not.
	Namespace      *tunnel.Namespace
	Local, Remote  netip.AddrPort // Outer addresses; charon binds the local port.
	LocalNetworks  []netip.Prefix // Behind this gateway.
	RemoteNetworks []netip.Prefix // Behind the peer's.
	Secret         []byte         // Preshared key; the caller clears it after StartGateway.
	Suite          tunnel.Suite
	Encapsulation  tunnel.Encapsulation
	NoESN          bool // As user-space ESP wants.
	// Driver says which ESP and which programs are used. Its credentials, where
	// it has some, stand in for the secret.
	Driver Driver
}

// RunningGateway is one end that is up, or is being negotiated. Its methods may
// be called from several goroutines at once.
type RunningGateway struct {
	peering
	closing sync.Once
	err     error
}

var (
	_ tunnel.Awaiter  = (*RunningGateway)(nil)
	_ tunnel.Detailed = (*RunningGateway)(nil)
	_ tunnel.Rekeyer  = (*RunningGateway)(nil)
)

// StartGateway starts one end. It does not wait for the other: Await does. Where
// it fails, nothing remains. The gateway lives until Close, not until ctx ends.
func StartGateway(ctx context.Context, g Gateway) (*RunningGateway, error) {
	running := &RunningGateway{peering: peering{local: g.Local, remote: g.Remote, userSpace: g.Driver.UserSpace, routes: true}}
	if err := g.start(ctx, &running.peering); err != nil {
		return nil, fmt.Errorf("start strongswan gateway: %w", errors.Join(err, running.end()))
	}
	return running, nil
}

func (g Gateway) start(ctx context.Context, p *peering) error {
	if err := g.check(); err != nil {
		return err
	}
	found, err := g.Driver.findPrograms()
	if err != nil {
		return err
	}
	proposal, err := espProposal(g.Suite, g.NoESN)
	if err != nil {
		return err
	}
	files, err := g.Driver.Credentials.read()
	if err != nil {
		return err
	}
	if err := p.start(ctx, found, g.Namespace, files); err != nil {
		return err
	}
	if err := p.charon.load(ctx, g.connection(proposal)); err != nil {
		return err
	}
	p.negotiate()
	return nil
}

func (g Gateway) connection(proposal string) connection {
	con := connection{
		local:          g.Local,
		remote:         g.Remote,
		localNetworks:  g.LocalNetworks,
		remoteNetworks: g.RemoteNetworks,
		proposal:       proposal,
		forceUDP:       g.Encapsulation == tunnel.UDP,
	}
	if g.Driver.Credentials == nil {
		con.secret = g.Secret
	}
	return con
}

func (g Gateway) check() error {
	switch {
	case g.Namespace == nil:
		return fmt.Errorf("no namespace: want the gateway's own: %w", os.ErrInvalid)
	case !g.Local.IsValid() || !g.Remote.IsValid() || g.Local == g.Remote:
		return fmt.Errorf("outer addresses %q and %q: want two different ones with ports", g.Local, g.Remote)
	case len(g.LocalNetworks) == 0 || len(g.RemoteNetworks) == 0:
		return fmt.Errorf("networks %q and %q: want at least one on each side", g.LocalNetworks, g.RemoteNetworks)
	case len(g.Secret) == 0 && g.Driver.Credentials == nil:
		return fmt.Errorf("neither a secret nor credentials: the ends could not know each other")
	case g.Driver.UserSpace && (!g.NoESN || g.Encapsulation != tunnel.UDP):
		return fmt.Errorf("charon's user-space ESP has only 32-bit sequence numbers and UDP encapsulation: %w", tunnel.ErrNotSupported)
	}
	return nil
}

// Close stops charon, which tells the peer, and waits for all goroutines. A
// second Close does nothing.
func (g *RunningGateway) Close() error {
	g.closing.Do(func() { g.err = g.end() })
	return g.err
}
