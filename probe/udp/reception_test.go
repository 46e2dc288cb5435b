package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/wire"
)

// fakePeer drives the reception of one lane as a sender would, without a socket.
type fakePeer struct {
	t         testing.TB
	trial     Trial
	nonce     wire.Nonce
	reception *reception
	answers   [][]byte
}

// fakeSize is the payload of a packet of fakeInner bytes.
const (
	fakeInner = 128
	fakeSize  = fakeInner - fakeHeaders
)

// fakeLoad has one flow, and less than 400,000 packets.
var fakeLoad = probe.Load{InnerBitsPerSecond: 350e6, Duration: time.Second, Mix: probe.Fixed(fakeInner)}

func newFakePeer(t testing.TB, load probe.Load) *fakePeer { return newFakeLane(t, load, 0, &origin{}) }

func newFakeLane(t testing.TB, load probe.Load, lane int, o *origin) *fakePeer {
	p := &fakePeer{t: t, trial: testTrial(t), nonce: wire.Nonce{0xaa}}
	p.reception = newReception(p.trial, load, lane, fakeHeaders, o, wire.Nonce{0xbb}, 0, func(_ netip.AddrPort, b []byte) { p.answers = append(p.answers, b) })
	return p
}

func (p *fakePeer) hello(kind wire.HelloKind, sent uint64, change func(*wire.Hello)) []byte {
	h := wire.Hello{Header: p.trial.header(wire.TypeHello, int(p.reception.lane)), Kind: kind, Nonce: p.nonce, Sent: sent}
	if kind == wire.HelloLast {
		h.Echo = p.reception.nonce
	}
	if change != nil {
		change(&h)
	}
	return h.Append(nil, p.trial.Key)
}

func (p *fakePeer) open(at time.Duration) { p.reception.handle(p.hello(wire.HelloOpen, 0, nil), at) }

func (p *fakePeer) last(sent uint64, at time.Duration) {
	p.reception.handle(p.hello(wire.HelloLast, sent, nil), at)
}

func (p *fakePeer) data(sequence uint64, at time.Duration) {
	p.reception.handle(dataOf(p.trial, int(p.reception.lane), sequence, fakeSize), at)
}

// result is what the lane alone has counted.
func (p *fakePeer) result() probe.Received { return result([]*counts{p.reception.counts}) }

func dataOf(trial Trial, flow int, sequence uint64, size int) []byte {
	b := make([]byte, size)
	h := trial.header(wire.TypeData, flow)
	h.Sequence = sequence
	h.Put(b)
	return b
}

// tickUntil lets time pass as the receiver's loop would.
func (p *fakePeer) tickUntil(end time.Duration) {
	for next := p.reception.next(); next <= end && p.reception.phase != over; next = p.reception.next() {
		p.reception.tick(next)
	}
}

// feedback returns the answers that are feedback.
func (p *fakePeer) feedback() (list []wire.Feedback) {
	for _, b := range p.answers {
		if f, err := wire.OpenFeedback(b, p.trial.Key); err == nil {
			list = append(list, f)
		}
	}
	return list
}

func TestReceptionOfWholeTrial(t *testing.T) {
	p := newFakePeer(t, fakeLoad)
	p.open(0)
	if h, err := wire.OpenHello(p.answers[0], p.trial.Key); err != nil || h.Kind != wire.HelloReply || h.Echo != p.nonce {
		t.Fatalf("the answer to hello is %+v (%v), want a reply that echoes its nonce", h, err)
	}
	p.data(0, 10*ms)
	p.data(1, 20*ms)
	p.data(3, 30*ms)
	p.tickUntil(250 * ms)
	if got := len(p.feedback()); got != 3 { // At 0, 100 and 200 ms.
		t.Errorf("%d feedbacks in 250 ms, want 3", got)
	}
	p.last(4, 260*ms)
	p.tickUntil(time.Hour)
	all := p.feedback()
	final := all[len(all)-1]
	want := wire.Feedback{
		Header: p.trial.header(wire.TypeFeedback, 0), Final: true, Echo: p.nonce,
		Received: 3, Highest: 3, Lost: 1,
	}
	want.Sequence, want.SendTime = uint64(len(all)), wire.StampOf(310*ms) // 50 ms after "last".
	if diff := cmp.Diff(want, final); diff != "" {
		t.Errorf("final feedback (-want +got):\n%s", diff)
	}
	got := p.result()
	if err := p.reception.err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&probe.FirstLoss{Packets: 2, After: 10 * ms}, got.FirstLoss); got.Packets != 3 || diff != "" {
		t.Errorf("%d packets, want 3; first loss (-want +got):\n%s", got.Packets, diff)
	}
}

