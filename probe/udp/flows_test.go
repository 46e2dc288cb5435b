package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// runFlows runs a whole trial of several flows from the sockets that open gives.
func runFlows(t testing.TB, load probe.Load, ip string, open Open) trialOutcome {
	t.Helper()
	in, trial := inlets(t, ip, load.LaneCount()), testTrial(t)
	trial.Peer = netip.MustParseAddr(ip)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var o trialOutcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.received, o.gotEr = Receive(ctx, in, trial, load, nil)
	}()
	if o.sent, o.sendErr = Send(ctx, open, trial, load, nil); o.sendErr != nil {
		cancel()
	}
	<-done
	return o
}

func TestIntegrationFlows(t *testing.T) {
	load := func(change func(*probe.Load)) probe.Load {
		l := probe.Load{InnerBitsPerSecond: 50e6, Duration: 200 * ms, Mix: probe.Fixed(1400), Flows: 8}
		change(&l)
		return l
	}
	for _, tt := range []struct {
		name string
		ip   string
		load probe.Load
	}{
		{"eight over IPv4", "127.0.0.1", load(func(*probe.Load) {})},
		{"bursts over IPv6", "::1", load(func(l *probe.Load) { l.Flows, l.Burst = 3, 10 })},
		{"two lanes", "127.0.0.1", load(func(l *probe.Load) { l.Lanes = 2 })},
		{"three lanes with unequal flows over IPv6", "::1", load(func(l *probe.Load) { l.Lanes = 3 })},
		{"more lanes than flows", "127.0.0.1", load(func(l *probe.Load) { l.Flows, l.Lanes = 2, 16 })},
		{"more flows than packets", "::1", load(func(l *probe.Load) { l.Flows, l.InnerBitsPerSecond = 64, 1e6 })},
		{"one from a socket that is not connected to", "127.0.0.1", load(func(l *probe.Load) { l.Flows = 1 })},
		{"sizes mixed", "127.0.0.1", load(func(l *probe.Load) { l.Mix = probe.Mix{Sizes: []int{64, 64, 570, 1500}, Seed: 3}; l.Burst = 7 })},
		{"new flows", "127.0.0.1", load(func(l *probe.Load) { l.Lanes, l.NewFlowsPerSecond = 2, 500 })},
		{"thousands", "127.0.0.1", load(func(l *probe.Load) { l.Flows, l.Lanes, l.Mix = 4000, 2, probe.Fixed(128) })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probetest.EnterNetns(t)
			o := runFlows(t, tt.load, tt.ip, dialHere(t, tt.ip))
			if err := errors.Join(o.sendErr, o.gotEr); err != nil {
				t.Fatal(err)
			}
			assertAllCame(t, o)
		})
	}
}

// assertAllCame expects all of every flow, once and in order.
func assertAllCame(t *testing.T, o trialOutcome) {
	t.Helper()
	got := o.received
	odd := got.Duplicated + got.Reordered.Packets + got.Malformed + got.SocketDrops
	if o.sent.Packets == 0 || got.Packets != o.sent.Packets || got.InnerBytes != o.sent.InnerBytes || odd != 0 || got.FirstLoss != nil {
		t.Errorf("sent %d packets, %d bytes\nreceived %d, %d, first loss %v, %d odd ones\nwant all of it, once and in order",
			o.sent.Packets, o.sent.InnerBytes, got.Packets, got.InnerBytes, got.FirstLoss, odd)
	}
	for i, f := range o.sent.PerFlow {
		if got := o.received.PerFlow[i].Packets; got != f.Packets {
			t.Errorf("flow %d: received %d packets of %d", i, got, f.Packets)
		}
	}
}

// Nothing is sent in any lane while one of them has no peer.
func TestIntegrationNoLoadBeforeEveryHello(t *testing.T) {
	probetest.EnterNetns(t)
	trial := testTrial(t)
	trial.Peer, trial.HelloWithin = netip.MustParseAddr("127.0.0.1"), 200*ms
	load := probe.Load{InnerBitsPerSecond: 50e6, Duration: 200 * ms, Mix: probe.Fixed(1400), Flows: 3}
	in := inlets(t, "127.0.0.1", 2)[:1]
	got := make(chan probe.Received, 1)
	ctx, cancel := context.WithCancel(t.Context())
	one := load // Lane.
	load.Lanes = 2
	go func() {
		received, _ := Receive(ctx, in, trial, one, nil)
		got <- received
	}()
	sent, err := Send(ctx, dialHere(t, "127.0.0.1"), trial, load, nil)
	cancel()
	received := <-got
	if !errors.Is(err, probe.ErrNoHello) || !strings.Contains(err.Error(), "lane 2 of 2, from 127.0.0.1:") {
		t.Errorf("got error %v, want ErrNoHello of the second lane", err)
	}
	if sent.Packets != 0 || received.Packets != 0 {
		t.Errorf("sent %d packets and received %d, want none", sent.Packets, received.Packets)
	}
}

