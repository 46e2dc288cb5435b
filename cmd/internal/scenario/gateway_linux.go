package scenario

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"tunnelmark/lab"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/strongswan"
)

const (
	// gatewayPort is where ESP in UDP arrives (RFC 3948, Section 2.1).
	gatewayPort = 4500
	// joinTimeout bounds how long two gateways may take to agree.
	joinTimeout = 30 * time.Second
	secretBytes = 32
)

// gateways are those of a lab, each with a charon of its own.
type gateways struct {
	namespaces []*tunnel.Namespace
	running    []*strongswan.RunningGateway
}

// gatewayDriver is kernel ESP where the kernel has it, otherwise charon's own in
// user space. It says what this machine lacks before anything is built.
func gatewayDriver(suite tunnel.Suite) (strongswan.Driver, error) {
	kernel, user := strongswan.Driver{}, strongswan.Driver{UserSpace: true}
	if kernel.Check(exampleSpec(suite, false)) == nil {
		return kernel, nil
	}
	if err := user.Check(exampleSpec(suite, true)); err != nil {
		return user, fmt.Errorf("run gateways: %w", err)
	}
	return user, nil
}

// exampleSpec is one that any machine with strongSwan and that ESP can build.
func exampleSpec(suite tunnel.Suite, noESN bool) tunnel.Spec {
	end := func(outer, inner string) tunnel.End {
		return tunnel.End{
			Outer: netip.AddrPortFrom(netip.MustParseAddr(outer), gatewayPort), Inner4: netip.MustParseAddr(inner), SPI: 1 << 10,
		}
	}
	return tunnel.Spec{
		Suite: suite, Encapsulation: tunnel.UDP, MTU: 1400, NoESN: noESN,
		Local: end("192.0.2.1", "198.18.0.1"), Remote: end("192.0.2.2", "198.18.0.2"),
	}
}

// checkGateways says whether this machine can run those of a scenario.
func checkGateways(s Scenario) error {
	for _, gateway := range s.Gateways {
		if _, err := gatewayDriver(gateway.Suite); err != nil {
			return err
		}
	}
	return nil
}

// startGateways joins the gateways at both ends of each link by strongSwan, and
// returns once packets can pass. What it has started when it fails is stopped.
func startGateways(ctx context.Context, s Scenario, built *lab.Lab, tell func(string)) (_ *gateways, err error) {
	g := &gateways{}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.stop())
		}
	}()
	for _, link := range s.Topology.Links {
		gateway, found := s.gateway(link.Between[0])
		if !found {
			continue
		}
		if err := g.join(ctx, link.Between, gateway.Suite, built, tell); err != nil {
			return nil, fmt.Errorf("join the gateways of %s and %s: %w", link.Between[0], link.Between[1], err)
		}
	}
	return g, nil
}

// join starts the gateways of two sites with a secret that nobody else knows.
func (g *gateways) join(ctx context.Context, sites [2]string, suite tunnel.Suite, built *lab.Lab, tell func(string)) error {
	driver, err := gatewayDriver(suite)
	if err != nil {
		return err
	}
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // crypto/rand never fails.
	defer clear(secret)
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	both, meeting := errgroup.WithContext(ctx)
	for i, site := range sites {
		end, err := g.end(built, site, sites[1-i])
		if err != nil {
			return err
		}
		end.Secret, end.Suite, end.Encapsulation = secret, suite, tunnel.UDP
		end.Driver, end.NoESN = driver, driver.UserSpace
		running, err := strongswan.StartGateway(ctx, end)
		if err != nil {
			return err
		}
		g.running = append(g.running, running)
		both.Go(func() error { return running.Await(meeting) })
	}
	if err := both.Wait(); err != nil {
		return err
	}
	tell(fmt.Sprintf("the gateways of %s and %s are joined: %s", sites[0], sites[1], told(g.running[len(g.running)-1])))
	return nil
}

// end is a site's gateway as its peer's sees it.
func (g *gateways) end(built *lab.Lab, site, peer string) (strongswan.Gateway, error) {
	near, _ := built.Gateway(site)
	far, _ := built.Gateway(peer)
	local, err := built.Addresses(site, peer)
	if err != nil {
		return strongswan.Gateway{}, err
	}
	remote, err := built.Addresses(peer, site)
	if err != nil {
		return strongswan.Gateway{}, err
	}
	namespace, err := tunnel.NamespaceFrom(near.Descriptor)
	if err != nil {
		return strongswan.Gateway{}, err
	}
	g.namespaces = append(g.namespaces, namespace)
	return strongswan.Gateway{
		Namespace: namespace,
		Local:     netip.AddrPortFrom(local.V4, gatewayPort), Remote: netip.AddrPortFrom(remote.V4, gatewayPort),
		LocalNetworks: near.Networks, RemoteNetworks: far.Networks,
	}, nil
}

// told is what a gateway says of itself, in one line.
func told(running tunnel.Detailed) string {
	var line string
	for i, detail := range running.Details() {
		if i > 0 {
			line += ", "
		}
		line += detail.Name + " " + detail.Value
	}
	return line
}

// stop ends all gateways.
func (g *gateways) stop() (failed error) {
	for _, running := range g.running {
		failed = errors.Join(failed, running.Close())
	}
	for _, namespace := range g.namespaces {
		failed = errors.Join(failed, namespace.Close())
	}
	return failed
}