func TestReceptionEndsAtOnceWhenComplete(t *testing.T) {
	p := newFakePeer(t, fakeLoad)
	p.open(0)
	p.data(0, 10*ms)
	p.last(1, 20*ms)
	p.reception.tick(20 * ms)
	if all := p.feedback(); len(all) == 0 || !all[len(all)-1].Final {
		t.Error("no final feedback at once although all has come")
	}
}

// What is still on its way is waited for, but not for ever.
func TestReceptionDrains(t *testing.T) {
	p := newFakePeer(t, fakeLoad)
	p.open(0)
	p.last(1e6, 100*ms)
	for at := 100 * ms; at < 3*time.Second && p.reception.phase == draining; at += 40 * ms {
		p.data(uint64(at/ms), at)
		p.tickUntil(at)
	}
	if got := p.reception.phase; got != lingering {
		t.Errorf("phase %d 3 s after last, want lingering", got)
	}
	// The sender asks for 1 s: the final count must be there in time.
	all := p.feedback()
	if at := time.Duration(all[len(all)-1].SendTime); !all[len(all)-1].Final || at > 100*ms+wire.LastWithin {
		t.Errorf("final feedback at %v, want it within 1 s of last", at)
	}
}

func TestReceptionRepeatsFinal(t *testing.T) {
	p := newFakePeer(t, fakeLoad)
	p.open(0)
	p.tickUntil(100 * ms)
	p.last(0, 100*ms)
	p.tickUntil(150 * ms)
	before := len(p.answers)
	p.last(0, 155*ms)
	p.tickUntil(200 * ms)
	if got := len(p.answers) - before; got != 1 {
		t.Errorf("%d answers to a repeated last, want 1", got)
	}
	p.tickUntil(216 * ms)
	if p.reception.phase != over {
		t.Error("not over 60 ms after the last last")
	}
}

