package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/tunnel"
)

// slowDriver builds until its context ends.
type slowDriver struct{ building chan struct{} }

func (slowDriver) Check(tunnel.Spec) error { return nil }

func (d slowDriver) Open(ctx context.Context, _ tunnel.Spec, _ tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	close(d.building)
	<-ctx.Done()
	return nil, errors.Join(context.Cause(ctx), place.Socket.Close())
}

// While a tunnel is built, its agent answers other calls, and the end of the
// session ends the building.
func TestSessionEndsWhileItIsBuilt(t *testing.T) {
	a, b := newPair(t)
	driver := slowDriver{make(chan struct{})}
	a.drivers["esp"] = driver
	_, ofB := offers(t, a, b)
	opened := make(chan error)
	go func() { _, err := a.accept(ofB); opened <- err }()
	<-driver.building
	all, err := a.Sessions(as("other"), &controlv1.SessionsRequest{})
	if err != nil || len(all.GetSessions()) != 1 || all.GetSessions()[0].GetOpen() {
		t.Errorf("Sessions = %v, %v", all, err)
	}
	if _, err := a.accept(ofB); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("second Open: %v, want it refused", err)
	}
	if _, err := a.Close(as("controller"), &controlv1.CloseRequest{SessionId: sessionID}); err != nil {
		t.Error(err)
	}
	if err := <-opened; connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("Open of a session that was closed: %v", err)
	}
	if a.count() != 0 {
		t.Error("the session is still there")
	}
}

// All who close a session return once nothing of it is left.
func TestClosingWaitsForTheRemoval(t *testing.T) {
	a, b := newPair(t)
	_, ofB := offers(t, a, b)
	if _, err := a.accept(ofB); err != nil {
		t.Fatal(err)
	}
	s, err := a.session(as("controller"), sessionID)
	if err != nil {
		t.Fatal(err)
	}
	var closers sync.WaitGroup
	for range 8 {
		closers.Go(func() {
			counters, err := a.end(s, "the test ends it")
			if err != nil || counters.OutPackets != 1 || !a.driver.halves[0].isClosed() {
				t.Errorf("end = %+v, %v", counters, err)
			}
		})
	}
	closers.Wait()
	if _, err := s.begin(t.Context(), true); !errors.Is(err, errClosed) {
		t.Errorf("a trial begins in a closed session: %v", err)
	}
}

// A trial keeps others out, keeps the lease, and ends with its session.
func TestTrialAndItsSession(t *testing.T) {
	a, b := newPair(t)
	_, ofB := offers(t, a, b)
	if _, err := a.accept(ofB); err != nil {
		t.Fatal(err)
	}
	s, err := a.session(as("controller"), sessionID)
	if err != nil {
		t.Fatal(err)
	}
	trial, err := s.begin(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.begin(t.Context(), true); !errors.Is(err, errTrialRuns) {
		t.Errorf("second trial: %v, want %v", err, errTrialRuns)
	}
	back, err := s.begin(t.Context(), false)
	if err != nil {
		t.Fatalf("a trial that goes back: %v", err)
	}
	back.end()
	back.end()
	if left, _ := s.left(time.Now().Add(2 * Lease)); left <= 0 {
		t.Error("the lease ends while a trial runs")
	}
	closed := make(chan struct{})
	go func() { defer close(closed); _, _ = a.end(s, "the test ends it") }()
	<-trial.ctx.Done()
	select {
	case <-closed:
		t.Error("the tunnel was removed under a trial")
	default:
	}
	trial.end()
	<-closed
}

// An agent that is called after its host, however that is called, can hold.
func TestHeldName(t *testing.T) {
	for agent, want := range map[string]string{
		"a":                 "hold-a",
		"Web01.example.com": "hold-web01-example-com",
		"ip-10-123-45-67.eu-central-1.compute.internal": "hold-ip-10-123-45-67-eu-central-1-comput",
		"rack_7-": "hold-rack-7",
	} {
		if got, err := heldName("hold", agent); got != want || err != nil {
			t.Errorf("held by %s: %q, %v; want %q", agent, got, err, want)
		}
	}
	for _, hold := range []string{"../a", "A", "a/b", "-", strings.Repeat("a", 41)} {
		if got, err := heldName(hold, "a"); err == nil {
			t.Errorf("%q gives %q, want it refused", hold, got)
		}
	}
}

// A session that was offered and never opened gives its port back.
func TestPortIsGivenBack(t *testing.T) {
	a, b := newPair(t)
	if _, err := a.ask(b, controlv1.Role_ROLE_INITIATOR); err != nil {
		t.Fatal(err)
	}
	s, err := a.session(as("controller"), sessionID)
	if err != nil {
		t.Fatal(err)
	}
	offer := s.consent.Offer()
	port := netip.AddrPortFrom(offer.Outer, offer.Tunnels[0].Port)
	if _, err := a.end(s, "the test ends it"); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(port))
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	conn.Close()
}

// growing counts what it is told, until it is closed: then it has no answer.
type growing struct {
	fakeHalf
	packets atomic.Uint64
	silent  bool
}

func (g *growing) Counters() (tunnel.Counters, error) {
	if g.silent || g.isClosed() {
		return tunnel.Counters{}, tunnel.ErrNotSupported
	}
	packets := g.packets.Load()
	return tunnel.Counters{OutPackets: packets, Replayed: 2 * packets}, nil
}

// opening is a driver whose halves are given.
type opening struct {
	fakeDriver
	half tunnel.Tunnel
}

func (o *opening) Open(_ context.Context, _ tunnel.Spec, _ tunnel.Keys, place tunnel.Place) (tunnel.Tunnel, error) {
	return o.half, place.Socket.Close()
}

// What tunnels count only grows: while their session lives, when it ends, and with
// the next one, for whoever asks meanwhile. What cannot count is not there.
func TestTunnelsNeverGoBack(t *testing.T) {
	a, b := newPair(t)
	defer scrape(t, a)()
	expect := func(when string, packets uint64) {
		t.Helper()
		want := map[string]tunnel.Counters{}
		if packets > 0 {
			want["esp"] = tunnel.Counters{OutPackets: packets, Replayed: 2 * packets}
		}
		if diff := cmp.Diff(want, a.Tunnels()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	through := func(half tunnel.Tunnel, during func()) {
		a.drivers["esp"] = &opening{half: half}
		_, ofB := offers(t, a, b)
		if _, err := a.accept(ofB); err != nil {
			t.Fatal(err)
		}
		during()
		for _, end := range []end{a, b} {
			if _, err := end.Close(as("controller"), &controlv1.CloseRequest{SessionId: sessionID}); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect("before the first session", 0)
	first, next := &growing{}, &growing{}
	through(first, func() {
		first.packets.Store(1)
		expect("in it", 1)
		first.packets.Store(2)
		expect("in it, again", 2)
		first.packets.Store(3)
	})
	expect("after its end", 3)
	through(&growing{silent: true}, func() { expect("in one that cannot count", 3) })
	through(next, func() {
		next.packets.Store(1)
		expect("in the next one", 4)
		next.packets.Store(2)
	})
	expect("after the end of that", 5)
}

// scrape asks again and again until stop, and holds that no answer is less than the
// one before.
func scrape(t *testing.T, a end) (stop func()) {
	var asking sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	asking.Go(func() {
		for last := uint64(0); ctx.Err() == nil; {
			packets := a.Tunnels()["esp"].OutPackets
			if packets < last {
				t.Errorf("%d packets after %d", packets, last)
			}
			last = packets
		}
	})
	return func() { cancel(); asking.Wait() }
}
