package strongswan_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/strongswan"
	"tunnelmark/tunnel/tunneltest"
)

var (
	leftAddress  = netip.MustParseAddr("192.0.2.1")
	rightAddress = netip.MustParseAddr("192.0.2.2")
	// The networks behind the gateways, and their own addresses there.
	leftNetwork  = netip.MustParsePrefix("198.51.100.0/25")
	rightNetwork = netip.MustParsePrefix("198.51.100.128/25")
	leftBehind   = netip.MustParseAddrPort("198.51.100.1:7000")
	rightBehind  = netip.MustParseAddrPort("198.51.100.129:7000")
)

// gateways are two sites joined by a tunnel that stands already, as production's
// does: on the well-known port, with its selectors and routes in the outer
// namespaces.
type gateways struct {
	near, far *net.UDPConn // Behind the left and the right one.
	left      *strongswan.RunningGateway
}

func startGateways(t *testing.T, link *tunneltest.Link, driver strongswan.Driver) gateways {
	t.Helper()
	left := strongswan.Gateway{
		Namespace:      link.Left.Outer,
		Local:          netip.AddrPortFrom(leftAddress, 4500),
		Remote:         netip.AddrPortFrom(rightAddress, 4500),
		LocalNetworks:  []netip.Prefix{leftNetwork},
		RemoteNetworks: []netip.Prefix{rightNetwork},
		Secret:         []byte("of a test between gateways"),
		Suite:          tunnel.AES128GCM,
		Encapsulation:  tunnel.UDP,
		NoESN:          true,
		Driver:         driver,
	}
	right := left
	right.Namespace = link.Right.Outer
	right.Local, right.Remote = left.Remote, left.Local
	right.LocalNetworks, right.RemoteNetworks = left.RemoteNetworks, left.LocalNetworks
	addBehind(t, link.Left.Outer, leftBehind.Addr())
	addBehind(t, link.Right.Outer, rightBehind.Addr())
	g := gateways{left: startGateway(t, left)}
	other := startGateway(t, right)
	for _, end := range []*strongswan.RunningGateway{g.left, other} {
		if err := end.Await(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	g.near = tunneltest.Dial(t, link.Left.Outer, leftBehind, rightBehind)
	g.far = tunneltest.Dial(t, link.Right.Outer, rightBehind, leftBehind)
	return g
}

func startGateway(t *testing.T, g strongswan.Gateway) *strongswan.RunningGateway {
	t.Helper()
	running, err := strongswan.StartGateway(soon(t), g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Close(); err != nil {
			t.Errorf("close gateway: %v", err)
		}
	})
	return running
}

// addBehind gives a gateway an address of its local network.
func addBehind(t *testing.T, namespace *tunnel.Namespace, address netip.Addr) {
	t.Helper()
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(32, 32)}}); err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
}

// checkBeside opens, rekeys and closes a tunnel beside one that carries traffic
// already, which must lose nothing.
func checkBeside(t *testing.T, driver strongswan.Driver, spec tunnel.Spec) {
	link := newLink(t)
	production := startGateways(t, link, driver)
	capture := tunneltest.NewCapture(t, link.Left.Outer)

	stop, stopped := make(chan struct{}), make(chan error, 1)
	var passed int
	go func() {
		var err error
		passed, err = echo(production.near, production.far, func(int) bool {
			select {
			case <-stop:
				return true
			default:
				return false
			}
		})
		stopped <- err
	}()
	openRekeyClose(t, link, driver, spec)
	close(stop)
	if err := <-stopped; err != nil {
		t.Errorf("production: %v", err)
	}
	t.Logf("%d datagrams of production passed there and back", passed)
	if _, err := echo(production.near, production.far, times(3)); err != nil {
		t.Errorf("production, afterwards: %v", err)
	}
	expectEncrypted(t, capture.Sent(t))
}

func openRekeyClose(t *testing.T, link *tunneltest.Link, driver strongswan.Driver, spec tunnel.Spec) {
	t.Helper()
	leftSpec, rightSpec := link.Specs(spec, false)
	for _, outer := range []*netip.AddrPort{&leftSpec.Local.Outer, &leftSpec.Remote.Outer, &rightSpec.Local.Outer, &rightSpec.Remote.Outer} {
		*outer = netip.AddrPortFrom(outer.Addr(), 4600) // Production has the usual one.
	}
	left := open(t, driver, link.Left, leftSpec, "beside")
	right := open(t, driver, link.Right, rightSpec, "beside")
	for _, half := range []tunnel.Tunnel{left, right} {
		if err := half.(tunnel.Awaiter).Await(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := left.(tunnel.Rekeyer).Rekey(soon(t)); err != nil {
		t.Error(err)
	}
	near := tunneltest.Dial(t, left.Path().Namespace, left.Path().Local, left.Path().Remote)
	far := tunneltest.Dial(t, right.Path().Namespace, right.Path().Local, right.Path().Remote)
	if _, err := echo(near, far, times(3)); err != nil {
		t.Error(err)
	}
	for _, half := range []tunnel.Tunnel{left, right} {
		if err := half.Close(); err != nil {
			t.Error(err)
		}
	}
}

// expectEncrypted expects none of the numbered datagrams in clear on the wire.
func expectEncrypted(t *testing.T, frames [][]byte) {
	t.Helper()
	for i, frame := range frames {
		if bytes.Contains(frame, []byte("datagram ")) {
			t.Fatalf("frame %d of %d shows a datagram", i, len(frames))
		}
	}
	if len(frames) == 0 {
		t.Error("nothing was captured on the outer link")
	}
}

func TestBesideProductionUserSpace(t *testing.T) {
	checkBeside(t, strongswan.Driver{UserSpace: true}, userSpaceSpec(tunnel.AES128GCM))
}

func TestGatewayRefuses(t *testing.T) {
	good := strongswan.Gateway{
		Namespace: &tunnel.Namespace{}, Local: netip.AddrPortFrom(leftAddress, 4500), Remote: netip.AddrPortFrom(rightAddress, 4500),
		LocalNetworks: []netip.Prefix{leftNetwork}, RemoteNetworks: []netip.Prefix{rightNetwork},
		Secret: []byte("secret"), Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, NoESN: true,
	}
	tests := []struct {
		name  string
		spoil func(*strongswan.Gateway)
	}{
		{"no namespace", func(g *strongswan.Gateway) { g.Namespace = nil }},
		{"no peer", func(g *strongswan.Gateway) { g.Remote = netip.AddrPort{} }},
		{"itself as peer", func(g *strongswan.Gateway) { g.Remote = g.Local }},
		{"nothing behind it", func(g *strongswan.Gateway) { g.LocalNetworks = nil }},
		{"no secret", func(g *strongswan.Gateway) { g.Secret = nil }},
		{"unknown suite", func(g *strongswan.Gateway) { g.Suite = "rot13" }},
		{"raw ESP in user space", func(g *strongswan.Gateway) { g.Driver.UserSpace, g.Encapsulation = true, tunnel.Raw }},
		{"ESN in user space", func(g *strongswan.Gateway) { g.Driver.UserSpace, g.NoESN = true, false }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := good
			test.spoil(&g)
			if running, err := strongswan.StartGateway(soon(t), g); err == nil {
				t.Errorf("started, want an error")
				_ = running.Close()
			}
		})
	}
}
