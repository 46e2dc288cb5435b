package bundle_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/bundle"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

const (
	tunnels = 4
	flows   = 64
	each    = 5 // Packets of a flow.
	// patience is how long a test waits for what takes microseconds.
	patience = 10 * time.Second
)

// ends is both ends of several tunnels over one link.
type ends struct {
	left, right         tunnel.Tunnel
	leftSpec, rightSpec tunnel.Spec // Of the first tunnel.
}

// openESP opens both ends; only6 gives the tunnels no IPv4 inside.
func openESP(t *testing.T, link *tunneltest.Link, count int, only6 bool) ends {
	t.Helper()
	encapsulation, err := overhead.ESP(tunnel.AES128GCM, tunnel.UDP, overhead.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	leftSpec, rightSpec := link.Specs(tunnel.Spec{
		Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: int(encapsulation.TunnelMTU(tunneltest.PathMTU)),
	}, false)
	if only6 {
		for _, end := range []*tunnel.End{&leftSpec.Local, &leftSpec.Remote, &rightSpec.Local, &rightSpec.Remote} {
			end.Inner4 = netip.Addr{}
		}
	}
	leftKeys, rightKeys := tunneltest.Keys("bundle")
	return ends{
		left:     open(t, link.Left, numbered(leftSpec, count), leftKeys),
		right:    open(t, link.Right, numbered(rightSpec, count), rightKeys),
		leftSpec: leftSpec, rightSpec: rightSpec,
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

func open(t *testing.T, site *tunneltest.Site, specs []tunnel.Spec, keys tunnel.Keys) tunnel.Tunnel {
	t.Helper()
	opened, err := bundle.Open(context.Background(), esp.Driver{}, halvesOf(t, site, specs, keys))
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

func TestFlowsSpread(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	e := openESP(t, link, tunnels, false)
	for _, way := range []struct {
		name                string
		from, to            tunnel.Tunnel
		fromSite, toSite    *tunneltest.Site
		fromInner, toInner  netip.Addr
		headers, packetSize uint64
	}{
		{"IPv4 to the right", e.left, e.right, link.Left, link.Right, e.leftSpec.Local.Inner4, e.leftSpec.Remote.Inner4, 28, 100},
		{"IPv4 to the left", e.right, e.left, link.Right, link.Left, e.leftSpec.Remote.Inner4, e.leftSpec.Local.Inner4, 28, 100},
		{"IPv6 to the right", e.left, e.right, link.Left, link.Right, e.leftSpec.Local.Inner6, e.leftSpec.Remote.Inner6, 48, 100},
		{"IPv6 to the left", e.right, e.left, link.Right, link.Left, e.leftSpec.Remote.Inner6, e.leftSpec.Local.Inner6, 48, 100},
	} {
		t.Run(way.name, func(t *testing.T) {
			sink := listen(t, way.toSite.Inner, netip.AddrPortFrom(way.toInner, tunnel.ProbePort))
			before := count(t, way.from)
			for flow := range flows {
				source := netip.AddrPortFrom(way.fromInner, uint16(20000+flow))
				from := tunneltest.Dial(t, way.fromSite.Inner, source, sink.LocalAddr().(*net.UDPAddr).AddrPort())
				start := count(t, way.from)
				for packet := range each {
					exchange(t, from, sink, uint64(flow*each+packet), int(way.packetSize-way.headers))
				}
				expectOneTunnel(t, source, settled(t, way.from, start, each), start)
			}
			expectSpread(t, count(t, way.from), before)
		})
	}
	for _, end := range []tunnel.Tunnel{e.left, e.right} {
		expectSum(t, end)
	}
}

func count(t *testing.T, of tunnel.Tunnel) []tunnel.Counters {
	t.Helper()
	counters, err := bundle.Each(of)
	if err != nil {
		t.Fatalf("count: %v", err)
	}
	return counters
}

// settled waits until so many packets more have been counted: a loop may count a
// moment after a packet has reached its reader.
func settled(t *testing.T, of tunnel.Tunnel, start []tunnel.Counters, packets uint64) []tunnel.Counters {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		now := count(t, of)
		if sum(sent(now, start)) >= packets || time.Now().After(deadline) {
			return now
		}
	}
}

// sent is how many packets each tunnel has sent since.
func sent(now, before []tunnel.Counters) []uint64 {
	packets := make([]uint64, len(now))
	for i := range now {
		packets[i] = now[i].OutPackets - before[i].OutPackets
	}
	return packets
}

func sum(packets []uint64) (total uint64) {
	for _, n := range packets {
		total += n
	}
	return total
}

// exchange sends one datagram with that number and expects it at the sink.
func exchange(t *testing.T, from, sink *net.UDPConn, number uint64, length int) {
	t.Helper()
	payload := make([]byte, length)
	binary.BigEndian.PutUint64(payload, number)
	if _, err := from.Write(payload); err != nil {
		t.Fatalf("send packet %d: %v", number, err)
	}
	_ = sink.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, length+1)
	n, source, err := sink.ReadFromUDPAddrPort(got)
	if err != nil {
		t.Fatalf("receive packet %d: %v", number, err)
	}
	if want := from.LocalAddr().(*net.UDPAddr).AddrPort(); source != want || n != length || binary.BigEndian.Uint64(got) != number {
		t.Fatalf("packet %d of %d bytes from %s: got packet %d of %d bytes from %s",
			number, length, want, binary.BigEndian.Uint64(got), n, source)
	}
}

func expectOneTunnel(t *testing.T, flow netip.AddrPort, now, before []tunnel.Counters) {
	t.Helper()
	used := 0
	for _, packets := range sent(now, before) {
		if packets > 0 {
			used++
		}
	}
	if packets := sent(now, before); used != 1 || sum(packets) != each {
		t.Errorf("flow from %s: packets per tunnel are %d, want %d on one of them", flow, packets, each)
	}
}

// expectSpread expects that all packets are counted and that no tunnel was left
// out: by chance that is once in 24 million runs.
func expectSpread(t *testing.T, now, before []tunnel.Counters) {
	t.Helper()
	packets := sent(now, before)
	if got := sum(packets); got != flows*each {
		t.Errorf("packets per tunnel are %d: their sum is %d, want %d", packets, got, flows*each)
	}
	for i, n := range packets {
		if n == 0 {
			t.Errorf("packets per tunnel are %d: want some on tunnel %d", packets, i)
		}
	}
}

func expectSum(t *testing.T, of tunnel.Tunnel) {
	t.Helper()
	total, err := of.Counters()
	if err != nil {
		t.Fatal(err)
	}
	var want tunnel.Counters
	for _, one := range count(t, of) {
		want = want.Add(one)
	}
	if total != want || total.OutPackets != 2*flows*each || total.InPackets != 2*flows*each {
		t.Errorf("counters are %+v, want the sum of all tunnels, %+v", total, want)
	}
}

func TestPathOfSeveral(t *testing.T) {
	e := openESP(t, tunneltest.NewLink(t, tunneltest.PathMTU), 2, false)
	path := e.left.Path()
	want := netip.AddrPortFrom(e.leftSpec.Local.Inner4, tunnel.ProbePort)
	if path.Local != want || path.MTU != e.leftSpec.MTU || path.Interface != "" {
		t.Errorf("got %+v, want local %s, MTU %d and no interface", path, want, e.leftSpec.MTU)
	}
}

// One tunnel is not touched: it has its own interface still.
func TestOneTunnel(t *testing.T) {
	e := openESP(t, tunneltest.NewLink(t, tunneltest.PathMTU), 1, false)
	if e.left.Path().Interface == "" {
		t.Error("one tunnel: its interface is hidden")
	}
	if got := len(count(t, e.left)); got != 1 {
		t.Errorf("one tunnel: got %d counters, want 1", got)
	}
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
