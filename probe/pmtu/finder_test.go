package pmtu

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe/sockets"
)

// upTo is a path that takes sizes up to an MTU.
func upTo(mtu int) func(int) bool { return func(size int) bool { return size <= mtu } }

func TestFinder(t *testing.T) {
	type result struct {
		low, high int
		above     []int
	}
	options := Options{Least: 576, Most: 1500}
	for _, tt := range []struct {
		name    string
		options Options
		hint    int
		passes  func(int) bool
		want    result
		most    int // Rounds.
	}{
		{"all pass", options, 0, upTo(1500), result{1500, 0, nil}, 7},
		{"found by halves", options, 0, upTo(1437), result{1437, 1438, nil}, 18},
		{"ICMP is right", options, 1437, upTo(1437), result{1437, 1438, nil}, 10},
		{"ICMP says too much", options, 1480, upTo(1437), result{1437, 1438, nil}, 20},
		{"ICMP says too little", options, 600, upTo(1437), result{1437, 1438, nil}, 20},
		{"ICMP says nonsense", options, 1, upTo(1437), result{1437, 1438, nil}, 18},
		{"only the least", options, 0, upTo(576), result{576, 577, nil}, 18},
		{"not even the least", options, 0, upTo(575), result{0, 576, nil}, 2},
		{"all but the greatest", options, 0, upTo(1499), result{1499, 1500, nil}, 18},
		{"one size only", Options{Least: 1400, Most: 1400}, 0, upTo(1400), result{1400, 0, nil}, 2},
		{"the whole range", Options{Least: 576, Most: sockets.MaxInner}, 0, upTo(9000), result{9000, 9001, nil}, 26},
		{"a hole that was looked for", Options{Least: 576, Most: 1500, Also: []int{1440}}, 0,
			func(size int) bool { return size < 1439 || size > 1446 }, result{1438, 1439, []int{1500}}, 20},
		{"a hole that a spot meets", options, 0,
			func(size int) bool { return size < 900 || size > 1000 }, result{899, 900, []int{1130, 1315, 1500}}, 20},
		{"sizes to try that are out of range", Options{Least: 576, Most: 1500, Also: []int{-1, 575, 1501}}, 0,
			upTo(1500), result{1500, 0, nil}, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFinder(tt.options)
			f.hint = tt.hint
			rounds := 0
			for size, more := f.next(); more; size, more = f.next() {
				if rounds++; rounds > 100 {
					t.Fatalf("no end: still tries %d", size)
				}
				f.note(size, tt.passes(size))
			}
			var got result
			got.low, got.high, got.above = f.result()
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if rounds > tt.most {
				t.Errorf("took %d rounds, want at most %d", rounds, tt.most)
			}
		})
	}
}

func TestFinderChangesItsMind(t *testing.T) {
	f := newFinder(Options{Least: 576, Most: 1500})
	misled := map[int]bool{1038: true, 1437: true} // Lost by chance, once.
	for size, more := f.next(); more; size, more = f.next() {
		f.note(size, size <= 1437 && !misled[size])
		delete(misled, size)
	}
	if low, high, _ := f.result(); low != 1437 || high != 1438 {
		t.Errorf("found %d passes and %d is lost, want 1437 and 1438", low, high)
	}
}

func TestFinderLimit(t *testing.T) {
	f := newFinder(Options{Least: 576, Most: sockets.MaxInner})
	f.note(576, true)
	f.note(2000, true)
	f.limit(1500)
	f.limit(9000) // Is not above what was said before.
	for size, more := f.next(); more; size, more = f.next() {
		if size > 1500 {
			t.Fatalf("tries %d", size)
		}
		f.note(size, true)
	}
	if low, high, _ := f.result(); low != 1500 || high != 0 {
		t.Errorf("found %d passes and %d is lost, want 1500 and none", low, high)
	}
	f.limit(500)
	if size, more := f.next(); !more || size != 500 {
		t.Errorf("tries %d where the interface takes less than the least, want 500", size)
	}
}

// path is a simulated one, in its own time.
type path struct {
	passes func(int) bool
	delay  time.Duration
	jitter time.Duration
	loss   float64 // Of each datagram.
	random *rand.Rand
}

// answer is one that is on its way.
type answer struct {
	at       time.Duration
	sequence uint64
	size     int
}

