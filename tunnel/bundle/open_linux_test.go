package bundle_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/bundle"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
)

// ends is both ends of several tunnels over one link.
type ends struct {
	left, right tunnel.Tunnel
	leftSpec    tunnel.Spec // Of the first tunnel.
}

// openESP opens both ends; only6 gives the tunnels no IPv4 inside.
func openESP(t *testing.T, count int, only6 bool) ends {
	t.Helper()
	encapsulation, err := overhead.ESP(tunnel.AES128GCM, tunnel.UDP, overhead.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	template := tunnel.Spec{
		Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: int(encapsulation.TunnelMTU(tunneltest.PathMTU)),
	}
	return openEnds(t, esp.Driver{}, template, count, only6)
}

func openEnds(t *testing.T, driver tunnel.Driver, template tunnel.Spec, count int, only6 bool) ends {
	t.Helper()
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	leftSpec, rightSpec := link.Specs(template, false)
	if only6 {
		for _, end := range []*tunnel.End{&leftSpec.Local, &leftSpec.Remote, &rightSpec.Local, &rightSpec.Remote} {
			end.Inner4 = netip.Addr{}
		}
	}
	leftKeys, rightKeys := tunneltest.Keys("bundle")
	return ends{
		left:     open(t, driver, link.Left, numbered(leftSpec, count), leftKeys),
		right:    open(t, driver, link.Right, numbered(rightSpec, count), rightKeys),
		leftSpec: leftSpec,
	}
}

// numbered gives each tunnel its own number, ports and SPIs.
func numbered(first tunnel.Spec, count int) []tunnel.Spec {
	specs := make([]tunnel.Spec, count)
	for i := range specs {
		specs[i] = first
		specs[i].Number = i
		for _, end := range []*tunnel.End{&specs[i].Local, &specs[i].Remote} {
			end.Outer = netip.AddrPortFrom(end.Outer.Addr(), end.Outer.Port()+uint16(i))
			end.SPI += uint32(i)
		}
	}
	return specs
}

func halvesOf(t *testing.T, site *tunneltest.Site, specs []tunnel.Spec, keys tunnel.Keys) []bundle.Half {
	t.Helper()
	halves := make([]bundle.Half, len(specs))
	for i, spec := range specs {
		halves[i] = bundle.Half{Spec: spec, Keys: keys, Place: tunnel.Place{
			Outer: site.Outer, Inner: site.Inner, Socket: listen(t, site.Outer, spec.Local.Outer),
		}}
	}
	return halves
}

func open(t *testing.T, driver tunnel.Driver, site *tunneltest.Site, specs []tunnel.Spec, keys tunnel.Keys) tunnel.Tunnel {
	t.Helper()
	opened, err := bundle.Open(context.Background(), driver, halvesOf(t, site, specs, keys))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return opened
}

func listen(t *testing.T, namespace *tunnel.Namespace, local netip.AddrPort) (socket *net.UDPConn) {
	t.Helper()
	err := namespace.Do(func() (err error) {
		socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		return err
	})
	if err != nil {
		t.Fatalf("open socket: %v", err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket
}

// A half that cannot be opened takes those before with it, and the sockets of
// those behind it.
func TestOneHalfFails(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	spec, _ := link.Specs(tunnel.Spec{Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: 1400}, false)
	specs := numbered(spec, 3)
	specs[1].Local.SPI = 0
	keys, _ := tunneltest.Keys("one half fails")
	halves := halvesOf(t, link.Left, specs, keys)
	if opened, err := bundle.Open(context.Background(), esp.Driver{}, halves); err == nil {
		t.Fatalf("opened, want an error: %v", opened.Close())
	}
	for i, h := range halves {
		if err := h.Place.Socket.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("socket of tunnel %d: close: got %v, want %v", i, err, net.ErrClosed)
		}
	}
	expectOnlyLoopback(t, link.Left.Inner)
}

func expectOnlyLoopback(t *testing.T, namespace *tunnel.Namespace) {
	t.Helper()
	err := namespace.Do(func() error {
		interfaces, err := net.Interfaces()
		if len(interfaces) != 1 {
			t.Errorf("left behind: %v", interfaces)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
