package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

func TestInletsRefused(t *testing.T) {
	connected, err := net.DialUDP("udp", nil, probetest.Address("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	open, err := net.ListenUDP("udp", probetest.Address("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	trial := testTrial(t)
	named := trial
	named.Peer = netip.MustParseAddr("127.0.0.1")
	load := func(flows, lanes int) probe.Load {
		l := fakeLoad
		l.Flows, l.Lanes = flows, lanes
		return l
	}
	receive := func(trial Trial, l probe.Load, conns ...*net.UDPConn) error {
		_, err := Receive(t.Context(), conns, trial, l, nil)
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"no socket", receive(named, load(0, 0)), "they are 0, for 1 lanes"},
		{"too few sockets", receive(named, load(8, 2), open), "they are 1, for 2 lanes"},
		{"more sockets than flows", receive(named, load(1, 2), open, open), "they are 2, for 1 lanes"},
		{"too many flows", receive(named, load(probe.MaxFlows+1, 1), open), "10001 flows"},
		{"too many lanes", receive(named, load(probe.MaxLanes+1, probe.MaxLanes+1), slices.Repeat([]*net.UDPConn{open}, probe.MaxLanes+1)...), "17 lanes"},
		{"a peer that is not named", receive(trial, load(2, 1), open), "names none"},
		{"several flows to a connected socket", receive(named, load(2, 1), connected), "2 flows come from as many"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", tt.name, tt.err, tt.want)
		}
	}
}

// Whatever the load, a receiver takes no more than 64 MiB.
func TestReceiverMemoryBounded(t *testing.T) {
	for _, flows := range []int{1, 16, 1000, probe.MaxFlows} {
		for _, lanes := range []int{1, min(flows, probe.MaxLanes)} {
			load := probe.Load{
				InnerBitsPerSecond: 100e9, Duration: probe.MaxDuration, Flows: flows, Lanes: lanes,
				Mix: probe.Mix{Sizes: []int{64, sockets.MaxInner}},
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			in := intakeOf(t, load)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
				t.Errorf("%d flows in %d lanes take %d MiB, want 64 at most", flows, lanes, took>>20)
			}
			runtime.KeepAlive(in)
		}
	}
}

// intakeOf is the receiving end of a load, at ports of the system's choice.
func intakeOf(t testing.TB, load probe.Load) *intake {
	t.Helper()
	var conns []*net.UDPConn
	for range load.LaneCount() {
		conn, err := net.ListenUDP("udp", probetest.Address("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conns = append(conns, conn)
	}
	trial := testTrial(t)
	trial.Peer = netip.MustParseAddr("127.0.0.1")
	in, err := newIntake(conns, trial, load, nil)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// A receiver that takes datagrams one by one counts the same.
func TestIntegrationWithoutGRO(t *testing.T) {
	load := probe.Load{InnerBitsPerSecond: 50e6, Duration: 200 * ms, Mix: probe.Fixed(1400), Flows: 3, Burst: 10}
	for _, without := range []bool{false, true} {
		t.Run(fmt.Sprintf("without GRO %v", without), func(t *testing.T) {
			probetest.EnterNetns(t)
			in, trial := inlets(t, "127.0.0.1", 1), testTrial(t)
			trial.Peer, trial.NoGRO = netip.MustParseAddr("127.0.0.1"), without
			var kept int // Receive closes what it is given.
			if err := sockets.Control(in[0], func(fd int) (err error) { kept, err = unix.Dup(fd); return err }); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(kept)
			o := runBetween(t, in, dialHere(t, "127.0.0.1"), trial, load)
			if err := errors.Join(o.sendErr, o.gotEr); err != nil {
				t.Fatal(err)
			}
			assertAllCame(t, o)
			if on, err := unix.GetsockoptInt(kept, unix.SOL_UDP, unix.UDP_GRO); err != nil || (on == 0) != without {
				t.Errorf("UDP_GRO is %d (%v), want it off: %v", on, err, without)
			}
		})
	}
}

// Progress is told at multiples of what was asked for since the first packet, of all
// lanes together, and ends with the trial.
func TestIntegrationProgress(t *testing.T) {
	probetest.EnterNetns(t)
	load := probe.Load{InnerBitsPerSecond: 20e6, Duration: 500 * ms, Mix: probe.Fixed(1000), Flows: 4, Lanes: 2}
	in, trial := inlets(t, "127.0.0.1", 2), testTrial(t)
	trial.Peer, trial.ProgressEvery = netip.MustParseAddr("127.0.0.1"), 40*ms
	var mutex sync.Mutex
	var told []probe.Progress
	done := make(chan struct{})
	var got probe.Received
	var gotErr error
	go func() {
		defer close(done)
		got, gotErr = Receive(t.Context(), in, trial, load, func(p probe.Progress) {
			mutex.Lock()
			defer mutex.Unlock()
			told = append(told, p)
		})
	}()
	_, err := Send(t.Context(), dialHere(t, "127.0.0.1"), trial, load, nil)
	<-done
	if err := errors.Join(err, gotErr); err != nil {
		t.Fatal(err)
	}
	mutex.Lock()
	defer mutex.Unlock()
	if most := int((load.Duration + wire.LastWithin) / trial.ProgressEvery); len(told) < 2 || len(told) > most {
		t.Fatalf("progress was told %d times, want it several times and %d at most", len(told), most)
	}
	var before probe.Progress
	for _, p := range told {
		if p.Elapsed <= before.Elapsed || p.Received < before.Received || p.ReceivedInnerBytes != 1000*p.Received || p.Lost > 0 {
			t.Errorf("told %+v after %+v, want more, later, and nothing lost", p, before)
		}
		before = p
	}
	if before.Received == 0 || before.Received > got.Packets {
		t.Errorf("told of %d packets at last, want some of %d", before.Received, got.Packets)
	}
}

// One lane that no hello comes to ends all; what others have counted is returned.
func TestIntegrationLaneWithoutHello(t *testing.T) {
	probetest.EnterNetns(t)
	load := fakeLoad
	load.Flows, load.Lanes = 2, 2
	in, trial := inlets(t, "127.0.0.1", 2), testTrial(t)
	trial.Peer, trial.HelloWithin = netip.MustParseAddr("127.0.0.1"), 200*ms
	peer := probetest.Connect(t, "127.0.0.1:4000", inletAt("127.0.0.1", 0))
	var got probe.Received
	done := make(chan error, 1)
	ctx := t.Context()
	go func() {
		var err error
		got, err = Receive(ctx, in, trial, load, nil)
		done <- err
	}()
	greetAt(t, peer, trial)
	if _, err := peer.Write(dataOf(trial, 0, 0, fakeSize)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, probe.ErrNoHello) || got.Packets != 1 {
		t.Errorf("got error %v and %d packets, want ErrNoHello and the one that came", err, got.Packets)
	}
}

// greetAt opens the first lane at the other end of conn.
func greetAt(t *testing.T, conn *net.UDPConn, trial Trial) (nonce wire.Nonce) {
	t.Helper()
	hello := wire.Hello{Header: trial.header(wire.TypeHello, 0), Kind: wire.HelloOpen, Nonce: wire.Nonce{1}}
	for range 100 {
		_, _ = conn.Write(hello.Append(nil, trial.Key)) // Until the peer's socket is open.
		_ = conn.SetReadDeadline(time.Now().Add(20 * ms))
		var b [wire.HelloSize]byte
		n, err := conn.Read(b[:])
		if err != nil {
			continue
		}
		if h, err := wire.OpenHello(b[:n], trial.Key); err == nil {
			return h.Nonce
		}
	}
	t.Fatal("no reply to hello")
	return nonce
}

// What others send to the trial's socket, from the peer's address or not, is counted
// and not answered; the trial goes on.
func TestIntegrationHostile(t *testing.T) {
	probetest.EnterNetns(t)
	load := probe.Load{InnerBitsPerSecond: 10e6, Duration: 300 * ms, Mix: probe.Fixed(500), Flows: 2}
	in, trial := inlets(t, "127.0.0.1", 1), testTrial(t)
	trial.Peer = netip.MustParseAddr("127.0.0.1")
	stranger := testTrial(t)
	stranger.Key = probetest.StrangersKey(t)
	var sources []*net.UDPConn
	for i, ip := range []string{"127.0.0.1", "127.0.0.3"} {
		sources = append(sources, probetest.Connect(t, fmt.Sprintf("%s:%d", ip, 4000+i), inletAt("127.0.0.1", 0)))
	}
	hello := wire.Hello{Header: trial.header(wire.TypeHello, 0), Kind: wire.HelloOpen, Nonce: wire.Nonce{9}}
	other := dataOf(trial, 5, 0, 500-fakeHeaders)
	foul := [][]byte{
		{0}, make([]byte, 1472), hello.Append(nil, stranger.Key), other, dataOf(trial, 0, 1<<47, 500-fakeHeaders),
		wire.Feedback{Header: trial.header(wire.TypeFeedback, 0)}.Append(nil, trial.Key),
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wait sync.WaitGroup
	for _, conn := range sources {
		wait.Go(func() {
			for ctx.Err() == nil {
				for _, b := range foul {
					_, _ = conn.Write(b)
				}
				time.Sleep(ms) // A flood would starve the peer on a small machine.
			}
		})
	}
	o := runBetween(t, in, dialHere(t, "127.0.0.1"), trial, load)
	cancel()
	wait.Wait()
	if err := errors.Join(o.sendErr, o.gotEr); err != nil {
		t.Fatal(err)
	}
	if o.received.Malformed == 0 || o.received.Packets != o.sent.Packets {
		t.Errorf("%d malformed, and received %d packets of %d, want some, and all", o.received.Malformed, o.received.Packets, o.sent.Packets)
	}
	for _, conn := range sources {
		_ = conn.SetReadDeadline(time.Now().Add(ms))
		if n, err := conn.Read(make([]byte, 2000)); err == nil {
			t.Errorf("%v was answered with %d bytes", conn.LocalAddr(), n)
		}
	}
}

// BenchmarkWithoutGRO is how many datagrams a receiver gets that takes them one by
// one, from a sender that sends trains as fast as it can.
func BenchmarkWithoutGRO(b *testing.B) {
	for _, size := range []int{64, 1400} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			probetest.EnterNetns(b) // Of this goroutine's thread.
			load := probe.Load{InnerBitsPerSecond: faster, Duration: 500 * ms, Mix: probe.Fixed(size)}
			var packets, drops float64
			for range b.N {
				out, in := probetest.Pair(b, "127.0.0.1")
				trial := testTrial(b)
				trial.NoGRO = true
				o := runBetween(b, inlet(in), flows(out), trial, load)
				if err := errors.Join(o.sendErr, o.gotEr); err != nil {
					b.Fatal(err)
				}
				in.Close()
				packets += float64(o.received.Packets) / o.sent.Elapsed.Seconds()
				drops += float64(o.received.SocketDrops) / float64(o.sent.Packets)
			}
			b.ReportMetric(packets/float64(b.N), "packets/s")
			b.ReportMetric(100*drops/float64(b.N), "socket-drops-%")
			b.ReportMetric(0, "ns/op")
		})
	}
}
