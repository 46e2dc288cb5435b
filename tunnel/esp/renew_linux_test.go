package esp

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
)

// Both loops of both ends with new keys every few batches: every packet comes out, of
// every suite, and none is refused.
func TestLoopsAcrossGenerations(t *testing.T) {
	const batches, size = 40, 8
	for _, suite := range keyedSuites() {
		t.Run(string(suite.name), func(t *testing.T) {
			c := newClock()
			a, b := newEnds(t, suite.name, true, tunnel.Lifetime{Packets: 2 * size}, c.read)
			near, far := listenPair(t)
			there, back := newLoopsOf(t, near, far, a, b, 1400), newLoopsOf(t, far, near, b, a, 1400)
			there.from.read = batchOf(size, 1400)
			for range size {
				back.from.read = append(back.from.read, ipv4back(1400))
			}
			back.sender.selectors = newSelectors(right, left)
			for range batches {
				c.sleep(askAge)
				for _, l := range []*loops{there, back} {
					l.carry(t)
					dummies, _ := l.sender.generations.poll()
					newRenewer(l.sender.generations, l.sender.outer, &l.out).send(dummies)
				}
			}
			want := tunnel.Counters{OutPackets: batches * size, OutInnerBytes: batches * size * 1400, InPackets: batches * size, InInnerBytes: batches * size * 1400}
			for _, l := range []*loops{there, back} {
				if diff := cmp.Diff(want, l.out.read().Add(l.in.read())); diff != "" {
					t.Errorf("counters (-want +got):\n%s", diff)
				}
			}
			if a.count() < batches/4 || b.count() < batches/4 {
				t.Errorf("ends are at generations %d and %d after %d batches", a.count(), b.count(), batches)
			}
		})
	}
}

// wire is an outer network that carries each packet in a millisecond, or loses it.
type wire struct {
	to   *generations
	lose func() bool

	mu sync.Mutex // Guards the peer's window: one goroutine opens packets.
}

func (w *wire) send(packets [][]byte, _ byte) []int {
	for _, packet := range packets {
		if w.lose != nil && w.lose() {
			continue
		}
		time.AfterFunc(time.Millisecond, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.to.take(packet)
		})
	}
	return nil
}

func (w *wire) takeErrors() int { return 0 }

// renewers are those of two ends that send nothing else.
func renewers(t *testing.T, l tunnel.Lifetime, lose func() bool) (near, far *renewer) {
	t.Helper()
	a, b := newEnds(t, tunnel.AES128GCM, true, l, time.Now)
	near = newRenewer(a, &wire{to: b, lose: lose}, &ledger{})
	far = newRenewer(b, &wire{to: a, lose: lose}, &ledger{})
	var running sync.WaitGroup
	running.Go(near.run)
	running.Go(far.run)
	t.Cleanup(func() {
		close(near.stopped)
		close(far.stopped)
		running.Wait()
	})
	return near, far
}

// Pairs are replaced by time alone, also where nothing else passes.
func TestRenewByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := renewers(t, tunnel.Lifetime{Time: time.Second}, nil)
		time.Sleep(time.Minute)
		for _, r := range []*renewer{near, far} {
			if got := r.generations.count(); got < 59 || got > 60 {
				t.Errorf("moved %d times within a minute, want once a second", got)
			}
		}
	})
}

// On demand it takes one round trip from either end, and no longer than the time of
// the questions that are lost.
func TestRenewOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := 0
		near, far := renewers(t, tunnel.Lifetime{}, func() bool { lost--; return lost >= 0 })
		for i, r := range []*renewer{near, far, near} {
			time.Sleep(askAge)
			lost = i
			took, err := r.renew(t.Context())
			if want := 2*time.Millisecond + time.Duration(i)*askAgain; err != nil || took != want {
				t.Errorf("%d lost: took %v and %v, want %v", i, took, err, want)
			}
		}
		expectGenerations(t, "after all", near.generations, far.generations, 3, 3)
	})
}

// What a caller learns who waits in vain.
func TestRenewEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newEnds(t, tunnel.AES128GCM, true, tunnel.Lifetime{}, time.Now)
		r := newRenewer(a, &wire{lose: func() bool { return true }}, &ledger{})
		var running sync.WaitGroup
		running.Go(r.run)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.renew(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a peer: got %v, want %v", err, context.DeadlineExceeded)
		}
		close(r.stopped)
		running.Wait()
		if _, err := r.renew(t.Context()); !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed: got %v, want %v", err, os.ErrClosed)
		}
	})
}
