package udp

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// transport sends trains on one socket and counts them on another, in turn, so
// that one goroutine can see what both allocate.
type transport struct {
	out      *transmission
	receiver *receiver
	train    int
}

// newTransport carries trains of that many packets on so many flows; one flow
// goes to a connected socket.
func newTransport(t testing.TB, train, count int) *transport {
	t.Helper()
	freshNetns(t)
	load := probe.Load{InnerBitsPerSecond: 1e9, Duration: time.Minute, InnerSize: 1400, Train: train, Flows: count}
	trial := testTrial(t)
	var out []*net.UDPConn
	var in *net.UDPConn
	if count == 1 {
		out = make([]*net.UDPConn, 1)
		out[0], in = pair(t, "127.0.0.1")
	} else {
		out, in = outlets(t, "127.0.0.1", count), inlet(t, "127.0.0.1")
		trial.Peer = netip.MustParseAddr("127.0.0.1")
	}
	if err := prepareReceiver(in); err != nil {
		t.Fatal(err)
	}
	s, err := newSender(out, trial, load, 1372)
	if err != nil {
		t.Fatal(err)
	}
	s.out.stop = func(time.Duration) error { return nil }
	r, err := newReceiver(in, trial, load, 1372, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.progress.close)
	r.reception.hello(wire.Hello{Header: trial.header(wire.TypeHello, 0), Kind: wire.HelloOpen, Nonce: s.nonce}.Append(nil, trial.Key), 0)
	return &transport{out: s.out, receiver: r, train: train}
}

// pass sends a train and counts it.
func (p *transport) pass() error {
	if _, err := p.out.send(p.train, p.out.clock.Now()); err != nil {
		return err
	}
	n, err := p.receiver.batch.read()
	p.receiver.take(n)
	return err
}

func TestIntegrationNoAllocation(t *testing.T) {
	for _, count := range []int{1, 8} {
		for _, train := range []int{1, 40} {
			p := newTransport(t, train, count)
			for _, segments := range []bool{true, false} {
				for _, flow := range p.out.flows {
					flow.(*socketWriter).segments = segments
				}
				allocs := testing.AllocsPerRun(100, func() {
					if err := p.pass(); err != nil {
						t.Fatal(err)
					}
				})
				if allocs != 0 {
					t.Errorf("%d flows, train of %d, segmented %v: %g allocations, want none", count, train, segments, allocs)
				}
			}
		}
	}
}

// BenchmarkTransport is the work of both ends per packet, one after the other.
func BenchmarkTransport(b *testing.B) {
	for _, count := range []int{1, 8} {
		b.Run(fmt.Sprintf("%d flows", count), func(b *testing.B) {
			p := newTransport(b, 40, count)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.pass(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*p.train), "ns/packet")
		})
	}
}
