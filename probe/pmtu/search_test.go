package pmtu

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// outcomes are those of both ends of a search.
type outcomes struct {
	result               Result
	answered             Answered
	searchErr, answerErr error
}

func search(ctx context.Context, a, b *net.UDPConn, options, answerers Options) (o outcomes) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.answered, o.answerErr = Answer(ctx, b, answerers)
	}()
	o.result, o.searchErr = Search(ctx, a, options)
	<-done
	return o
}

func mustSearch(t *testing.T, a, b *net.UDPConn, options Options) Result {
	t.Helper()
	o := search(t.Context(), a, b, options, testOptions(t))
	if err := errors.Join(o.searchErr, o.answerErr); err != nil {
		t.Fatal(err)
	}
	for _, d := range []Direction{o.result.There, o.result.Back} {
		if d.Sent > mostSent || d.Elapsed <= 0 {
			t.Errorf("sent %d datagrams in %v, want at most %d", d.Sent, d.Elapsed, mostSent)
		}
	}
	t.Logf("there %d datagrams in %v, back %d in %v", o.result.There.Sent, o.result.There.Elapsed, o.result.Back.Sent, o.result.Back.Elapsed)
	return o.result
}

// plain leaves out of a direction what depends on time and chance.
func plain(d Direction) Direction {
	d.Sent, d.Elapsed = 0, 0
	return d
}

