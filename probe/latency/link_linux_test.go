package latency

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// outcome is what both ends of a probe returned.
type outcome struct {
	result              Result
	answered            Answered
	probeErr, answerErr error
}

// measure runs a probe between two sockets.
func measure(ctx context.Context, prober, answerer *net.UDPConn, o Options, watch func(Sample)) (out outcome) {
	var wait sync.WaitGroup
	wait.Go(func() { out.answered, out.answerErr = Answer(ctx, answerer, o) })
	out.result, out.probeErr = Probe(ctx, prober, o, watch)
	wait.Wait()
	return out
}

func mustMeasure(t *testing.T, prober, answerer *net.UDPConn, o Options) Result {
	t.Helper()
	out := measure(t.Context(), prober, answerer, o, nil)
	if err := errors.Join(out.probeErr, out.answerErr); err != nil {
		t.Fatal(err)
	}
	return out.result
}

// assertWhole expects that every ping was answered, and stamped by the kernel at both
// ends but for what is known too late.
func assertWhole(t *testing.T, r Result) {
	t.Helper()
	if r.Sent == 0 || r.Received != r.Sent || r.Lost+r.Duplicated+r.Malformed+r.Refused != 0 || r.RTT.Min <= 0 || r.RTT.Min > r.RTT.Max {
		t.Errorf("counted %+v, want all answered", r)
	}
	// The busiest host is off a CPU between two readings of its clocks now and then.
	if s, most := r.Stamped, r.Received*9/10; min(s.Left, s.Arrived, s.Answered, s.Heard) < most {
		t.Errorf("of %d, the kernel stamped %+v, want nearly all", r.Received, s)
	}
}

func TestIntegrationLoopback(t *testing.T) {
	for _, tt := range []struct {
		ip     string
		change func(*Options)
	}{
		{"127.0.0.1", func(*Options) {}},
		{"::1", func(*Options) {}},
		{"127.0.0.1", func(o *Options) { o.Every = time.Millisecond }},
		{"::1", func(o *Options) { o.InnerSize, o.DSCP = 9000, 46 }},
	} {
		t.Run(tt.ip, func(t *testing.T) {
			probetest.EnterNetns(t)
			a, b := probetest.Pair(t, tt.ip)
			o := testOptions(t, 500*ms)
			tt.change(&o)
			r := mustMeasure(t, a, b, o)
			assertWhole(t, r)
			t.Logf("%d pings, %d intervals skipped: %+v", r.Sent, r.Skipped, r.RTT)
		})
	}
}