// A path that swallows a flow, as one of several of equal cost may, loses that flow;
// the others pass.
func TestIntegrationFlowSwallowed(t *testing.T) {
	probetest.EnterNetns(t)
	hole, err := net.ListenUDP("udp", probetest.Address("127.0.0.1:5999"))
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	load := probe.Load{InnerBitsPerSecond: 10e6, Duration: 200 * ms, Mix: probe.Fixed(1400), Flows: 4}
	open, opened := dial("127.0.0.1"), 0
	o := runFlows(t, load, "127.0.0.1", func(lane int) (*net.UDPConn, error) {
		if opened++; opened == 3 {
			return net.DialUDP("udp", nil, probetest.Address("127.0.0.1:5999"))
		}
		return open(lane)
	})
	if err := errors.Join(o.sendErr, o.gotEr); err != nil {
		t.Fatal(err)
	}
	for i, f := range o.sent.PerFlow {
		want := f.Packets
		if i == 2 {
			want = 0
		}
		if got := o.received.PerFlow[i].Packets; f.Packets == 0 || got != want {
			t.Errorf("flow %d: received %d packets of %d, want %d", i, got, f.Packets, want)
		}
	}
}

// Every packet of both ends carries the code point that was asked for.
func TestIntegrationDSCP(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		probetest.EnterNetns(t)
		a, b := probetest.Pair(t, ip)
		if err := errors.Join(prepareSender(a, 46), prepareReceiver(b, probe.Load{DSCP: 46}, true)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		for end, conn := range map[string]*net.UDPConn{"load": b, "feedback": a} {
			if got := trafficClass(t, conn); got != 46<<2 {
				t.Errorf("%s: the %s has the traffic class %d, want %d", ip, end, got, 46<<2)
			}
		}
	}
}

// trafficClass is that of the next datagram.
func trafficClass(t *testing.T, conn *net.UDPConn) byte {
	t.Helper()
	ask := sockets.Option{Name: "IP_RECVTOS", Level: unix.IPPROTO_IP, Which: unix.IP_RECVTOS, Value: 1}
	if !sockets.IsIPv4(conn) {
		ask = sockets.Option{Name: "IPV6_RECVTCLASS", Level: unix.IPPROTO_IPV6, Which: unix.IPV6_RECVTCLASS, Value: 1}
	}
	if err := sockets.Control(conn, func(fd int) error { return sockets.Set(fd, ask) }); err != nil {
		t.Fatal(err)
	}
	control := make([]byte, 100)
	_, n, _, _, err := conn.ReadMsgUDP(make([]byte, 100), control)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS || m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_TCLASS {
			return m.Data[0]
		}
	}
	return 0
}