func TestIntegrationSearch(t *testing.T) {
	router4, router6 := netip.MustParseAddr("198.18.0.254"), netip.MustParseAddr("2001:2::fe")
	for _, tt := range []struct {
		name                string
		ipv6                bool
		there, back         leg
		wantThere, wantBack Direction
	}{
		{"all passes", false, leg{}, leg{},
			Direction{InnerSize: 1500, LocalMTU: 1500, CachedMTU: 1500, Settled: true},
			Direction{InnerSize: 1500, LocalMTU: 1500, CachedMTU: 1500, Settled: true}},
		{"all passes over IPv6", true, leg{}, leg{},
			Direction{InnerSize: 1500, LocalMTU: 1500, CachedMTU: 1500, Settled: true},
			Direction{InnerSize: 1500, LocalMTU: 1500, CachedMTU: 1500, Settled: true}},
		{"ICMP there, black hole back", false, leg{mtu: 1400, says: 1400}, leg{mtu: 1333},
			Direction{InnerSize: 1400, LostFrom: 1401, LocalMTU: 1500, ICMPSaid: 1400, ICMPFrom: router4, CachedMTU: 1400, Settled: true},
			Direction{InnerSize: 1333, LostFrom: 1334, LocalMTU: 1500, BlackHoleFrom: 1334, CachedMTU: 1500, Settled: true}},
		{"black hole there, ICMP back, over IPv6", true, leg{mtu: 1321}, leg{mtu: 1400, says: 1400},
			Direction{InnerSize: 1321, LostFrom: 1322, LocalMTU: 1500, BlackHoleFrom: 1322, CachedMTU: 1500, Settled: true},
			Direction{InnerSize: 1400, LostFrom: 1401, LocalMTU: 1500, ICMPSaid: 1400, ICMPFrom: router6, CachedMTU: 1400, Settled: true}},
		{"ICMP that lies", false, leg{mtu: 1400, says: 1000}, leg{mtu: 1400, says: 1450},
			Direction{InnerSize: 1400, LostFrom: 1401, LocalMTU: 1500, ICMPSaid: 1000, ICMPFrom: router4, CachedMTU: 1000, Settled: true},
			Direction{InnerSize: 1400, LostFrom: 1401, LocalMTU: 1500, BlackHoleFrom: 1401, ICMPSaid: 1450, ICMPFrom: router4, CachedMTU: 1450, Settled: true}},
		{"not even the least passes", false, leg{mtu: 500}, leg{},
			Direction{LostFrom: 576, LocalMTU: 0, BlackHoleFrom: 576, CachedMTU: 1500, Settled: true},
			Direction{InnerSize: 1500, LocalMTU: 1500, CachedMTU: 1500, Settled: true}},
		{"a gateway clears DF", false, leg{mtu: 1400, clearsDF: true}, leg{},
			Direction{InnerSize: 1500, LocalMTU: 1500, CachedMTU: 1500, FragmentedFrom: 1500, FragmentSize: 1396, Settled: true},
			Direction{InnerSize: 1500, LocalMTU: 1500, CachedMTU: 1500, Settled: true}},
		{"middle sizes are lost", false, leg{loses: func(size int) bool { return size > 900 && size < 1000 }}, leg{},
			Direction{InnerSize: 900, LostFrom: 901, LocalMTU: 1500, BlackHoleFrom: 901, PassedAbove: []int{1130, 1315, 1500}, CachedMTU: 1500, Settled: true},
			Direction{InnerSize: 1500, LocalMTU: 1500, CachedMTU: 1500, Settled: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			a, b := newWAN(t, tt.there, tt.back).sockets(t, tt.ipv6)
			got := mustSearch(t, a, b, testOptions(t))
			addresses := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
			if diff := cmp.Diff(tt.wantThere, plain(got.There), addresses); diff != "" {
				t.Errorf("there (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.wantBack, plain(got.Back), addresses); diff != "" {
				t.Errorf("back (-want +got):\n%s", diff)
			}
		})
	}
}

// The least that the interfaces take differs between the ends, and is found without a
// packet on the way.
func TestIntegrationInterfaces(t *testing.T) {
	labtest.CheckLeaks(t)
	a, b := newWANOf(t, 1420, 9000, leg{}, leg{}).sockets(t, false)
	got := mustSearch(t, a, b, testOptions(t))
	if got.There.InnerSize != 1420 || got.There.LocalMTU != 1420 || got.Back.InnerSize != 9000 || got.Back.LocalMTU != 9000 {
		t.Errorf("found %+v\nwant 1420 there and 9000 back, which are the interfaces'", got)
	}
}

// With 40 ms each way and 1 % of loss each way, a search is right and takes seconds.
func TestIntegrationLongPath(t *testing.T) {
	labtest.CheckLeaks(t)
	there, back := leg{mtu: 1437, delay: 40 * time.Millisecond, loss: 0.01}, leg{delay: 40 * time.Millisecond, loss: 0.01}
	a, b := newWAN(t, there, back).sockets(t, false)
	got := mustSearch(t, a, b, testOptions(t))
	if got.There.InnerSize != 1437 || got.There.BlackHoleFrom != 1438 || got.Back.InnerSize != 1500 {
		t.Errorf("found %+v\nwant 1437 and a black hole from 1438 on there, 1500 back", got)
	}
}

// A real router between the ends tells of routes with smaller MTUs.
func TestIntegrationRouter(t *testing.T) {
	for _, tt := range []struct {
		name string
		ipv6 bool
	}{{"IPv4", false}, {"IPv6", true}} {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			a, b := routed(t, tt.ipv6, "route change B dev to-b mtu 1400", "route change A dev to-a mtu 1350")
			got := mustSearch(t, a, b, testOptions(t))
			for mtu, d := range map[int]Direction{1400: got.There, 1350: got.Back} {
				if d.InnerSize != mtu || d.LostFrom != mtu+1 || d.ICMPSaid != mtu || d.BlackHoleFrom != 0 || d.Note() != "" {
					t.Errorf("found %+v (%s)\nwant %d, as ICMP says", d, d.Note(), mtu)
				}
			}
		})
	}
}

// An interface drops what the other end of its link does not take; the sender's kernel
// says no more than ENOBUFS.
func TestIntegrationNarrowNeighbour(t *testing.T) {
	labtest.CheckLeaks(t)
	a, b := routed(t, false, "link set to-a mtu 1350")
	got := mustSearch(t, a, b, testOptions(t))
	// The kernel's is_skb_forwardable leaves room for a VLAN tag of 4 bytes.
	if got.There.InnerSize != 1354 || got.There.BlackHoleFrom != 1355 || got.There.LocalMTU != 1500 {
		t.Errorf("found %+v\nwant a black hole from 1355 on", got.There)
	}
}