// Across veth pairs and a middle namespace, as in the lab.
func TestIntegrationVeth(t *testing.T) {
	labtest.CheckLeaks(t)
	l := labtest.Pair(t)
	at, err := l.Addresses("a", "b")
	if err != nil {
		t.Fatal(err)
	}
	there, err := l.Addresses("b", "a")
	if err != nil {
		t.Fatal(err)
	}
	addressA, addressB := at.V4.String()+":5001", there.V4.String()+":5001"
	var a, b *net.UDPConn
	if err := l.Do("a", func() error { a = probetest.Connect(t, addressA, addressB); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := l.Do("b", func() error { b = probetest.Connect(t, addressB, addressA); return nil }); err != nil {
		t.Fatal(err)
	}
	r := mustMeasure(t, a, b, testOptions(t, 500*ms))
	assertWhole(t, r)
	t.Logf("%+v", r.RTT)
}

// relay carries datagrams between two sockets, each held back for its delay.
type relay struct {
	near, far *socket
	delay     func(b []byte) time.Duration
	wait      sync.WaitGroup
	// there and back are how long PINGs and PONGs were held, as the kernel saw it: a busy
	// host holds them longer.
	there, back []time.Duration
}

// newRelay carries until it is stopped, at the latest when the test ends.
func newRelay(t *testing.T, near, far *net.UDPConn, delay func(b []byte) time.Duration) *relay {
	t.Helper()
	r := &relay{delay: delay}
	for _, end := range []struct {
		conn *net.UDPConn
		to   **socket
	}{{near, &r.near}, {far, &r.far}} {
		s, err := newSocket(end.conn, 2000, 0)
		if err != nil {
			t.Fatal(err)
		}
		*end.to = s
	}
	r.wait.Go(func() { r.hop(r.near, r.far, &r.there) })
	r.wait.Go(func() { r.hop(r.far, r.near, &r.back) })
	t.Cleanup(r.stop)
	return r
}

func (r *relay) stop() {
	r.near.conn.Close()
	r.far.conn.Close()
	r.wait.Wait()
}

// hop carries from one socket to the other. It ends when from is closed.
func (r *relay) hop(from, to *socket, held *[]time.Duration) {
	for {
		if err := from.wait(); errors.Is(err, net.ErrClosed) {
			return
		}
		for b, came, ok := from.read(); ok; b, came, ok = from.read() {
			sleepUntil(time.Unix(0, came).Add(r.delay(b)))
			_ = to.write(b)
			if _, left, ok := to.departure(); ok && !isType(b, wire.TypeHello) {
				*held = append(*held, time.Duration(left-came))
			}
		}
	}
}

// sleepUntil sleeps, and spins for the last ms.
func sleepUntil(t time.Time) {
	time.Sleep(time.Until(t) - ms)
	for time.Now().Before(t) {
		runtime.Gosched()
	}
}

func mean(d []time.Duration) (mean time.Duration) {
	for _, one := range d {
		mean += one
	}
	return mean / time.Duration(len(d))
}

func aboveTheLeast(d []time.Duration, rank float64) time.Duration {
	slices.Sort(d)
	return d[int(rank*float64(len(d)-1))] - d[0]
}

// What a path adds is measured: 6 ms of it there, 2 ms back, and 3 ms more for every
// fourth ping there.
func TestIntegrationDelayTruth(t *testing.T) {
	probetest.EnterNetns(t)
	a, near, b, far := probetest.RelayedPair(t)
	truth := newRelay(t, near, far, func(b []byte) time.Duration {
		switch {
		case isType(b, wire.TypePing) && sequenceOf(b)%4 == 0:
			return 9 * ms
		case isType(b, wire.TypePing):
			return 6 * ms
		}
		return 2 * ms
	})
	o := testOptions(t, 2*time.Second)
	o.Every = 20 * ms
	r := mustMeasure(t, a, b, o)
	truth.stop()
	t.Logf("RTT %+v\nto peer %+v\nfrom peer %+v", r.RTT, r.ToPeer, r.FromPeer)
	if r.Received != uint64(len(truth.there)) || r.Received != uint64(len(truth.back)) {
		t.Fatalf("received %d answers, the relay carried %d pings and %d pongs", r.Received, len(truth.there), len(truth.back))
	}
	const within = ms / 2
	assertNear(t, "mean", r.RTT.Mean, mean(truth.there)+mean(truth.back), within)
	for _, rank := range []float64{0.5, 0.9} {
		to, from := r.ToPeer.P50, r.FromPeer.P50
		if rank == 0.9 {
			to, from = r.ToPeer.P90, r.FromPeer.P90
		}
		assertNear(t, "to peer, above the least", to, aboveTheLeast(truth.there, rank), 2*within)
		assertNear(t, "from peer, above the least", from, aboveTheLeast(truth.back, rank), 2*within)
	}
}

// A guard sees through real sockets when a path becomes slow.
func TestIntegrationGuard(t *testing.T) {
	probetest.EnterNetns(t)
	a, near, b, far := probetest.RelayedPair(t)
	until := make(chan struct{})
	o := testOptions(t, 5*time.Second)
	o.Until = until
	guard := mustGuard(t, o.Every, "rtt>100ms")
	newRelay(t, near, far, func(b []byte) time.Duration {
		if isType(b, wire.TypePing) && sequenceOf(b) >= 20 {
			return 150 * ms
		}
		return 0
	})
	var stopped error
	out := measure(t.Context(), a, b, o, func(s Sample) {
		if stopped == nil {
			if stopped = guard.Take(s); stopped != nil {
				close(until)
			}
		}
	})
	if err := errors.Join(out.probeErr, out.answerErr); err != nil {
		t.Fatal(err)
	}
	if stopped == nil {
		t.Fatal("not stopped")
	}
	t.Log(stopped)
}

// A relay that repeats every datagram and adds old ones gets no answer twice.
func TestIntegrationReplays(t *testing.T) {
	probetest.EnterNetns(t)
	a, near, b, far := probetest.RelayedPair(t)
	var first []byte
	var wait sync.WaitGroup
	wait.Go(func() {
		probetest.Forward(near, func(d []byte, _ netip.AddrPort) {
			_, _ = far.Write(d)
			if isType(d, wire.TypePing) {
				if first == nil {
					first = append(first, d...)
				}
				_, _ = far.Write(d)
				_, _ = far.Write(first)
			}
		})
	})
	wait.Go(func() { probetest.Forward(far, func(d []byte, _ netip.AddrPort) { _, _ = near.Write(d) }) })
	defer wait.Wait()
	defer far.Close()
	defer near.Close()
	out := measure(t.Context(), a, b, testOptions(t, 300*ms), nil)
	if err := errors.Join(out.probeErr, out.answerErr); err != nil {
		t.Fatal(err)
	}
	r, got := out.result, out.answered
	if r.Received != r.Sent || r.Duplicated != 0 || got.Pings != r.Sent || got.Repeated != 2*r.Sent {
		t.Errorf("sent %+v, answered %+v, want each once and two repetitions of each", r, got)
	}
}

// An answerer that dies is noticed, though the kernel refuses what comes for it.
func TestIntegrationAnswererDies(t *testing.T) {
	probetest.EnterNetns(t)
	a, b := probetest.Pair(t, "127.0.0.1")
	ctx, kill := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		if _, err := Answer(ctx, b, testOptions(t, time.Minute)); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want context.Canceled", err)
		}
		b.Close()
	})
	r, err := Probe(t.Context(), a, testOptions(t, time.Minute), func(s Sample) {
		if s.Sequence == 20 {
			kill()
		}
	})
	wait.Wait()
	if !errors.Is(err, probe.ErrPeerSilent) || r.Received < 20 || r.Lost == 0 || r.LostToPeer+r.LostFromPeer != 0 {
		t.Errorf("got %+v, %v, want ErrPeerSilent and what was answered", r, err)
	}
}

