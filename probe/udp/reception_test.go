package udp

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// fakePeer drives a reception as a sender would, without a socket.
type fakePeer struct {
	t         testing.TB
	trial     Trial
	nonce     wire.Nonce
	reception *reception
	answers   [][]byte
}

const fakeSize = 100

func newFakePeer(t testing.TB, load probe.Load) *fakePeer {
	p := &fakePeer{t: t, trial: testTrial(t), nonce: wire.Nonce{0xaa}}
	p.reception = newReception(p.trial, load, fakeSize, wire.Nonce{0xbb}, 0, func(_ netip.AddrPort, b []byte) { p.answers = append(p.answers, b) })
	return p
}

func (p *fakePeer) hello(kind wire.HelloKind, sent uint64, change func(*wire.Hello)) []byte {
	h := wire.Hello{Header: p.trial.header(wire.TypeHello, 0), Kind: kind, Nonce: p.nonce, Sent: sent}
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
	p.reception.handle(dataOf(p.trial, sequence, fakeSize), at)
}

func dataOf(trial Trial, sequence uint64, size int) []byte {
	b := make([]byte, size)
	h := trial.header(wire.TypeData, 0)
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
	p := newFakePeer(t, second350)
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
	got, err := p.reception.result()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&probe.FirstLoss{Packets: 2, After: 10 * ms}, got.FirstLoss); got.Packets != 3 || diff != "" {
		t.Errorf("%d packets, want 3; first loss (-want +got):\n%s", got.Packets, diff)
	}
}

func TestReceptionEndsAtOnceWhenComplete(t *testing.T) {
	p := newFakePeer(t, second350)
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
	p := newFakePeer(t, second350)
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
	if at := time.Duration(all[len(all)-1].SendTime); !all[len(all)-1].Final || at > 100*ms+lastWithin {
		t.Errorf("final feedback at %v, want it within 1 s of last", at)
	}
}

func TestReceptionRepeatsFinal(t *testing.T) {
	p := newFakePeer(t, second350)
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
		{"no hello", func(*fakePeer) {}, probe.ErrNoHello, helloWithin},
		{"no last", func(p *fakePeer) { p.open(ms); p.data(0, 2*ms) }, probe.ErrPeerSilent, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newFakePeer(t, second350)
			tt.script(p)
			p.tickUntil(tt.by)
			if p.reception.phase != over {
				t.Errorf("not over after %v", tt.by)
			}
			if _, err := p.reception.result(); !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReceptionIgnores(t *testing.T) {
	stranger := strangersTrial(t)
	other := testTrial(t)
	other.Number++
	for _, tt := range []struct {
		name   string
		before bool // Sent before the hello.
		make   func(*fakePeer) []byte
	}{
		{"data before hello", true, func(p *fakePeer) []byte { return dataOf(p.trial, 0, fakeSize) }},
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
		{"data of the trial before", false, func(*fakePeer) []byte { return dataOf(other, 0, fakeSize) }},
		{"data of another size", false, func(p *fakePeer) []byte { return dataOf(p.trial, 0, fakeSize-1) }},
		{"data beyond the load", false, func(p *fakePeer) []byte { return dataOf(p.trial, 1<<40, fakeSize) }},
		{"feedback", false, func(p *fakePeer) []byte {
			return wire.Feedback{Header: p.trial.header(wire.TypeFeedback, 0)}.Append(nil, p.trial.Key)
		}},
		{"noise", false, func(*fakePeer) []byte { return []byte("noise") }},
		{"empty", false, func(*fakePeer) []byte { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newFakePeer(t, second350)
			want := counting
			if tt.before {
				want = waiting
			} else {
				p.open(0)
			}
			answers := len(p.answers)
			p.reception.handle(tt.make(p), ms)
			got, _ := p.reception.result()
			if p.reception.phase != want || got.Packets != 0 || got.Malformed != 1 || len(p.answers) != answers {
				t.Errorf("phase %d, %d packets, %d malformed, %d answers, want %d, 0, 1, 0",
					p.reception.phase, got.Packets, got.Malformed, len(p.answers)-answers, want)
			}
		})
	}
}

// A replayed hello of an older trial does not keep the real sender out, and one
// that comes after load has come changes nothing.
func TestReceptionReplayedHello(t *testing.T) {
	p := newFakePeer(t, second350)
	replayed := p.hello(wire.HelloOpen, 0, func(h *wire.Hello) { h.Nonce = wire.Nonce{0xee} })
	p.reception.handle(replayed, 0)
	p.open(ms)
	p.data(0, 2*ms)
	p.reception.handle(replayed, 3*ms)
	p.last(1, 4*ms)
	p.tickUntil(time.Second)
	if got, err := p.reception.result(); err != nil || got.Packets != 1 {
		t.Errorf("got %d packets, error %v, want 1 and none", got.Packets, err)
	}
}

// Whatever comes, the receiver counts no more than came, answers only its
// peer, and ends in time.
func FuzzReception(f *testing.F) {
	trial := testTrial(f)
	hello := wire.Hello{Header: trial.header(wire.TypeHello, 0), Kind: wire.HelloOpen, Nonce: wire.Nonce{1}}.Append(nil, trial.Key)
	f.Add(dataOf(trial, 3, fakeSize), uint16(5))
	f.Add(hello, uint16(1000))
	f.Add([]byte{0x12}, uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, wait uint16) {
		p := newFakePeer(t, second350)
		p.reception.handle(b, 0)
		p.open(0)
		answers := len(p.answers)
		for i := range 3 {
			at := time.Duration(i) * time.Duration(wait) * time.Microsecond
			p.reception.handle(b, at)
			p.reception.handle(dataOf(p.trial, uint64(i), fakeSize), at)
		}
		if _, err := wire.OpenHello(b, p.trial.Key); err != nil && len(p.answers) != answers {
			t.Errorf("%d answers to what the peer did not make", len(p.answers)-answers)
		}
		p.tickUntil(time.Minute)
		if p.reception.phase != over {
			t.Error("not over after a minute")
		}
		got, _ := p.reception.result()
		var windows uint64
		for _, w := range got.Windows {
			windows += w.Packets
		}
		if got.Packets > 7 || windows != got.Packets {
			t.Errorf("%d packets, %d in windows, want as many and 7 at most", got.Packets, windows)
		}
	})
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