// What the kernel says beside a datagram is read although ICMP errors wait, too.
func TestIntegrationFragmentBesideErrors(t *testing.T) {
	labtest.CheckLeaks(t)
	a, b := newWAN(t, leg{mtu: 1400, clearsDF: true}, leg{mtu: 1300, says: 1300}).sockets(t, false)
	sender, err := newSocket(a)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := newSocket(b)
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 1500-receiver.family.headers)
	for _, s := range []*socket{receiver, sender} {
		if limit, err := s.write(payload); limit != 0 || err != nil {
			t.Fatalf("write: limit %d, error %v", limit, err)
		}
	}
	for receiver.cachedMTU() != 1300 { // The error waits once the kernel has it.
		if t.Context().Err() != nil {
			t.FailNow()
		}
		time.Sleep(time.Millisecond)
	}
	// Without this, reading would return the error alone.
	if err := sockets.Control(b, func(fd int) error {
		_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	_ = b.SetReadDeadline(time.Now().Add(5 * time.Second))
	got, fragment, err := receiver.read()
	if err != nil || len(got) != len(payload) || fragment != 1396 || receiver.said != 1300 {
		t.Errorf("read %d bytes in fragments of %d, error %v, ICMP says %d, want %d, 1396, none, 1300", len(got), fragment, err, receiver.said, len(payload))
	}
}

// What is asked for bounds a search.
func TestIntegrationBounds(t *testing.T) {
	labtest.CheckLeaks(t)
	a, b := newWAN(t, leg{mtu: 1300}, leg{}).sockets(t, false)
	options := testOptions(t)
	options.Least, options.Most = 1000, 1200
	got := mustSearch(t, a, b, options)
	for _, d := range []Direction{got.There, got.Back} {
		if d.InnerSize != 1200 || d.LostFrom != 0 || d.LocalMTU != 0 || !d.Settled {
			t.Errorf("found %+v\nwant 1200 of 1200", d)
		}
	}
}

// Where nobody listens, ICMP answers each hello at once; hellos do not come faster for
// that.
func TestIntegrationHelloPace(t *testing.T) {
	labtest.CheckLeaks(t)
	var hellos atomic.Int64
	a, b := newWAN(t, leg{sees: func([]byte) { hellos.Add(1) }}, leg{}).sockets(t, false)
	b.Close()
	options := testOptions(t)
	options.HelloWithin = 500 * time.Millisecond
	if _, err := Search(t.Context(), a, options); !errors.Is(err, probe.ErrNoHello) {
		t.Errorf("got error %v, want ErrNoHello", err)
	}
	if n := hellos.Load(); n < 1 || n > 11 {
		t.Errorf("sent %d hellos in 500 ms, want one every 50 ms", n)
	}
}

// An older hello, replayed or late, does not keep the searcher's own from being answered.
func TestIntegrationOlderHello(t *testing.T) {
	labtest.CheckLeaks(t)
	a, b := newWAN(t, leg{}, leg{}).sockets(t, false)
	options := testOptions(t)
	older := wire.Hello{Header: wire.Header{Trial: options.Trial}, Kind: wire.HelloOpen, Nonce: wire.Nonce{9}}
	if _, err := a.Write(older.Append(nil, options.Key)); err != nil {
		t.Fatal(err)
	}
	mustSearch(t, a, b, options)
}

func TestIntegrationNoPeer(t *testing.T) {
	labtest.CheckLeaks(t)
	a, b := newWAN(t, leg{}, leg{}).sockets(t, false)
	options, strangers := testOptions(t), testOptions(t)
	options.HelloWithin, strangers.HelloWithin = 300*time.Millisecond, 300*time.Millisecond
	strangers.Key = probetest.StrangersKey(t)
	o := search(t.Context(), a, b, options, strangers)
	if !errors.Is(o.searchErr, probe.ErrNoHello) || !errors.Is(o.answerErr, probe.ErrNoHello) {
		t.Errorf("got errors %v and %v, want ErrNoHello of both", o.searchErr, o.answerErr)
	}
	if diff := cmp.Diff(Answered{}, o.answered); diff != "" {
		t.Errorf("answered (-want +got):\n%s", diff)
	}
}

// Whichever end dies once sizes are tried, the other ends.
func TestIntegrationPeerDies(t *testing.T) {
	for _, tt := range []struct {
		name        string
		dies, lives func(ctx context.Context, a, b *net.UDPConn, o Options) error
	}{
		{"answerer", answerFrom, searchFrom},
		{"searcher", searchFrom, answerFrom},
	} {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			ctx, cancel := context.WithCancel(t.Context())
			there := leg{sees: func(packet []byte) {
				if len(packet) > 500 {
					cancel()
				}
			}}
			a, b := newWAN(t, there, leg{delay: 100 * time.Millisecond}).sockets(t, false)
			options := testOptions(t)
			done := make(chan error)
			go func() { done <- tt.dies(ctx, a, b, options) }()
			err := tt.lives(t.Context(), a, b, options)
			if died := <-done; !errors.Is(err, probe.ErrPeerSilent) || !errors.Is(died, context.Canceled) {
				t.Errorf("got errors %v and %v, want ErrPeerSilent and the context's", err, died)
			}
		})
	}
}

