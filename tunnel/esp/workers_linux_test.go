package esp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/offload"
)

// counted is a clear side that gives numbered packets until there are enough.
type counted struct {
	given, most int
	// arrived is how many have; optional. No more than a few are on their way then.
	arrived func() uint64
}

func (c *counted) next(into []byte, _ bool) (int, error) {
	if c.given == c.most {
		return 0, os.ErrDeadlineExceeded
	}
	for c.arrived != nil && uint64(c.given) > c.arrived()+500 {
		runtime.Gosched()
	}
	packet := ipv4(100 + c.given%7)
	binary.BigEndian.PutUint32(packet[40:], uint32(c.given))
	c.given++
	clear(into[:offload.HeaderLength])
	return offload.HeaderLength + copy(into[offload.HeaderLength:], packet), nil
}

// ordered is a clear side that wants packets in the order of their numbers.
type ordered struct {
	t          *testing.T
	want, most uint32
	done       chan struct{}
}

func (o *ordered) put(parts [][]byte) error {
	packet := bytes.Join(parts[1:], nil)
	if got := binary.BigEndian.Uint32(packet[40:]); got != o.want {
		o.t.Errorf("got packet %d, want %d", got, o.want)
	}
	o.want++
	if o.want == o.most {
		close(o.done)
	}
	return nil
}

// Several workers for each direction, and the least window: packets leave in the order
// in which they came, each once, and none is taken for a replay.
func TestWorkersKeepOrder(t *testing.T) {
	const packets = 5000
	l := newLoops(t, tunnel.AES128GCM, 1400)
	from, end := newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{}, time.Now)
	end.receiving.Load().current.window = newWindow(leastWindow)
	inboxes := make([]*inbox, workers)
	for i := range inboxes {
		inboxes[i] = newInbox(l.farPort, udp4)
	}
	to := &ordered{t: t, most: packets, done: make(chan struct{})}
	var running sync.WaitGroup
	newReceiver(to, inboxes, end, true, true, &l.in).start(&running)
	newSender(&counted{most: packets}, l.from, l.sender.outer, from, workers, newSelectors(left, right), l.sender.ceiling, &l.out).start(&running)
	<-to.done
	if err := l.farPort.stop(0); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	sent, received := l.out.read(), l.in.read()
	if sent.OutPackets != packets || received.InPackets != packets || received.InInnerBytes != sent.OutInnerBytes {
		t.Errorf("sent %+v, received %+v, want %d packets both", sent, received, packets)
	}
	if received.Replayed != 0 || received.BadICV != 0 {
		t.Errorf("received %+v, want no packet refused", received)
	}
}

// New keys every few packets, several workers, and the least window: what answers a
// question does not overtake the packets that were reserved before it.
func TestRekeyKeepsOrder(t *testing.T) {
	const packets = 20000
	var now atomic.Int64
	l := newLoops(t, tunnel.AES128GCM, 1400)
	near, far := newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{}, func() time.Time { return time.Unix(now.Load(), 0) })
	far.window = leastWindow
	in := far.receiving.Load()
	in.current.window, in.next.window = newWindow(leastWindow), newWindow(leastWindow)
	inboxes := make([]*inbox, workers)
	for i := range inboxes {
		inboxes[i] = newInbox(l.farPort, udp4)
	}
	to := &ordered{t: t, most: packets, done: make(chan struct{})}
	var running sync.WaitGroup
	newReceiver(to, inboxes, far, true, true, &l.in).start(&running)
	arrived := func() uint64 { in := l.in.read(); return in.InPackets + in.Replayed }
	newSender(&counted{most: packets, arrived: arrived}, l.from, l.sender.outer, near, workers, newSelectors(left, right), l.sender.ceiling, &l.out).start(&running)
	answers := newRenewer(near, newOutbox(l.sender.outer.socket, udp4), &l.out)
	for at := uint64(1000); at < packets; at += 1000 {
		for arrived() < at { // What is under older keys has arrived by now.
			runtime.Gosched()
		}
		now.Add(1)
		far.demand()
		far.attend(func(questions [][]byte) {
			for _, q := range questions {
				near.take(q)
			}
		})
		for range 1000 { // Until packets of the new generation are on their way out.
			near.mu.Lock()
			leaving := near.sending.leaving > 0
			near.mu.Unlock()
			if leaving {
				break
			}
			runtime.Gosched()
		}
		near.attend(answers.send)
	}
	for arrived() < packets {
		runtime.Gosched()
	}
	if err := l.farPort.stop(0); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	if got := l.in.read(); got.InPackets != packets || got.Replayed+got.BadICV+got.UnknownSPI != 0 {
		t.Errorf("received %+v, want %d packets and none refused", got, packets)
	}
	if near.count() < packets/1000/2 {
		t.Errorf("keys were replaced %d times, want more", near.count())
	}
}

