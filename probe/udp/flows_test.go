package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// outlets opens sockets at ports of their own, connected to the same port.
func outlets(t testing.TB, ip string, count int) []*net.UDPConn {
	t.Helper()
	conns := make([]*net.UDPConn, count)
	for i := range conns {
		conns[i] = connect(t, net.JoinHostPort(ip, fmt.Sprint(5001+i)), net.JoinHostPort(ip, "5000"))
	}
	return conns
}

// inlet opens the socket that they are connected to.
func inlet(t testing.TB, ip string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", address(net.JoinHostPort(ip, "5000")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// runFlows runs a whole trial of several flows.
func runFlows(t testing.TB, load probe.Load, ip string) trialOutcome {
	t.Helper()
	out, in := outlets(t, ip, load.Flows), inlet(t, ip)
	trial := testTrial(t)
	trial.Peer = netip.MustParseAddr(ip)
	var o trialOutcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.received, o.gotEr = Receive(t.Context(), in, trial, load, nil)
	}()
	o.sent, o.sendErr = Send(t.Context(), out, trial, load, nil)
	<-done
	return o
}

func TestIntegrationFlows(t *testing.T) {
	for _, tt := range []struct {
		name string
		ip   string
		load probe.Load
	}{
		{"paced over IPv4", "127.0.0.1", probe.Load{InnerBitsPerSecond: 50e6, Duration: 200 * ms, InnerSize: 1400, Flows: 8}},
		{"trains over IPv6", "::1", probe.Load{InnerBitsPerSecond: 50e6, Duration: 200 * ms, InnerSize: 1400, Flows: 3, Train: 10}},
		{"burst", "127.0.0.1", probe.Load{Packets: 1000, InnerSize: 1400, Flows: 4}},
		{"more flows than packets", "::1", probe.Load{Packets: 2, InnerSize: 1400, Flows: 64}},
		{"one flow from an open socket", "127.0.0.1", probe.Load{Packets: 100, InnerSize: 1400, Flows: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			freshNetns(t)
			o := runFlows(t, tt.load, tt.ip)
			if err := errors.Join(o.sendErr, o.gotEr); err != nil {
				t.Fatal(err)
			}
			got := o.received
			if o.sent.Packets == 0 || got.Packets != o.sent.Packets || got.Duplicated+got.Reordered+got.Malformed+got.SocketDrops != 0 || got.FirstLoss != nil {
				t.Errorf("sent %+v\nreceived %+v\nwant all of it, once and in order", o.sent, got)
			}
		})
	}
}

// Nothing is sent on any flow while one of them has no peer.
func TestIntegrationNoLoadBeforeEveryHello(t *testing.T) {
	freshNetns(t)
	in, trial := inlet(t, "127.0.0.1"), testTrial(t)
	trial.Peer, trial.HelloWithin = netip.MustParseAddr("127.0.0.1"), 200*ms
	load := probe.Load{Packets: 100, InnerSize: 1400, Flows: 3}
	out := append(outlets(t, "127.0.0.1", 2), connect(t, "127.0.0.1:5099", "127.0.0.1:5098"))
	connect(t, "127.0.0.1:5098", "127.0.0.1:5099") // It is silent.

	ctx, got := t.Context(), make(chan probe.Received)
	go func() {
		received, _ := Receive(ctx, in, trial, load, nil)
		got <- received
	}()
	sent, err := Send(ctx, out, trial, load, nil)
	in.Close()
	received := <-got
	if !errors.Is(err, probe.ErrNoHello) || !strings.Contains(err.Error(), "flow 3 of 3, from 127.0.0.1:5099") {
		t.Errorf("got error %v, want ErrNoHello of the third flow", err)
	}
	if sent.Packets != 0 || received.Packets != 0 {
		t.Errorf("sent %d packets and received %d, want none", sent.Packets, received.Packets)
	}
}

// Who is not the peer is not answered, not even with the right key.
func TestIntegrationStranger(t *testing.T) {
	freshNetns(t)
	in, trial := inlet(t, "127.0.0.1"), testTrial(t)
	trial.Peer, trial.HelloWithin = netip.MustParseAddr("127.0.0.1"), 200*ms
	load := probe.Load{Packets: 1, InnerSize: 1400, Flows: 2}
	stranger := connect(t, "127.0.0.2:5001", "127.0.0.1:5000")
	hello := wire.Hello{Header: trial.header(wire.TypeHello, 0), Kind: wire.HelloOpen, Nonce: wire.Nonce{1}}
	if _, err := stranger.Write(hello.Append(nil, trial.Key)); err != nil {
		t.Fatal(err)
	}
	received, err := Receive(t.Context(), in, trial, load, nil)
	if !errors.Is(err, probe.ErrNoHello) || received.Malformed != 1 {
		t.Errorf("got error %v with %d malformed, want ErrNoHello and one", err, received.Malformed)
	}
	_ = stranger.SetReadDeadline(time.Now().Add(ms))
	if n, err := stranger.Read(make([]byte, 200)); err == nil {
		t.Errorf("the stranger was answered with %d bytes", n)
	}
}