func searchFrom(ctx context.Context, a, _ *net.UDPConn, o Options) error {
	_, err := Search(ctx, a, o)
	return err
}

func answerFrom(ctx context.Context, _, b *net.UDPConn, o Options) error {
	_, err := Answer(ctx, b, o)
	return err
}

func TestIntegrationCancelled(t *testing.T) {
	labtest.CheckLeaks(t)
	a, b := newWAN(t, leg{}, leg{delay: 300 * time.Millisecond}).sockets(t, false)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	o := search(ctx, a, b, testOptions(t), testOptions(t))
	if !errors.Is(o.searchErr, context.DeadlineExceeded) || !errors.Is(o.answerErr, context.DeadlineExceeded) {
		t.Errorf("got errors %v and %v, want the context's", o.searchErr, o.answerErr)
	}
}

func TestOptionsRefused(t *testing.T) {
	good := testOptions(t)
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no key", func(o *Options) { o.Key = Options{}.Key }, "no key"},
		{"least too small", func(o *Options) { o.Least = 83 }, "83 to 65535"},
		{"most too large", func(o *Options) { o.Most = 65536 }, "allowed are 84 to 65535"},
		{"most below least", func(o *Options) { o.Least, o.Most = 1400, 1300 }, "1400 to 1300"},
		{"too many more", func(o *Options) { o.Also = make([]int, 9) }, "9 more"},
		{"negative wait", func(o *Options) { o.HelloWithin = -1 }, "to wait for the peer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			if _, err := o.filled(familyIPv4); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestNote(t *testing.T) {
	router := netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		direction Direction
		want      string
	}{
		{Direction{InnerSize: 1500, Settled: true}, ""},
		{Direction{InnerSize: 1400, LostFrom: 1401, BlackHoleFrom: 1401, Settled: true},
			"black hole: from 1401 B on packets are lost, and ICMP says nothing"},
		{Direction{InnerSize: 1400, LostFrom: 1401, BlackHoleFrom: 1401, ICMPSaid: 1450, ICMPFrom: router, Settled: true},
			"black hole: from 1401 B on packets are lost, and ICMP says no less than 1450 B"},
		{Direction{InnerSize: 1400, LostFrom: 1401, ICMPSaid: 1300, ICMPFrom: router, Settled: true},
			"ICMP from 192.0.2.1 says 1300 B, but 1400 B pass"},
		{Direction{InnerSize: 1438, LostFrom: 1439, PassedAbove: []int{1472, 1500}, FragmentedFrom: 1472, FragmentSize: 1396, Sent: 120},
			"not a matter of size alone: 1439 B are lost, yet of larger ones pass 1472, 1500 B; " +
				"packets of 1472 B arrive in fragments of up to 1396 B, although DF forbids it; not settled with 120 datagrams"},
	} {
		if diff := cmp.Diff(tt.want, tt.direction.Note()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.direction, diff)
		}
	}
}