// A send that is given up at the end does not keep the other workers waiting for their
// turns: the socket has room again when the next one sends.
func TestWorkersEndWithBlockedSocket(t *testing.T) {
	l := newLoops(t, tunnel.AES128GCM, 1400)
	from, _ := newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{}, time.Now)
	socket := l.sender.outer.socket
	full := true
	socket.out.heard = func(uintptr) bool { return false } // Until its deadline.
	l.sender.outer.attempt = func(fd uintptr) bool {
		if full {
			full = false
			return false
		}
		return l.sender.outer.sendmmsg(fd)
	}
	if err := socket.stop(0); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	const packets = 3 * mostSingles
	newSender(&counted{most: packets}, l.from, l.sender.outer, from, workers, newSelectors(left, right), l.sender.ceiling, &l.out).start(&running)
	running.Wait()
	got := l.out.read()
	if got.SendRefused == 0 || got.OutPackets == 0 || got.SendRefused+got.OutPackets != packets {
		t.Errorf("got %+v, want %d packets, of which some were refused", got, packets)
	}
}

func TestWorkersFor(t *testing.T) {
	for cores, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 8: 4, 64: mostWorkers} {
		if got := workersFor(cores); got != want {
			t.Errorf("%d cores: got %d workers, want %d", cores, got, want)
		}
	}
}

// endless is a clear side that gives that many super-packets' worth of single packets.
type endless struct {
	packet []byte
	left   int
}

func (e *endless) next(into []byte, _ bool) (int, error) {
	if e.left == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	e.left--
	clear(into[:offload.HeaderLength])
	return offload.HeaderLength + copy(into[offload.HeaderLength:], e.packet), nil
}

// starting is what starting the workers of a sender may allocate.
const starting = 100

// mallocs is how many allocations this process has made.
func mallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}

// BenchmarkWorkers sends through a socket whose other end nobody reads. What several
// workers gain is what sealing takes beside reading and sending, which one at a time
// does. No packet costs an allocation.
func BenchmarkWorkers(b *testing.B) {
	for _, suite := range []tunnel.Suite{tunnel.AES128GCM, tunnel.AES256CBCSHA512} {
		for _, count := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("%s/%d", suite, count), func(b *testing.B) {
				l := newLoops(b, suite, 1400)
				end, _ := newEnds(b, suite, true, tunnel.Lifetime{}, time.Now)
				from := &endless{packet: ipv4(benchmarkLength), left: b.N}
				b.SetBytes(benchmarkLength)
				b.ReportAllocs()
				var running sync.WaitGroup
				s := newSender(from, l.from, l.sender.outer, end, count, newSelectors(left, right), l.sender.ceiling, &l.out)
				before := mallocs()
				b.ResetTimer()
				s.start(&running)
				running.Wait()
				if made := mallocs() - before; made > starting {
					b.Errorf("%d allocations for %d packets, want no more than %d at the start", made, b.N, starting)
				}
			})
		}
	}
}

// What TCP makes of the bound, with the headers that it has: as many segments as go
// into one message, never one more.
func TestLongestSuper(t *testing.T) {
	out, _ := newSAs(t, tunnel.AES128GCM)
	for _, mtu := range []int{1280, 1420, 1438, 8920} {
		most := maxPayload / out.packetLength(mtu)
		for _, headers := range []int{40, 52, 60, 72} { // IPv4 and IPv6, without and with timestamps.
			for _, reserve := range []int{192, 320} {
				got := (longestSuper(udp4, out.layout, mtu) - reserve - 1) / (mtu - headers)
				if got > most || got < most-1 {
					t.Errorf("MTU %d, headers of %d bytes: got %d segments, want %d", mtu, headers, got, most)
				}
			}
		}
	}
}
