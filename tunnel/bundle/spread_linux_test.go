package bundle_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/bundle"
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

func TestFlowsSpread(t *testing.T) { checkFlowsSpread(t, openESP(t, tunnels, false)) }

// checkFlowsSpread sends flows each way by each IP version, and expects that every
// packet arrives, that each flow stays on one tunnel, and that all are used.
func checkFlowsSpread(t *testing.T, e ends) {
	t.Helper()
	local, remote := e.leftSpec.Local, e.leftSpec.Remote
	for _, way := range []struct {
		name           string
		from, to       tunnel.Tunnel
		source, target netip.Addr
	}{
		{"IPv4 to the right", e.left, e.right, local.Inner4, remote.Inner4},
		{"IPv4 to the left", e.right, e.left, remote.Inner4, local.Inner4},
		{"IPv6 to the right", e.left, e.right, local.Inner6, remote.Inner6},
		{"IPv6 to the left", e.right, e.left, remote.Inner6, local.Inner6},
	} {
		t.Run(way.name, func(t *testing.T) {
			sink := listen(t, way.to.Path().Namespace, netip.AddrPortFrom(way.target, tunnel.ProbePort))
			before := count(t, way.from)
			for flow := range flows {
				source := netip.AddrPortFrom(way.source, uint16(20000+flow))
				sendFlow(t, way.from, source, sink, uint64(flow*each))
			}
			expectSpread(t, count(t, way.from), before)
		})
	}
	for _, end := range []tunnel.Tunnel{e.left, e.right} {
		expectSum(t, end, 2*flows*each)
	}
}

// sendFlow sends a flow's packets and expects them on one tunnel.
func sendFlow(t *testing.T, through tunnel.Tunnel, source netip.AddrPort, sink *net.UDPConn, first uint64) {
	t.Helper()
	from := tunneltest.Dial(t, through.Path().Namespace, source, sink.LocalAddr().(*net.UDPAddr).AddrPort())
	before := count(t, through)
	for packet := range uint64(each) {
		exchange(t, from, sink, first+packet, 64)
	}
	expectOneTunnel(t, source, settled(t, through, before, each), before)
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

// expectSum expects that the bundle counts what its tunnels do: so many packets
// each way.
func expectSum(t *testing.T, of tunnel.Tunnel, packets uint64) {
	t.Helper()
	total, err := of.Counters()
	if err != nil {
		t.Fatal(err)
	}
	var want tunnel.Counters
	for _, one := range count(t, of) {
		want = want.Add(one)
	}
	if total != want || total.OutPackets != packets || total.InPackets != packets {
		t.Errorf("counters are %+v, want the sum of all tunnels, %+v, with %d packets each way", total, want, packets)
	}
}

func TestPathOfSeveral(t *testing.T) {
	e := openESP(t, 2, false)
	path := e.left.Path()
	want := netip.AddrPortFrom(e.leftSpec.Local.Inner4, tunnel.ProbePort)
	if path.Local != want || path.MTU != e.leftSpec.MTU || path.Interface != "" {
		t.Errorf("got %+v, want local %s, MTU %d and no interface", path, want, e.leftSpec.MTU)
	}
}

// One tunnel is not touched: it has its own interface still.
func TestOneTunnel(t *testing.T) {
	e := openESP(t, 1, false)
	if e.left.Path().Interface == "" {
		t.Error("one tunnel: its interface is hidden")
	}
	if got := len(count(t, e.left)); got != 1 {
		t.Errorf("one tunnel: got %d counters, want 1", got)
	}
}
