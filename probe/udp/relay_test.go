package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/sockets"
	"tunnelmark/probe/wire"
)

// fate is what becomes of a datagram: it is passed, now or later, or not. It is valid
// until the fate returns.
type fate func(d []byte, pass func([]byte))

// relay forwards datagrams between near and far until stop is called. What comes from
// near meets its fate; what comes from far goes where the newest hello came from.
func relay(t *testing.T, near, far *net.UDPConn, meet fate) (stop func()) {
	t.Helper()
	for _, conn := range []*net.UDPConn{near, far} {
		if err := sockets.Control(conn, func(fd int) error { return sockets.SetReceiveBuffer(fd, receiveBuffer) }); err != nil {
			t.Fatal(err)
		}
	}
	var wait sync.WaitGroup
	var mutex sync.Mutex // Guards asked.
	var asked netip.AddrPort
	pass := func(d []byte) { _, _ = far.Write(d) }
	wait.Go(func() {
		probetest.Forward(near, func(d []byte, from netip.AddrPort) {
			if d[0]&0xf == byte(wire.TypeHello) {
				mutex.Lock()
				asked = from
				mutex.Unlock()
			}
			meet(d, pass)
		})
	})
	wait.Go(func() {
		probetest.Forward(far, func(d []byte, _ netip.AddrPort) {
			mutex.Lock()
			defer mutex.Unlock()
			if near.RemoteAddr() != nil {
				_, _ = near.Write(d)
				return
			}
			_, _ = near.WriteToUDPAddrPort(d, asked)
		})
	})
	return sync.OnceFunc(func() {
		near.Close()
		far.Close()
		wait.Wait()
	})
}

// mischief drops, repeats and holds back DATA of one lane, and counts what it does. It
// touches so many packets in each way, and leaves the first and the last ones alone.
type mischief struct {
	each   int
	sent   int // DATA that came.
	passed int // Without repetitions.
	held   map[uint16][]byte
	done   func() // Called when there were enough, and as many as it leaves alone.
	since  int    // Packets left alone at the end.

	dropped, repeated, swapped int
	first                      int // Passed before the first that was dropped.
}

// alone is how many packets are left alone: several of each flow.
const alone = 500

func (m *mischief) meet(d []byte, pass func([]byte)) {
	h, err := wire.ParseHeader(d)
	if err != nil || h.Type != wire.TypeData {
		pass(d)
		return
	}
	number := m.sent
	m.sent++
	switch {
	case number < alone || m.held[h.Stream] != nil:
	case m.dropped == m.each && m.repeated == m.each && m.swapped == m.each:
		if m.since++; m.since == alone {
			m.done()
		}
	case number%9 == 2 && m.dropped < m.each:
		if m.dropped++; m.dropped == 1 {
			m.first = m.passed
		}
		return
	case number%9 == 4 && m.repeated < m.each:
		m.repeated++
		pass(d)
	case number%9 == 7 && m.swapped < m.each:
		m.swapped++
		m.held[h.Stream] = slices.Clone(d) // Until the next of its flow has passed.
		return
	}
	pass(d)
	m.passed++
	if late := m.held[h.Stream]; late != nil {
		delete(m.held, h.Stream)
		pass(late)
		m.passed++
	}
}

// What a relay drops, repeats and reorders is counted exactly, 1000 of each.
func TestIntegrationCountTruth(t *testing.T) {
	const each, perSecond = 1000, 8000
	load := func(flows, lanes int, mix probe.Mix) probe.Load {
		return probe.Load{
			InnerBitsPerSecond: perSecond * mix.Mean() * 8, Duration: time.Minute, // At most: done ends it.
			Flows: flows, Lanes: lanes, Mix: mix,
		}
	}
	for _, l := range []probe.Load{
		load(1, 1, probe.Fixed(200)),
		load(5, 1, probe.Mix{Sizes: []int{64, 64, 200, 570}, Seed: 7}),
		load(50, 2, probe.Fixed(100)),
	} {
		t.Run(fmt.Sprintf("%d flows in %d lanes, %v", l.Flows, l.Lanes, l.Mix), func(t *testing.T) {
			probetest.EnterNetns(t)
			in, near := inlets(t, "127.0.0.2", l.Lanes), inlets(t, "127.0.0.1", l.Lanes)
			lanes := make([]*mischief, l.Lanes)
			trial, until := testTrial(t), make(chan struct{})
			trial.Peer, trial.Until = netip.MustParseAddr("127.0.0.1"), until
			var busy sync.WaitGroup
			var ends []func()
			for i := range lanes {
				busy.Add(1)
				lanes[i] = &mischief{each: each / l.Lanes, held: map[uint16][]byte{}, done: busy.Done}
				far := probetest.Connect(t, fmt.Sprintf("127.0.0.1:%d", 6000+i), inletAt("127.0.0.2", i))
				end := relay(t, near[i], far, lanes[i].meet)
				defer end()
				ends = append(ends, end)
			}
			go func() {
				busy.Wait()
				close(until)
			}()
			o := runBetween(t, in, dialHere(t, "127.0.0.1"), trial, l)
			if err := errors.Join(o.sendErr, o.gotEr); err != nil {
				t.Fatal(err)
			}
			for _, end := range ends { // Relays count.
				end()
			}
			assertTruth(t, o, lanes)
		})
	}
}

// runBetween runs a whole trial.
func runBetween(t testing.TB, in []*net.UDPConn, open Open, trial Trial, load probe.Load) (o trialOutcome) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.received, o.gotEr = Receive(t.Context(), in, trial, load, nil)
	}()
	o.sent, o.sendErr = Send(t.Context(), open, trial, load, nil)
	<-done
	return o
}

func assertTruth(t *testing.T, o trialOutcome, lanes []*mischief) {
	t.Helper()
	type truth struct{ Sent, Lost, Duplicated, Reordered int }
	var want truth
	for _, m := range lanes {
		want.Sent += m.sent
		want.Lost += m.dropped
		want.Duplicated += m.repeated
		want.Reordered += m.swapped
		if len(m.held) > 0 { // Its flow has ended: it did not pass, and not late.
			want.Lost, want.Reordered = want.Lost+len(m.held), want.Reordered-len(m.held)
		}
	}
	got := o.received
	have := truth{int(o.sent.Packets), int(o.sent.Packets - got.Packets), int(got.Duplicated), int(got.Reordered.Packets)}
	if have != want || got.Malformed != 0 {
		t.Errorf("counted %+v and %d malformed, want %+v and none", have, got.Malformed, want)
	}
	if want.Lost != 1000 || want.Duplicated != 1000 || want.Reordered != 1000 {
		t.Errorf("the relay has done %+v, want 1000 of each", want)
	}
	if got.Reordered.MaxExtent != 1 || got.Reordered.MaxLate <= 0 {
		t.Errorf("reordered by %d packets and %v at most, want 1 and some time", got.Reordered.MaxExtent, got.Reordered.MaxLate)
	}
	if got.FirstLoss == nil {
		t.Fatal("no first loss")
	}
	// Exact in one flow, and otherwise within a turn of all flows. When a lane loses its
	// first packet, others may not yet have got as far.
	least, most := lanes[0].first, 0
	for _, m := range lanes {
		most += m.first
	}
	turn := len(o.sent.PerFlow) - 1
	if first := int(got.FirstLoss.Packets); first < least-turn || first > most+turn {
		t.Errorf("first loss after %d packets, want %d to %d within %d", first, least, most, turn)
	}
	checkSums(t, got, o.sent.Packets)
}
