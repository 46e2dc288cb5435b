package udp

import (
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

func newTransport(t testing.TB, train int) *transport {
	t.Helper()
	freshNetns(t)
	a, b := pair(t, "127.0.0.1")
	load := probe.Load{InnerBitsPerSecond: 1e9, Duration: time.Minute, InnerSize: 1400, Train: train}
	trial := testTrial(t)
	if err := prepareReceiver(b); err != nil {
		t.Fatal(err)
	}
	s, err := newSender(a, trial, load, 1372)
	if err != nil {
		t.Fatal(err)
	}
	s.out.stop = func(time.Duration) error { return nil }
	r, err := newReceiver(b, trial, load, 1372, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.progress.close)
	r.reception.hello(wire.Hello{Header: trial.header(wire.TypeHello), Kind: wire.HelloOpen, Nonce: s.nonce}.Append(nil, trial.Key), 0)
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
	for _, train := range []int{1, 40} {
		p := newTransport(t, train)
		for _, segments := range []bool{true, false} {
			p.out.out.(*socketWriter).segments = segments
			allocs := testing.AllocsPerRun(100, func() {
				if err := p.pass(); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("train of %d, segmented %v: %g allocations, want none", train, segments, allocs)
			}
		}
	}
}

// BenchmarkTransport is the work of both ends per packet, one after the other.
func BenchmarkTransport(b *testing.B) {
	p := newTransport(b, 40)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.pass(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*p.train), "ns/packet")
}