// search runs a way over the path, and returns what it found.
func (p path) search(o Options) Direction {
	var w *way
	var now time.Duration
	var coming []answer
	var sequence uint64
	number := func() uint64 { sequence++; return sequence }
	w = newWay(o, 2*p.delay, func(size int, sequence uint64) (int, error) {
		question, reply := p.random.Float64(), p.random.Float64()
		if p.passes(size) && min(question, reply) >= p.loss {
			coming = append(coming, answer{now + 2*p.delay + time.Duration(p.random.Float64()*float64(p.jitter)), sequence, size})
		}
		return 0, nil
	})
	for {
		due, _ := w.advance(now, now, number)
		next := -1
		for i, a := range coming {
			if a.at < due && (next < 0 || a.at < coming[next].at) {
				next = i
			}
		}
		if next < 0 && due == never {
			return w.result()
		}
		if next < 0 {
			now = due
			continue
		}
		a := coming[next]
		now = a.at
		coming = append(coming[:next], coming[next+1:]...)
		w.passed(a.sequence, a.size, 0, now)
	}
}

// Loss by chance does not mislead, and a search over a long path takes seconds.
func TestWayUnderLoss(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options Options
		mtu     int
		path    path
		within  time.Duration
	}{
		{"40 ms and 1 %", Options{Least: 576, Most: 1500}, 1437, path{delay: 40 * time.Millisecond, loss: 0.01}, 6 * time.Second},
		{"40 ms and 5 %", Options{Least: 576, Most: 1500}, 1437, path{delay: 40 * time.Millisecond, loss: 0.05}, 6 * time.Second},
		{"5 %, all pass", Options{Least: 576, Most: 9000}, 9000, path{delay: 5 * time.Millisecond, loss: 0.05}, 2 * time.Second},
		{"5 %, jumbo", Options{Least: 1280, Most: sockets.MaxInner}, 8921, path{delay: 5 * time.Millisecond, loss: 0.05}, 4 * time.Second},
		{"more jitter than is waited for", Options{Least: 576, Most: 1500}, 1437,
			path{delay: 5 * time.Millisecond, jitter: 150 * time.Millisecond, loss: 0.01}, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wrong := 0
			for seed := range uint64(500) {
				p := tt.path
				p.passes, p.random = upTo(tt.mtu), rand.New(rand.NewPCG(seed, 1))
				d := p.search(tt.options)
				if d.InnerSize != tt.mtu || !d.Settled {
					wrong++
					t.Logf("seed %d: found %+v", seed, d)
				}
				if d.Elapsed > tt.within || d.Sent > mostSent {
					t.Errorf("seed %d: took %v and %d datagrams, want at most %v and %d", seed, d.Elapsed, d.Sent, tt.within, mostSent)
				}
			}
			if wrong > 0 {
				t.Errorf("%d of 500 searches were wrong", wrong)
			}
		})
	}
}

// A path that passes sizes at random ends within bounds, too.
func TestWayWithoutAnAnswer(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p := path{passes: func(int) bool { return random.IntN(2) == 0 }, random: rand.New(rand.NewPCG(1, 3))}
	if d := p.search(Options{Least: 576, Most: sockets.MaxInner}); d.Settled && d.Sent >= mostSent || d.Sent > mostSent {
		t.Errorf("found %+v, want no more than %d datagrams", d, mostSent)
	}
}

// A peer that says nonsense of its interface does not change what is searched.
func TestWayRefusedForNoReason(t *testing.T) {
	w := newWay(Options{Least: 576, Most: 1500}, 0, func(int, uint64) (int, error) { return 0, nil })
	if _, err := w.advance(0, 0, func() uint64 { return 1 }); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, -1, 576, 9000} {
		w.size = 576
		w.toldRefused(1, limit)
		if w.finder.most != 1500 || w.local != 0 || w.finder.sizes[576].passed {
			t.Errorf("refused by an interface of %d: searches up to %d", limit, w.finder.most)
		}
	}
}

// While the peer is silent, nothing counts as lost.
func TestWayWithSilentPeer(t *testing.T) {
	var sequence uint64
	number := func() uint64 { sequence++; return sequence }
	w := newWay(Options{Least: 576, Most: 1500}, 0, func(int, uint64) (int, error) { return 0, nil })
	for now := time.Duration(0); now < 10*time.Second; now += 10 * time.Millisecond {
		if next, err := w.advance(now, 0, number); next == never || err != nil {
			t.Fatalf("ended after %v, error %v", now, err)
		}
	}
	if len(w.finder.sizes) > 0 || len(w.attempts) > tries {
		t.Errorf("took down %v after %d datagrams, want nothing after %d", w.finder.sizes, len(w.attempts), tries)
	}
}
