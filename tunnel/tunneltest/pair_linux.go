package tunneltest

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"tunnelmark/tunnel"
)

// port is the outer port of both ends (RFC 3948, Section 4).
const port = 4500

// Pair is both halves of one tunnel over a link.
type Pair struct {
	Left, Right *Half
}

// Half is one end of a Pair.
type Half struct {
	tunnel.Tunnel
	Spec tunnel.Spec
	Site *Site
}

// Specs completes a template into the specs of both ends: outer addresses of
// the link, by IPv6 if outer6, SPIs, and inner addresses of the benchmarking
// ranges (RFC 2544, RFC 5180).
func (l *Link) Specs(template tunnel.Spec, outer6 bool) (left, right tunnel.Spec) {
	left, right = template, template
	left.Local = tunnel.End{
		Outer:  netip.AddrPortFrom(l.Left.outer(outer6), port),
		SPI:    0x1001,
		Inner4: netip.MustParseAddr("198.18.0.1"),
		Inner6: netip.MustParseAddr("2001:2::1"),
	}
	left.Remote = tunnel.End{
		Outer:  netip.AddrPortFrom(l.Right.outer(outer6), port),
		SPI:    0x2002,
		Inner4: netip.MustParseAddr("198.18.0.2"),
		Inner6: netip.MustParseAddr("2001:2::2"),
	}
	right.Local, right.Remote = left.Remote, left.Local
	return left, right
}

func (s *Site) outer(ipv6 bool) netip.Addr {
	if ipv6 {
		return s.Addr6
	}
	return s.Addr4
}

// OpenPair opens both halves with the keys of one secret. They are closed when
// the test ends.
func (l *Link) OpenPair(t testing.TB, driver tunnel.Driver, template tunnel.Spec, outer6 bool, secret string) *Pair {
	t.Helper()
	return l.OpenPairOf(t, driver, driver, template, outer6, secret)
}

// OpenPairOf is OpenPair with the halves of two drivers, which must understand
// each other.
func (l *Link) OpenPairOf(t testing.TB, left, right tunnel.Driver, template tunnel.Spec, outer6 bool, secret string) *Pair {
	t.Helper()
	leftSpec, rightSpec := l.Specs(template, outer6)
	leftKeys, rightKeys := Keys(secret)
	pair := &Pair{
		Left:  l.Left.open(t, left, leftSpec, leftKeys),
		Right: l.Right.open(t, right, rightSpec, rightKeys),
	}
	pair.Left.await(t)
	pair.Right.await(t)
	return pair
}

// await waits for halves that have to meet before packets pass.
func (h *Half) await(t testing.TB) {
	t.Helper()
	awaiter, ok := h.Tunnel.(tunnel.Awaiter)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	if err := awaiter.Await(ctx); err != nil {
		t.Fatalf("await peer: %v", err)
	}
}

func (s *Site) open(t testing.TB, driver tunnel.Driver, spec tunnel.Spec, keys tunnel.Keys) *Half {
	t.Helper()
	place := s.place(t, spec)
	half, err := driver.Open(context.Background(), spec, keys, place)
	if err != nil {
		t.Fatalf("open half: %v", err)
	}
	t.Cleanup(func() {
		if err := half.Close(); err != nil {
			t.Errorf("close half: %v", err)
		}
	})
	return &Half{Tunnel: half, Spec: spec, Site: s}
}

// place reserves the outer socket, as the agent does when it makes an offer.
func (s *Site) place(t testing.TB, spec tunnel.Spec) tunnel.Place {
	t.Helper()
	socket, err := listen(s.Outer, spec.Local.Outer)
	if err != nil {
		t.Fatalf("reserve outer socket: %v", err)
	}
	return tunnel.Place{Outer: s.Outer, Inner: s.Inner, Socket: socket}
}

func listen(namespace *tunnel.Namespace, local netip.AddrPort) (socket *net.UDPConn, err error) {
	err = namespace.Do(func() error {
		socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		return err
	})
	return socket, err
}

// Dial opens a UDP socket in a namespace. It is closed when the test ends.
func Dial(t testing.TB, namespace *tunnel.Namespace, local, remote netip.AddrPort) *net.UDPConn {
	t.Helper()
	var socket *net.UDPConn
	err := namespace.Do(func() (err error) {
		socket, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
		return err
	})
	if err != nil {
		t.Fatalf("open probe socket: %v", err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket
}

// DialPath opens a socket at each end of a pair's path, as probes do.
func (p *Pair) DialPath(t testing.TB) (left, right *net.UDPConn) {
	t.Helper()
	path := p.Left.Path()
	left = Dial(t, path.Namespace, path.Local, path.Remote)
	path = p.Right.Path()
	return left, Dial(t, path.Namespace, path.Local, path.Remote)
}
