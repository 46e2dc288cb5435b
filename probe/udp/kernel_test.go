package udp

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// inlet is what Receive takes for a load of one lane.
func inlet(conn *net.UDPConn) []*net.UDPConn { return []*net.UDPConn{conn} }

func mustRunTrial(t *testing.T, load probe.Load, ip string) trialOutcome {
	t.Helper()
	o := runTrial(t, load, ip)
	if err := errors.Join(o.sendErr, o.gotEr); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestIntegrationTrial(t *testing.T) {
	paced := probe.Load{InnerBitsPerSecond: 50e6, Duration: 300 * ms, Mix: probe.Fixed(1400)}
	bursts, mixed := paced, paced
	bursts.Burst = 10
	mixed.Mix = probe.Mix{Sizes: []int{64, 64, 570, 1500}, Seed: 5}
	small := probe.Load{InnerBitsPerSecond: 1e6, Duration: 200 * ms, Mix: probe.Fixed(64)}
	one := probe.Load{InnerBitsPerSecond: 1e6, Duration: 11200 * us, Mix: probe.Fixed(1400)}
	for _, tt := range []struct {
		name string
		ip   string
		load probe.Load
	}{
		{"paced over IPv4", "127.0.0.1", paced},
		{"paced over IPv6", "::1", paced},
		{"bursts", "127.0.0.1", bursts},
		{"sizes mixed", "::1", mixed},
		{"smallest packets over IPv6", "::1", small},
		{"one packet", "127.0.0.1", one},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probetest.EnterNetns(t)
			o := mustRunTrial(t, tt.load, tt.ip)
			assertAllCame(t, o)
			checkSums(t, o.received, o.sent.Packets)
			assertPaced(t, tt.load, o.sent)
			if o.sent.HelloRTT <= 0 {
				t.Errorf("hello took %v, want some time", o.sent.HelloRTT)
			}
		})
	}
}

// assertPaced checks sums, not speed: the packets that were sent take the time
// that was not skipped, to within the lateness that is never made up and a pass of
// the mix.
func assertPaced(t *testing.T, load probe.Load, s probe.Sent) {
	t.Helper()
	if s.Elapsed < load.Duration-time.Duration(packetInterval(load)*float64(s.Burst)) {
		t.Errorf("lasted %v, want %v", s.Elapsed, load.Duration)
	}
	pass := load.Mix.Mean() * float64(len(load.Mix.Sizes))
	most := (s.Elapsed-s.Skipped).Seconds()*load.InnerBitsPerSecond/8 + pass
	if float64(s.InnerBytes) > most {
		t.Errorf("sent %d bytes in %v with %v skipped, want %g at most", s.InnerBytes, s.Elapsed, s.Skipped, most)
	}
}

// Where the device cannot segment, each datagram is sent by itself.
func TestIntegrationWithoutSegmentation(t *testing.T) {
	probetest.EnterNetns(t)
	a, b := probetest.Pair(t, "127.0.0.1")
	to, data, lengths := trainTo(t, a)
	if taken, err := newSocketWriter(10, false).write(to, data, lengths); err != nil || taken != 10 {
		t.Fatalf("took %d datagrams, error %v, want 10 and none", taken, err)
	}
	_ = b.SetReadDeadline(time.Now().Add(time.Second))
	for i := range 10 {
		if n, err := b.Read(make([]byte, 200)); err != nil || n != 100 {
			t.Fatalf("datagram %d has %d bytes (%v), want 100", i, n, err)
		}
	}
}

// trainTo is a train of ten datagrams of 100 bytes for a socket.
func trainTo(t *testing.T, conn *net.UDPConn) (to *plain, data []byte, lengths []int) {
	t.Helper()
	to, err := openSocket(func(int) (*net.UDPConn, error) { return conn, nil }, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		lengths = append(lengths, 100)
	}
	return to, make([]byte, 10*100), lengths
}

// The kernel refuses to segment on a socket whose checksums are off: a real
// refusal, and the trial goes on with single datagrams.
func TestIntegrationSegmentationRefused(t *testing.T) {
	probetest.EnterNetns(t)
	a, _ := probetest.Pair(t, "127.0.0.1")
	to, data, lengths := trainTo(t, a)
	if err := unix.SetsockoptInt(to.fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		t.Fatal(err)
	}
	w := newSocketWriter(10, true)
	if taken, err := w.write(to, data, lengths); err != nil || taken != 10 || w.segments || w.segmented() {
		t.Errorf("took %d datagrams, error %v, segmenting %v, want 10, none, false", taken, err, w.segments)
	}
}