// An end of ctx ends both ends: the prober tells the answerer.
func TestIntegrationProberCancelled(t *testing.T) {
	probetest.EnterNetns(t)
	a, b := probetest.Pair(t, "127.0.0.1")
	ctx, cancel := context.WithCancel(t.Context())
	var answered Answered
	var wait sync.WaitGroup
	wait.Go(func() {
		var err error
		if answered, err = Answer(t.Context(), b, testOptions(t, time.Minute)); err != nil {
			t.Errorf("answer: %v", err)
		}
	})
	r, err := Probe(ctx, a, testOptions(t, time.Minute), func(s Sample) {
		if s.Sequence == 20 {
			cancel()
		}
	})
	wait.Wait()
	if !errors.Is(err, context.Canceled) || r.Received+r.Unsettled != r.Sent || r.Lost != 0 || answered.Pings < 20 {
		t.Errorf("got %+v, %v, and %+v answered", r, err, answered)
	}
}

// A stranger gets no answer, and not one ping.
func TestIntegrationStrangers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Options)
	}{
		{"another key", func(o *Options) { o.Key = probetest.StrangersKey(t) }},
		{"another trial", func(o *Options) { o.Trial++ }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probetest.EnterNetns(t)
			a, b := probetest.Pair(t, "127.0.0.1")
			o := testOptions(t, time.Second)
			o.HelloWithin = 200 * ms
			stranger := o
			tt.change(&stranger)
			var wait sync.WaitGroup
			wait.Go(func() {
				got, err := Answer(t.Context(), b, o)
				if !errors.Is(err, probe.ErrNoHello) || got.Pings != 0 || got.Malformed == 0 {
					t.Errorf("answered %+v, %v, want ErrNoHello", got, err)
				}
			})
			r, err := Probe(t.Context(), a, stranger, nil)
			wait.Wait()
			if !errors.Is(err, probe.ErrNoHello) || r.Sent != 0 {
				t.Errorf("got %+v, %v, want ErrNoHello", r, err)
			}
		})
	}
}