func TestReceptionEndsWithoutSender(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script func(*fakePeer)
		want   error
		by     time.Duration
	}{
		{"no hello", func(*fakePeer) {}, probe.ErrNoHello, wire.HelloWithin},
		{"no last", func(p *fakePeer) { p.open(ms); p.data(0, 2*ms) }, probe.ErrPeerSilent, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newFakePeer(t, fakeLoad)
			tt.script(p)
			p.tickUntil(tt.by)
			if p.reception.phase != over {
				t.Errorf("not over after %v", tt.by)
			}
			if err := p.reception.err(); !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReceptionIgnores(t *testing.T) {
	stranger := testTrial(t)
	stranger.Key = probetest.StrangersKey(t)
	other := testTrial(t)
	other.Number++
	for _, tt := range []struct {
		name   string
		before bool // Sent before the hello.
		make   func(*fakePeer) []byte
	}{
		{"data before hello", true, func(p *fakePeer) []byte { return dataOf(p.trial, 0, 0, fakeSize) }},
		{"hello with another key", true, func(p *fakePeer) []byte {
			return wire.Hello{Header: p.trial.header(wire.TypeHello, 0), Kind: wire.HelloOpen}.Append(nil, stranger.Key)
		}},
		{"hello of another trial", true, func(p *fakePeer) []byte {
			return wire.Hello{Header: other.header(wire.TypeHello, 0), Kind: wire.HelloOpen}.Append(nil, p.trial.Key)
		}},
		{"last before hello", true, func(p *fakePeer) []byte { return p.hello(wire.HelloLast, 1, nil) }},
		{"reply", false, func(p *fakePeer) []byte { return p.hello(wire.HelloReply, 0, nil) }},
		{"last of an older trial", false, func(p *fakePeer) []byte {
			return p.hello(wire.HelloLast, 1, func(h *wire.Hello) { h.Echo = wire.Nonce{1} })
		}},
		{"last of another sender", false, func(p *fakePeer) []byte {
			return p.hello(wire.HelloLast, 1, func(h *wire.Hello) { h.Nonce = wire.Nonce{1} })
		}},
		{"data of the trial before", false, func(*fakePeer) []byte { return dataOf(other, 0, 0, fakeSize) }},
		{"data of another size", false, func(p *fakePeer) []byte { return dataOf(p.trial, 0, 0, fakeSize-1) }},
		{"data of a flow that is none", false, func(p *fakePeer) []byte { return dataOf(p.trial, 1, 0, fakeSize) }},
		{"data without padding", false, func(p *fakePeer) []byte { return dataOf(p.trial, 0, 0, wire.HeaderSize) }},
		{"data larger than any", false, func(p *fakePeer) []byte { return dataOf(p.trial, 0, 0, 1<<16) }},
		{"data with the last number of 48 bits", false, func(p *fakePeer) []byte { return dataOf(p.trial, 0, 1<<48-1, fakeSize) }},
		{"data beyond the load", false, func(p *fakePeer) []byte { return dataOf(p.trial, 0, 1<<40, fakeSize) }},
		{"feedback", false, func(p *fakePeer) []byte {
			return wire.Feedback{Header: p.trial.header(wire.TypeFeedback, 0)}.Append(nil, p.trial.Key)
		}},
		{"noise", false, func(*fakePeer) []byte { return []byte("noise") }},
		{"empty", false, func(*fakePeer) []byte { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newFakePeer(t, fakeLoad)
			want := counting
			if tt.before {
				want = waiting
			} else {
				p.open(0)
			}
			answers := len(p.answers)
			p.reception.handle(tt.make(p), ms)
			r := p.reception
			if r.phase != want || r.counts.packets != 0 || r.malformed != 1 || len(p.answers) != answers {
				t.Errorf("phase %d, %d packets, %d malformed, %d answers, want %d, 0, 1, 0",
					r.phase, r.counts.packets, r.malformed, len(p.answers)-answers, want)
			}
		})
	}
}

// A replayed hello of an older trial does not keep the real sender out, and one
// that comes after load has come changes nothing.
func TestReceptionReplayedHello(t *testing.T) {
	p := newFakePeer(t, fakeLoad)
	replayed := p.hello(wire.HelloOpen, 0, func(h *wire.Hello) { h.Nonce = wire.Nonce{0xee} })
	p.reception.handle(replayed, 0)
	p.open(ms)
	p.data(0, 2*ms)
	p.reception.handle(replayed, 3*ms)
	p.last(1, 4*ms)
	p.tickUntil(time.Second)
	if got, err := p.reception.counts.packets, p.reception.err(); err != nil || got != 1 {
		t.Errorf("got %d packets, error %v, want 1 and none", got, err)
	}
}

// A lane answers the hello of its first flow where it came from, sends its feedback
// there, and once there is load nobody can move it. It counts its own flows only.
func TestReceptionOfLane(t *testing.T) {
	trial, load := testTrial(t), fakeLoad
	load.Flows, load.Lanes = 5, 2 // Flows 1 and 3 are the second lane's.
	var asked []netip.AddrPort
	r := newReception(trial, load, 1, fakeHeaders, &origin{}, wire.Nonce{0xbb}, 0, func(to netip.AddrPort, _ []byte) { asked = append(asked, to) })
	from := func(port uint16, flow int) netip.AddrPort {
		r.source = netip.AddrPortFrom(netip.MustParseAddr("198.18.0.1"), port)
		h := wire.Hello{Header: trial.header(wire.TypeHello, flow), Kind: wire.HelloOpen, Nonce: wire.Nonce{0xaa}}
		r.handle(h.Append(nil, trial.Key), 0)
		return r.source
	}
	from(5000, 0) // Another lane's,
	from(5003, 3) // and not the lane's first.
	first := from(5001, 1)
	r.tick(feedbackEvery)
	for flow := range 7 {
		r.source = netip.AddrPortFrom(first.Addr(), uint16(7000+flow))
		r.handle(dataOf(trial, flow, 0, fakeSize), feedbackEvery)
	}
	from(6666, 1) // A replay.
	r.tick(2 * feedbackEvery)
	want := []netip.AddrPort{first, first, first, first}
	if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(asked)); diff != "" {
		t.Errorf("answers went to (-want +got):\n%s", diff)
	}
	if c := r.counts; r.malformed != 2+5 || c.packets != 2 || c.flows[0].tracker.packets != 1 || c.flows[1].tracker.packets != 1 {
		t.Errorf("%d datagrams are malformed and %d counted, want 7 of 9, and one of each flow", r.malformed, c.packets)
	}
}

// The load begins when all lanes have been greeted, so the first of them waits for
// it as long as a greeting may take.
func TestReceptionWaitsForOtherLanes(t *testing.T) {
	load := fakeLoad
	load.Flows, load.Lanes = 2, 2
	p := newFakeLane(t, load, 1, &origin{})
	p.open(0)
	p.tickUntil(wire.HelloWithin)
	p.data(0, wire.HelloWithin)
	p.tickUntil(wire.HelloWithin + load.Duration + silenceLimit)
	p.last(1, wire.HelloWithin+load.Duration+silenceLimit)
	p.tickUntil(time.Minute)
	if err := p.reception.err(); err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

// All sizes of a mix are counted, in whatever order, and no others.
func TestReceptionOfMix(t *testing.T) {
	load := fakeLoad
	load.Mix = probe.Mix{Sizes: []int{64, 1400, 576, 64}}
	p := newFakePeer(t, load)
	p.open(0)
	for i, inner := range []int{576, 64, 64, 1400, 65, 1399, 1401, 63} {
		p.reception.handle(dataOf(p.trial, 0, uint64(i), inner-fakeHeaders), ms)
	}
	got := p.result()
	if got.Packets != 4 || got.InnerBytes != 576+64+64+1400 || p.reception.malformed != 4 {
		t.Errorf("%d packets of %d bytes, %d malformed, want 4 of 2104, and 4", got.Packets, got.InnerBytes, p.reception.malformed)
	}
	if w := got.Windows; len(w) != 1 || w[0].Packets != got.Packets {
		t.Errorf("got windows %+v, want one with all packets", w)
	}
}

// A receiver's CLOCK_REALTIME that is set, by much or little, forward or back, disturbs
// neither times nor delays: only what arrived before and is read after it has the
// time of its reading.
func TestReceptionWhileClockIsSet(t *testing.T) {
	const begin = int64(1_800_000_000_000_000_000)
	run := func(step time.Duration) probe.Received {
		p, clock := newFakePeer(t, fakeLoad), arrivalClock{}
		clock.Look(begin, 0)
		p.open(0)
		var set time.Duration
		for i := range 1000 {
			arrived := time.Duration(i) * ms
			read := arrived + 300*us // By the monotonic clock.
			stamp := begin + int64(arrived+set)
			if i == 510 {
				set = step // Between arrival and reading.
			}
			clock.Look(begin+int64(read+set), read)
			at := clock.arrived(stamp, read)
			b := dataOf(p.trial, 0, uint64(i), fakeSize)
			h, _ := wire.ParseHeader(b)
			h.SendTime = wire.StampOf(time.Hour + arrived - 2*ms)
			h.Put(b)
			p.reception.handle(b, at)
		}
		p.last(1000, time.Second)
		return p.result()
	}
	want := run(0)
	for _, step := range []time.Duration{time.Hour, 400 * ms, -400 * ms, -time.Hour} {
		got := run(step)
		if d := got.Delay; d.P999 != 0 || d.Max != 300*us {
			t.Errorf("set by %v: got delays %+v, want none but that of one packet, 300us", step, d)
		}
		got.Delay, got.Variation, got.DelayDrift, got.PerFlow = want.Delay, want.Variation, want.DelayDrift, want.PerFlow
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("set by %v (-undisturbed +got):\n%s", step, diff)
		}
	}
}

// BenchmarkReception is what it costs to count a packet, without reading it: trains of
// 40, over the flows in turn, each train with a delay of its own.
func BenchmarkReception(b *testing.B) {
	for _, flows := range []int{1, 12, probe.MaxFlows} {
		b.Run(fmt.Sprintf("%d flows", flows), func(b *testing.B) {
			load := probe.Load{InnerBitsPerSecond: 1e12, Duration: probe.MaxDuration, Mix: probe.Fixed(fakeInner), Flows: flows}
			p := newFakePeer(b, load)
			p.open(0)
			const train = 40
			data := dataOf(p.trial, 0, 0, train*fakeSize)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				at := time.Duration(i) * 5 * us
				h := p.trial.header(wire.TypeData, i%flows)
				h.Sequence, h.SendTime = uint64(i/flows*train), wire.StampOf(at-time.Duration(i%7)*100)
				for n := range train {
					h.Put(data[n*fakeSize:])
					h.Sequence++
				}
				for n := range train {
					p.reception.handle(data[n*fakeSize:][:fakeSize], at)
				}
				i++
			}
			if got := p.reception.counts.packets; got != uint64(i*train) {
				b.Errorf("counted %d packets, want %d", got, i*train)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(i*train), "ns/packet")
		})
	}
}

