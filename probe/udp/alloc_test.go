package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/wire"
)

// transport sends trains of a lane from one socket and counts them on another, in
// turn, so that one goroutine can see what both allocate.
type transport struct {
	out      *transmission
	receiver *receiver
	place    uint64
}

// newTransport carries a load of one lane; one flow goes to a connected socket.
func newTransport(t testing.TB, load probe.Load) *transport {
	t.Helper()
	probetest.EnterNetns(t)
	trial := testTrial(t)
	clock, err := newMachineClock()
	if err != nil {
		t.Fatal(err)
	}
	l := &lane{open: dial("127.0.0.1"), trial: trial, shared: load, clock: clock}
	t.Cleanup(l.close)
	in := inlets(t, "127.0.0.1", 1)[0]
	trial.Peer = netip.MustParseAddr("127.0.0.1")
	if load.FlowCount() == 1 {
		out, connected := probetest.Pair(t, "127.0.0.1")
		in, l.open = connected, flows(out)
	}
	if err := l.openFirst(); err != nil {
		t.Fatal(err)
	}
	if err := l.openRest(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.out.stop = func(time.Duration) error { return nil }
	intake, err := newIntake([]*net.UDPConn{in}, trial, load, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := intake.lanes[0]
	r.reception.source = netip.AddrPortFrom(trial.Peer, l.flows[0].port())
	r.reception.hello(wire.Hello{Header: trial.header(wire.TypeHello, 0), Kind: wire.HelloOpen, Nonce: l.nonce}.Append(nil, trial.Key), 0)
	return &transport{out: l.out, receiver: r}
}

// pass sends a train and counts it.
func (p *transport) pass() error {
	now := p.out.clock.Now()
	sent, err := p.out.send(p.place, p.out.train, now)
	if err != nil {
		return err
	}
	p.out.pace.add(now, sent.innerBytes)
	p.place += uint64(p.out.train)
	n, _ := p.receiver.batch.read()
	p.receiver.take(n)
	if n == 0 {
		return errors.New("nothing was read")
	}
	return nil
}

func transportLoad(burst, count int) probe.Load {
	return probe.Load{InnerBitsPerSecond: 1e9, Duration: time.Minute, Mix: probe.Fixed(1400), Burst: burst, Flows: count}
}

func TestIntegrationNoAllocation(t *testing.T) {
	mixed := transportLoad(20, 8)
	mixed.Mix = probe.Mix{Sizes: []int{64, 64, 570, 1518}, Seed: 1}
	for name, load := range map[string]probe.Load{
		"singles":             transportLoad(1, 1),
		"trains":              transportLoad(40, 1),
		"singles of 8 flows":  transportLoad(1, 8),
		"trains of 8 flows":   transportLoad(40, 8),
		"trains of all sizes": mixed,
	} {
		p := newTransport(t, load)
		for _, segments := range []bool{true, false} {
			p.out.writer.(*socketWriter).segments = segments
			allocs := testing.AllocsPerRun(100, func() {
				if err := p.pass(); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%s, segmented %v: %g allocations, want none", name, segments, allocs)
			}
		}
	}
}

// BenchmarkTransport is the work of both ends per packet, one after the other.
func BenchmarkTransport(b *testing.B) {
	for _, count := range []int{1, 8, 1000} {
		b.Run(fmt.Sprintf("%d flows", count), func(b *testing.B) {
			p := newTransport(b, transportLoad(40, count))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.pass(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*p.out.train), "ns/packet")
		})
	}
}