func TestIntegrationRefused(t *testing.T) {
	probetest.EnterNetns(t)
	a, _ := probetest.Pair(t, "127.0.0.1")
	free, err := net.ListenUDP("udp", probetest.Address("127.0.0.1:5003"))
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	for _, tt := range []struct {
		name   string
		conn   *net.UDPConn
		change func(*Options)
		want   string
	}{
		{"no key", a, func(o *Options) { o.Key = wire.Key{} }, "has no key"},
		{"too often", a, func(o *Options) { o.Every = ms - 1 }, "allowed are 1ms to 1s"},
		{"too rare", a, func(o *Options) { o.Every = time.Second + 1 }, "allowed are 1ms to 1s"},
		{"no duration", a, func(o *Options) { o.Duration = 0 }, "duration is 0s"},
		{"too long", a, func(o *Options) { o.Duration = time.Hour }, "up to 10m0s"},
		{"negative wait", a, func(o *Options) { o.HelloWithin = -1 }, "to wait for the peer"},
		{"too small", a, func(o *Options) { o.InnerSize = 99 }, "takes 100 to 65535"},
		{"too large", a, func(o *Options) { o.InnerSize = math.MaxInt }, "takes 100 to 65535"},
		{"DSCP", a, func(o *Options) { o.DSCP = 64 }, "DSCP 64"},
		{"not connected", free, func(*Options) {}, "not connected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions(t, time.Second)
			tt.change(&o)
			_, probeErr := Probe(t.Context(), tt.conn, o, nil)
			_, answerErr := Answer(t.Context(), tt.conn, o)
			for _, err := range []error{probeErr, answerErr} {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got error %v, want one with %q", err, tt.want)
				}
			}
		})
	}
}

// A ping that the local stack refuses is not sent, and does not upset the kernel's count
// of the others.
func TestIntegrationCountIsReset(t *testing.T) {
	probetest.EnterNetns(t)
	a, b := probetest.Pair(t, "127.0.0.1")
	l, err := newLink(a, testOptions(t, time.Second), 100)
	if err != nil {
		t.Fatal(err)
	}
	told := &departuresTold{}
	l.party = told
	if err := l.send(make([]byte, 100), 1); err != nil {
		t.Fatal(err)
	}
	l.look() // A second look, from which on stamps are known.
	if err := l.send(make([]byte, 1<<17), 2); err == nil {
		t.Fatal("a datagram of 128 KiB was sent")
	}
	for n := range uint64(3) {
		if err := l.send(make([]byte, 100), 3+n); err != nil {
			t.Fatal(err)
		}
	}
	if want := []uint64{3, 4, 5}; fmt.Sprint(told.numbers[len(told.numbers)-3:]) != fmt.Sprint(want) {
		t.Errorf("told of departures %v, want them to end with %v", told.numbers, want)
	}
	runtime.KeepAlive(b)
}

// departuresTold is a party that notes departures.
type departuresTold struct {
	party
	numbers []uint64
}

func (d *departuresTold) departed(number uint64, _ time.Duration) {
	d.numbers = append(d.numbers, number)
}

// Neither end allocates per ping.
func TestPingsDoNotAllocate(t *testing.T) {
	probetest.EnterNetns(t)
	a, b := probetest.Pair(t, "127.0.0.1")
	o := testOptions(t, time.Minute)
	o.Every = ms
	ends := [2]*link{mustLink(t, a, o), mustLink(t, b, o)}
	size := o.InnerSize - sockets.Headers(a)
	p := newProber(o, size, ends[0].now, ends[0].send, nil)
	q := newAnswerer(o, size, ends[1].now, ends[1].send)
	ends[0].party, ends[1].party = p, q
	p.begin(q.nonce, p.now())
	q.greeted, q.peer, q.silent = true, p.nonce, time.Hour
	deadline := time.Now().Add(10 * time.Second)
	_, _ = a.SetReadDeadline(deadline), b.SetReadDeadline(deadline)
	allocated := testing.AllocsPerRun(200, func() {
		p.ask()
		for _, end := range []*link{ends[1], ends[0]} {
			if err := end.pass(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocated != 0 || p.sums.received < 200 {
		t.Errorf("%g allocations per ping, %d answered, want none and all", allocated, p.sums.received)
	}
}

func mustLink(t *testing.T, conn *net.UDPConn, o Options) *link {
	t.Helper()
	l, err := newLink(conn, o, o.InnerSize-sockets.Headers(conn))
	if err != nil {
		t.Fatal(err)
	}
	return l
}