// Whatever comes, the receiver counts no more than came, answers only its
// peer, and ends in time.
func FuzzReception(f *testing.F) {
	trial := testTrial(f)
	load := fakeLoad
	load.Flows, load.Lanes, load.Mix = 6, 2, probe.Mix{Sizes: []int{fakeInner, 64}}
	hello := wire.Hello{Header: trial.header(wire.TypeHello, 1), Kind: wire.HelloOpen, Nonce: wire.Nonce{1}}.Append(nil, trial.Key)
	f.Add(dataOf(trial, 1, 3, fakeSize), dataOf(trial, 5, 1, 64-fakeHeaders), uint16(5))
	f.Add(dataOf(trial, 3, 1<<13, fakeSize), dataOf(trial, 3, 0, fakeSize), uint16(50))
	f.Add(hello, hello, uint16(1000))
	f.Add([]byte{0x12}, []byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, b, second []byte, wait uint16) {
		p := newFakeLane(t, load, 1, &origin{})
		p.reception.handle(b, 0)
		p.open(0)
		answers := len(p.answers)
		for i := range 3 {
			at := time.Duration(i) * time.Duration(wait) * time.Microsecond
			p.reception.handle(b, at)
			p.reception.handle(second, at)
			p.data(uint64(i), at)
		}
		if foreign(b, p.trial.Key) && foreign(second, p.trial.Key) && len(p.answers) != answers {
			t.Errorf("%d answers to what the peer did not make", len(p.answers)-answers)
		}
		p.tickUntil(time.Minute)
		if p.reception.phase != over {
			t.Error("not over after a minute")
		}
		checkSums(t, p.result(), 10)
	})
}