func TestIntegrationTooLarge(t *testing.T) {
	a, b := vethPair(t)
	load := probe.Load{InnerBitsPerSecond: 10e6, Duration: 100 * ms, Mix: probe.Fixed(1501)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _, _ = Receive(ctx, inlet(b), testTrial(t), load, nil) }()
	_, err := Send(ctx, flows(a), testTrial(t), load, nil)
	cancel()
	<-done
	if !errors.Is(err, unix.EMSGSIZE) || !strings.Contains(err.Error(), "the path takes 1500") {
		t.Errorf("got error %v, want EMSGSIZE and what the path takes", err)
	}
}

// vethPair opens two sockets at the ends of a veth pair.
func vethPair(t *testing.T) (a, b *net.UDPConn) {
	t.Helper()
	siteA, siteB := probetest.VethPair(t)
	open := func(at *probetest.Site, local, remote string) (conn *net.UDPConn) {
		if err := at.Do(func() (err error) {
			conn, err = net.DialUDP("udp", probetest.Address(local+":5001"), probetest.Address(remote+":5001"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	return open(siteA, probetest.AddressA, probetest.AddressB), open(siteB, probetest.AddressB, probetest.AddressA)
}

func TestIntegrationVeth(t *testing.T) {
	a, b := vethPair(t)
	load := probe.Load{InnerBitsPerSecond: 20e6, Duration: 200 * ms, Mix: probe.Fixed(1500), Burst: 3}
	var got probe.Received
	var gotErr error
	done := make(chan struct{})
	go func() { defer close(done); got, gotErr = Receive(t.Context(), inlet(b), testTrial(t), load, nil) }()
	sent, err := Send(t.Context(), flows(a), testTrial(t), load, nil)
	<-done
	if err := errors.Join(err, gotErr); err != nil {
		t.Fatal(err)
	}
	if got.Packets != sent.Packets || got.Malformed != 0 {
		t.Errorf("sent %d packets, received %d, %d malformed, want all and none", sent.Packets, got.Packets, got.Malformed)
	}
}

// No DATA leaves a sender whose peer does not hold the key.
func TestIntegrationNoLoadWithoutPeer(t *testing.T) {
	stranger := testTrial(t)
	stranger.Key = probetest.StrangersKey(t)
	for _, tt := range []struct {
		name string
		peer func(ctx context.Context, b *net.UDPConn, load probe.Load)
	}{
		{"nobody", func(context.Context, *net.UDPConn, probe.Load) {}},
		{"a peer with another key", func(ctx context.Context, b *net.UDPConn, load probe.Load) {
			_, _ = Receive(ctx, inlet(b), stranger, load, nil)
		}},
		{"one that reflects", func(_ context.Context, b *net.UDPConn, _ probe.Load) { reflect(b) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probetest.EnterNetns(t)
			a, relayed, b, far := probetest.RelayedPair(t)
			var data atomic.Int64
			stop := relay(t, relayed, far, func(d []byte, pass func([]byte)) {
				if d[0]&0xf == byte(wire.TypeData) {
					data.Add(1)
				}
				pass(d)
			})
			trial := testTrial(t)
			trial.HelloWithin = 300 * ms
			load := probe.Load{InnerBitsPerSecond: 10e6, Duration: 100 * ms, Mix: probe.Fixed(1400)}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); tt.peer(ctx, b, load) }()
			sent, err := Send(ctx, flows(a), trial, load, nil)
			cancel()
			b.Close()
			<-done
			stop()
			if !errors.Is(err, probe.ErrNoHello) || sent.Packets != 0 || data.Load() != 0 {
				t.Errorf("got error %v, %d packets sent, %d seen, want ErrNoHello and none", err, sent.Packets, data.Load())
			}
		})
	}
}

// reflect sends back whatever comes.
func reflect(b *net.UDPConn) {
	buffer := make([]byte, 2000)
	for {
		n, err := b.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		_, _ = b.Write(buffer[:n])
	}
}

// A sender whose receiver is stopped ends within a second and a little, and
// nothing leaves it after that.
func TestIntegrationReceiverDies(t *testing.T) {
	probetest.EnterNetns(t)
	a, relayed, b, far := probetest.RelayedPair(t)
	var lastData atomic.Int64
	start := time.Now()
	stop := relay(t, relayed, far, func(d []byte, pass func([]byte)) {
		if d[0]&0xf == byte(wire.TypeData) {
			lastData.Store(int64(time.Since(start)))
		}
		pass(d)
	})
	load := probe.Load{InnerBitsPerSecond: 5e6, Duration: 20 * time.Second, Mix: probe.Fixed(1400)}
	ctx, cancel := context.WithCancel(t.Context())
	died := make(chan time.Duration, 1)
	go func() {
		_, _ = Receive(ctx, inlet(b), testTrial(t), load, func(p probe.Progress) {
			if p.Received > 10 {
				cancel()
			}
		})
		died <- time.Since(start)
	}()
	sent, err := Send(t.Context(), flows(a), testTrial(t), load, nil)
	ended := time.Since(start)
	dead := <-died
	stop()
	cancel()
	if !errors.Is(err, probe.ErrPeerSilent) || sent.Packets == 0 {
		t.Errorf("got error %v with %d packets sent, want ErrPeerSilent and some", err, sent.Packets)
	}
	// A bound on the protocol, not on speed: generous to a busy machine.
	if after := ended - dead; after > silenceLimit+500*ms {
		t.Errorf("ended %v after the receiver died, want about 1 s", after)
	}
	if last := time.Duration(lastData.Load()); last > ended+100*ms {
		t.Errorf("data left %v after the sender had ended", last-ended)
	}
}

// A progress function that hangs holds neither the load nor the feedback.
func TestIntegrationProgressHangs(t *testing.T) {
	probetest.EnterNetns(t)
	a, b := probetest.Pair(t, "127.0.0.1")
	load := probe.Load{InnerBitsPerSecond: 5e6, Duration: silenceLimit + 300*ms, Mix: probe.Fixed(1400)}
	hang, done := make(chan struct{}), make(chan struct{})
	release := time.AfterFunc(load.Duration+200*ms, func() { close(hang) })
	defer release.Stop()
	wait := func(probe.Progress) { <-hang }
	go func() { defer close(done); _, _ = Receive(t.Context(), inlet(b), testTrial(t), load, wait) }()
	_, err := Send(t.Context(), flows(a), testTrial(t), load, wait)
	<-done
	if err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

func TestIntegrationCancel(t *testing.T) {
	probetest.CheckLeaks(t)
	probetest.EnterNetns(t)
	a, b := probetest.Pair(t, "127.0.0.1")
	load := probe.Load{InnerBitsPerSecond: 5e6, Duration: time.Minute, Mix: probe.Fixed(1400)}
	ctx, cancel := context.WithCancel(t.Context())
	received := make(chan error, 1)
	go func() {
		_, err := Receive(ctx, inlet(b), testTrial(t), load, nil)
		received <- err
	}()
	begin := time.Now()
	_, err := Send(ctx, flows(a), testTrial(t), load, func(p probe.Progress) {
		if p.Received > 10 {
			cancel()
		}
	})
	if gotErr := <-received; !errors.Is(err, context.Canceled) || !errors.Is(gotErr, context.Canceled) {
		t.Errorf("got errors %v and %v, want context.Canceled from both", err, gotErr)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v, want it ended soon", took)
	}
}

// What found the socket full is told exactly, the last ones too.
func TestIntegrationSocketDrops(t *testing.T) {
	probetest.EnterNetns(t)
	a, b := probetest.Pair(t, "127.0.0.1")
	if err := b.SetReadBuffer(1 << 14); err != nil {
		t.Fatal(err)
	}
	const sent = 200
	for range sent {
		if _, err := a.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	var drops uint32
	err := sockets.Control(b, func(fd int) (err error) { drops, err = socketDrops(fd); return err })
	if err != nil {
		t.Fatal(err)
	}
	var came uint32
	_ = b.SetReadDeadline(time.Now().Add(50 * ms))
	for {
		if _, err := b.Read(make([]byte, 1000)); err != nil {
			break
		}
		came++
	}
	if drops == 0 || came+drops != sent {
		t.Errorf("%d dropped and %d read, want %d together and some dropped", drops, came, sent)
	}
}