func TestFlowsRefused(t *testing.T) {
	connected, err := net.DialUDP("udp", nil, address("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	open, err := net.ListenUDP("udp", address("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	trial := testTrial(t)
	named := trial
	named.Peer = netip.MustParseAddr("127.0.0.1")
	load := func(count int) probe.Load { return probe.Load{Packets: 1, InnerSize: 1400, Flows: count} }
	send := func(l probe.Load, conns ...*net.UDPConn) error {
		_, err := Send(t.Context(), conns, trial, l, nil)
		return err
	}
	receive := func(conn *net.UDPConn, trial Trial, l probe.Load) error {
		_, err := Receive(t.Context(), conn, trial, l, nil)
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"no socket", send(load(0)), "they are 0, for 1 flows"},
		{"too few sockets", send(load(2), connected), "they are 1, for 2 flows"},
		{"a socket that is not connected", send(load(2), connected, open), "not connected"},
		{"too many flows", receive(open, named, load(probe.MaxFlows+1)), "257 flows"},
		{"negative flows", receive(open, named, load(-1)), "-1 flows"},
		{"a peer that is not named", receive(open, trial, load(2)), "names none"},
		{"several flows to a connected socket", receive(connected, named, load(2)), "2 flows come from as many"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", tt.name, tt.err, tt.want)
		}
	}
}

// Flows take turns by trains, and share the numbers.
func TestFlowsTakeTurns(t *testing.T) {
	hosts := []*fakeHost{{}, {}, {}}
	out := newTransmission(hosts[0], 4)
	out.flows = []trainWriter{hosts[0], hosts[1], hosts[2]}
	if _, err := out.burst(18); err != nil {
		t.Fatal(err)
	}
	want := [][]uint64{{0, 1, 2, 3, 12, 13, 14, 15}, {4, 5, 6, 7, 16, 17}, {8, 9, 10, 11}}
	for flow, host := range hosts {
		if diff := cmp.Diff(want[flow], host.sequences); diff != "" {
			t.Errorf("sequence numbers of flow %d (-want +got):\n%s", flow, diff)
		}
		for _, stream := range host.streams {
			if int(stream) != flow {
				t.Errorf("flow %d carries packets of stream %d", flow, stream)
			}
		}
	}
}

// packetOf is one packet of one flow.
type packetOf struct {
	flow     int
	sequence uint64
}

// A flow that overtakes another has not reordered anything.
func TestTrackerOfFlows(t *testing.T) {
	for _, tt := range []struct {
		name    string
		packets []packetOf
		want    total
	}{
		{"one flow overtakes", []packetOf{{1, 2}, {1, 3}, {0, 0}, {0, 1}}, total{Packets: 4, Prefix: 4}},
		{"late in its own", []packetOf{{1, 2}, {0, 1}, {0, 0}, {1, 3}}, total{Packets: 4, Reordered: 1, Prefix: 4}},
		{"lost across flows", []packetOf{{1, 2}, {0, 0}, {1, 3}}, total{Packets: 3, Lost: 1, Prefix: 1}},
		{"again", []packetOf{{1, 1}, {0, 0}, {0, 0}}, total{Packets: 2, Duplicated: 1, Lost: 2, Prefix: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTracker(2)
			for _, p := range tt.packets {
				tr.add(p.flow, p.sequence, 0)
			}
			got := total{tr.packets, tr.duplicated, tr.reordered, tr.lost(4), tr.prefix}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// Delays of two flows are of two paths: their difference is no variation.
func TestVariationWithinFlows(t *testing.T) {
	v := newVariation()
	for i := range uint64(8) {
		flow := int(i / 2 % 2) // Trains of two.
		v.add(flow, i, time.Duration(flow)*10*ms)
	}
	if got := v.result(); got.Max != 0 {
		t.Errorf("got a variation of %v, want none", got.Max)
	}
}

// Each hello is answered where it came from, feedback goes to the first flow,
// and once there is load nobody can move a flow.
func TestReceptionOfFlows(t *testing.T) {
	trial := testTrial(t)
	load := probe.Load{Packets: 100, InnerSize: 128, Flows: 2}
	var asked []netip.AddrPort
	r := newReception(trial, load, fakeSize, wire.Nonce{0xbb}, 0, func(to netip.AddrPort, _ []byte) { asked = append(asked, to) })
	from := func(port uint16, flow int) netip.AddrPort {
		r.source = netip.AddrPortFrom(netip.MustParseAddr("198.18.0.1"), port)
		h := wire.Hello{Header: trial.header(wire.TypeHello, flow), Kind: wire.HelloOpen, Nonce: wire.Nonce{0xaa}}
		r.handle(h.Append(nil, trial.Key), 0)
		return r.source
	}
	second, first := from(5002, 1), from(5001, 0)
	from(5003, 2) // There is no such flow.
	r.tick(feedbackEvery)
	data := dataOf(trial, 0, fakeSize)
	r.handle(data, feedbackEvery)
	from(6666, 0) // A replay.
	r.tick(2 * feedbackEvery)
	want := []netip.AddrPort{second, first, first, first, first}
	if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(asked)); diff != "" {
		t.Errorf("answers went to (-want +got):\n%s", diff)
	}
	if r.malformed != 1 {
		t.Errorf("%d datagrams are malformed, want the hello of a flow that is none", r.malformed)
	}
}