func foreign(b []byte, key wire.Key) bool {
	_, err := wire.OpenHello(b, key)
	return err != nil
}

// checkSums checks that a count of at most so many packets is consistent in itself.
func checkSums(t *testing.T, got probe.Received, most uint64) {
	t.Helper()
	var inWindows, inFlows, reordered uint64
	for i, w := range got.Windows {
		inWindows += w.Packets
		if w.Packets == 0 || w.MinDelay < 0 || w.End < w.Start || i > 0 && w.Start != got.Windows[i-1].End {
			t.Errorf("window %d is %+v, want one with packets that follows the one before", i, w)
		}
	}
	for _, f := range got.PerFlow {
		inFlows, reordered = inFlows+f.Packets, reordered+f.Reordered
		if f.MinDelay < 0 || f.MeanDelay < f.MinDelay {
			t.Errorf("a flow has the delays %v and %v, want none below the least", f.MinDelay, f.MeanDelay)
		}
	}
	if got.Packets > most || inWindows != got.Packets || inFlows != got.Packets || got.Delay.Count != got.Packets {
		t.Errorf("%d packets, %d in windows, %d in flows, %d delays, want as many and %d at most",
			got.Packets, inWindows, inFlows, got.Delay.Count, most)
	}
	if reordered != got.Reordered.Packets {
		t.Errorf("%d reordered, %d in flows, want the same", got.Reordered.Packets, reordered)
	}
	if l := got.FirstLoss; l != nil && (l.Packets > got.Packets || l.After < 0) {
		t.Errorf("first loss is %+v of %d packets", *l, got.Packets)
	}
}

func FuzzControl(f *testing.F) {
	f.Add(make([]byte, 40))
	f.Add([]byte("\x20\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x23\x00\x00\x00ssssssssnnnnnnnn"))
	f.Fuzz(func(t *testing.T, b []byte) {
		aligned := make([]byte, len(b)+1)[:len(b)]
		copy(aligned, b)
		parseControl(aligned) // Must not read beyond its end.
	})
}