// Who is not the peer is not answered, not even with the right key.
func TestIntegrationStranger(t *testing.T) {
	probetest.EnterNetns(t)
	in, trial := inlets(t, "127.0.0.1", 1), testTrial(t)
	trial.Peer, trial.HelloWithin = netip.MustParseAddr("127.0.0.1"), 200*ms
	load := second350
	load.Flows = 2
	stranger := probetest.Connect(t, "127.0.0.2:5001", "127.0.0.1:5000")
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

// opening counts what Send opens, and says whether all of it was closed.
type opening struct {
	open  Open
	conns []*net.UDPConn
}

func (o *opening) Open(lane int) (*net.UDPConn, error) {
	conn, err := o.open(lane)
	if err == nil {
		o.conns = append(o.conns, conn)
	}
	return conn, err
}

func (o *opening) assertClosed(t *testing.T) {
	t.Helper()
	for _, conn := range o.conns {
		if err := conn.SetDeadline(sockets.LongAgo()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the socket at %v is still open", conn.LocalAddr())
		}
	}
}

func TestSendOpens(t *testing.T) {
	trial := testTrial(t)
	trial.HelloWithin = 20 * ms
	failing := func(after int, err error) Open {
		return func(lane int) (*net.UDPConn, error) {
			if after--; after < 0 {
				return nil, err
			}
			return nobody(lane)
		}
	}
	unconnected := func(int) (*net.UDPConn, error) { return net.ListenUDP("udp", probetest.Address("127.0.0.1:0")) }
	load := second350
	load.Flows, load.Lanes, load.NewFlowsPerSecond = 6, 2, 100
	for _, tt := range []struct {
		name  string
		open  Open
		want  string
		opens int
	}{
		{"no peer", nobody, "no authenticated hello", 6 + 2*(2+2)},
		{"a socket that is not connected", unconnected, "not connected", 1},
		{"no descriptor left", failing(3, unix.EMFILE), "open flow 5 of 6: too many open files: each flow takes a file descriptor", 3},
		{"none left for new flows", failing(7, errors.New("no port left")), "begin new flows: no port left", 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &opening{open: tt.open}
			_, err := Send(t.Context(), o.Open, trial, load, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			if len(o.conns) != tt.opens {
				t.Errorf("opened %d sockets, want %d", len(o.conns), tt.opens)
			}
			o.assertClosed(t)
		})
	}
}

// Flows take turns by trains, and each has numbers of its own.
func TestFlowsTakeTurns(t *testing.T) {
	f := &fakeHost{}
	load := second350
	load.Flows, load.Duration = 6, 18*32*time.Microsecond
	load.Lanes = 2
	load.InnerBitsPerSecond *= 2
	mustSendPaced(t, f, load) // The first lane has flows 0, 2 and 4.
	want := map[uint16][]uint64{0: {0, 1, 2, 3, 4, 5, 6, 7}, 2: {0, 1, 2, 3, 4, 5}, 4: {0, 1, 2, 3}}
	got := map[uint16][]uint64{}
	for i, stream := range f.streams {
		got[stream] = append(got[stream], f.sequences[i])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sequence numbers by flow (-want +got):\n%s", diff)
	}
}

// What the stack refuses of one flow does not touch the numbers of another.
func TestFlowsRefused(t *testing.T) {
	f := &fakeHost{refuse: func(train int) (int, error) {
		if train%2 == 1 {
			return 1, unix.ECONNREFUSED
		}
		return 4, nil
	}}
	load := second350
	load.Flows, load.Duration = 2, 16*32*time.Microsecond
	out := newFakeTransmission(f, load)
	if _, err := out.paced(newSchedule(load, out.train), 0); err != nil {
		t.Fatal(err)
	}
	if got := out.counts(); out.flows[0].next != 8 || out.flows[1].next != 2 || got.Packets != 10 || got.Refused != 6 {
		t.Errorf("flows sent %d and %d, counted %+v, want 8 and 2, and 6 refused", out.flows[0].next, out.flows[1].next, got)
	}
}

// Bursts of several lanes take turns.
func TestLanesTakeTurns(t *testing.T) {
	load := second350
	load.Flows, load.Lanes = 4, 4
	var got []time.Duration
	for number := range 4 {
		l := &lane{number: number, shared: load, out: &transmission{train: 2}}
		got = append(got, l.stagger())
	}
	want := []time.Duration{0, 64 * time.Microsecond, 128 * time.Microsecond, 192 * time.Microsecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lanes begin (-want +got):\n%s", diff)
	}
}

// newFakeRenewal is of a lane of three flows and ten new ones a second.
func newFakeRenewal(t *testing.T) (*renewal, []flow) {
	t.Helper()
	load := second350
	load.Flows, load.NewFlowsPerSecond = 3, 10
	open := func() (*plain, error) {
		conn, err := nobody(0)
		if err != nil {
			return nil, err
		}
		return takeOver(conn)
	}
	list := make([]flow, 3)
	for i := range list {
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		list[i] = flow{number: i, conn: s, next: 7}
	}
	r := newRenewal(open, load, 0)
	if err := r.fill(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r, list
}

// New flows begin evenly, the oldest ones end first, and the lane's first one stays.
// Numbers go on.
func TestRenewal(t *testing.T) {
	r, list := newFakeRenewal(t)
	var got []string
	for now := time.Duration(0); now <= 410*ms; now += 10 * ms {
		before := []*plain{list[0].conn, list[1].conn, list[2].conn}
		if err := r.exchange(list, now); err != nil {
			t.Fatal(err)
		}
		for i := range list {
			if list[i].conn != before[i] {
				got = append(got, fmt.Sprint(i, " at ", now))
			}
		}
		r.visit()
	}
	want := []string{"1 at 100ms", "2 at 200ms", "1 at 300ms", "2 at 400ms"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flows replaced (-want +got):\n%s", diff)
	}
	if list[1].number != 1 || list[1].next != 7 {
		t.Errorf("flow 1 is now number %d with packet %d next, want 1 and 7", list[1].number, list[1].next)
	}
	for _, f := range list {
		f.conn.Close()
	}
}

// A host that cannot open sockets so fast must not pass for one that does; a short
// delay is made up.
func TestRenewalLate(t *testing.T) {
	r, list := newFakeRenewal(t)
	for range 2 { // As many as are kept are there.
		if err := r.exchange(list, 600*ms); err != nil {
			t.Fatal(err)
		}
	}
	if r.due != 300*ms {
		t.Errorf("the next flow is due at %v, want 300ms: the third one's socket is not there", r.due)
	}
	r.visit()
	if err := r.exchange(list, 600*ms); err != nil || r.due != 500*ms {
		t.Errorf("got error %v, the next is due at %v, want none and 500ms", err, r.due)
	}
	if err := r.exchange(list, 1600*ms); err == nil || !strings.Contains(err.Error(), "ask for fewer") {
		t.Errorf("got error %v, want one that says what to do", err)
	}
	for _, f := range list {
		f.conn.Close()
	}
}

func TestRenewalFails(t *testing.T) {
	r, list := newFakeRenewal(t)
	r.open = func() (*plain, error) { return nil, unix.EADDRNOTAVAIL }
	if err := r.exchange(list, 100*ms); err != nil {
		t.Fatal(err)
	}
	r.visit()
	if err := r.exchange(list, 110*ms); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("got error %v, want why there are no more", err)
	}
	for _, f := range list {
		f.conn.Close()
	}
}
