package tcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
)

// relay is a path that does with the load what forward does, and carries all else.
// A reset at one end resets the other.
func relay(t *testing.T, to net.Addr, forward func(from, to *net.TCPConn)) net.Addr {
	t.Helper()
	inlet := listen(t, short, "127.0.0.1")
	var running sync.WaitGroup
	t.Cleanup(func() {
		inlet.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			in, err := inlet.AcceptTCP()
			if err != nil {
				return
			}
			out, err := net.DialTCP("tcp", nil, to.(*net.TCPAddr))
			if err != nil {
				t.Error(err)
				return
			}
			running.Go(func() { forward(in, out) })
			running.Go(func() {
				defer reset(in)
				defer reset(out)
				carry(out, in, func([]byte) {})
			})
		}
	})
	return inlet.Addr()
}

// carry copies until either end fails or from ends, and shows each part to see.
func carry(from, to *net.TCPConn, see func(b []byte)) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			see(b[:n])
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func TestAlteredOnTheWay(t *testing.T) {
	probetest.CheckLeaks(t)
	load := Load{Flows: 2, Duration: 10 * time.Second, Verify: true}
	listener := listen(t, load, "127.0.0.1")
	address := relay(t, listener.Addr(), func(from, to *net.TCPConn) {
		carried := 0
		carry(from, to, func(b []byte) {
			before := carried
			if carried += len(b); before <= 1_000_000 && carried > 1_000_000 {
				b[1_000_000-before] ^= 1
			}
		})
	})
	trial := testTrial(t)
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		return Send(t.Context(), dialer(load, address), trial, load, nil)
	})
	if !errors.Is(o.receivedErr, ErrAltered) || o.sendErr == nil {
		t.Errorf("got errors %v and %v, want %v and one at the sender, too", o.receivedErr, o.sendErr, ErrAltered)
	}
}

// What the path does not let through in time is dropped, and both ends say so.
func TestSlowPath(t *testing.T) {
	probetest.CheckLeaks(t)
	load := Load{Flows: 1, Duration: 50 * ms}
	listener := listen(t, load, "127.0.0.1")
	stuck := make(chan struct{})
	defer close(stuck)
	address := relay(t, listener.Addr(), func(from, to *net.TCPConn) {
		carried := 0
		carry(from, to, func(b []byte) {
			if carried += len(b); carried > 1_000_000 {
				<-stuck
			}
		})
	})
	trial := testTrial(t)
	began := time.Now()
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		return Send(t.Context(), dialer(load, address), trial, load, nil)
	})
	if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
		t.Error(err)
	}
	if o.sent.Drained || o.received.Drained || o.received.Flows[0].GoodputBytes == 0 || o.sent.Elapsed > time.Second {
		t.Errorf("sent %+v\nreceived %+v\nwant neither drained, and some received", o.sent, o.received)
	}
	if took := time.Since(began); took < load.Duration+drainWithin || took > load.Duration+drainWithin+2*time.Second {
		t.Errorf("took %v, want %v", took, load.Duration+drainWithin)
	}
}

// A path that is gone ends both, the sender first: within a second.
func TestIntegrationPathGone(t *testing.T) {
	sender, receiver := probetest.VethPair(t)
	load := Load{Flows: 2, Duration: 30 * time.Second}
	var listener *net.TCPListener
	_ = receiver.Do(func() error {
		listener = listen(t, load, probetest.AddressB)
		return nil
	})
	dial := func(ctx context.Context, flow int) (conn *net.TCPConn, err error) {
		err = sender.Do(func() (err error) {
			conn, err = dialer(load, listener.Addr())(ctx, flow)
			return err
		})
		return conn, err
	}
	var cut time.Time
	var once sync.Once
	var took time.Duration
	trial := testTrial(t)
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		sent, err := Send(t.Context(), dial, trial, load, func(Sample) {
			once.Do(func() {
				if err := sender.Do(exec.Command("ip", "link", "set", "veth", "down").Run); err != nil {
					t.Error(err)
				}
				cut = time.Now()
			})
		})
		took = time.Since(cut)
		return sent, err
	})
	if !errors.Is(o.sendErr, probe.ErrPeerSilent) || took > 2*time.Second {
		t.Errorf("Send ended %v after the path with error %v, want %v after one second", took, o.sendErr, probe.ErrPeerSilent)
	}
	if gone := time.Since(cut); !errors.Is(o.receivedErr, probe.ErrPeerSilent) || gone > 2*receiverSilence {
		t.Errorf("Receive ended %v after the path with error %v, want %v after %v", gone, o.receivedErr, probe.ErrPeerSilent, receiverSilence)
	}
}

// A load that was told to end does so soon, also where the path does not let through
// what is queued: that is dropped, which neither end takes for a failure.
func TestEndsEarlyOnSlowPath(t *testing.T) {
	probetest.CheckLeaks(t)
	load := Load{Flows: 1, Duration: time.Minute}
	listener, trial := listen(t, load, "127.0.0.1"), testTrial(t)
	stuck := make(chan struct{})
	defer close(stuck)
	address := relay(t, listener.Addr(), func(from, to *net.TCPConn) {
		carried := 0
		carry(from, to, func(b []byte) {
			if carried += len(b); carried > 1_000_000 {
				<-stuck
			}
		})
	})
	until := make(chan struct{})
	sending := trial
	sending.Until, sending.ProgressEvery = until, leastProgressEvery
	var stopped time.Time
	var took time.Duration
	time.AfterFunc(100*ms, func() {
		stopped = time.Now()
		close(until)
	})
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		sent, err := Send(t.Context(), dialer(load, address), sending, load, nil)
		took = time.Since(stopped)
		return sent, err
	})
	if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
		t.Fatal(err)
	}
	if took > time.Second || o.sent.Drained || o.received.Drained || o.received.Flows[0].GoodputBytes == 0 {
		t.Errorf("ended %v after it was told to\nsent %+v\nreceived %+v\nwant %v, neither drained, and some received", took, o.sent, o.received, stopWithin)
	}
	assertSamples(t, o.sent.Samples)
}

// What many flows have queued before a slow link does not arrive any more: beyond what
// stopWithin lets through, only what the link's own queue holds does.
func TestIntegrationEndsEarlyOnSlowLink(t *testing.T) {
	labtest.CheckLeaks(t)
	const queued = 100 * ms
	link := newSlowLink(t, "2mbit", 25_000)
	until := make(chan struct{})
	trial := testTrial(t)
	trial.Until = until
	stop := sync.OnceFunc(func() { close(until) })
	o := link.trial(t, trial, Load{Flows: 32, Duration: 30 * time.Second}, func(s Sample) {
		if s.Elapsed > time.Second {
			stop()
		}
	})
	if after := o.received.Elapsed - o.sent.Elapsed; after > stopWithin+queued+300*ms {
		t.Errorf("received for %v after the load was told to end, want %v", after, stopWithin+queued)
	}
	if o.sent.Drained || o.received.Drained {
		t.Errorf("sent %+v\nreceived %+v\nwant neither drained", o.sent, o.received)
	}
}

// TCP tells of a queue that is short: the round trip grows by it, and what does not
// fit is retransmitted.
func TestIntegrationShortQueue(t *testing.T) {
	labtest.CheckLeaks(t)
	const rate = 50e6
	link := newSlowLink(t, "50mbit", 50_000)
	load := Load{Flows: 2, Duration: time.Second, Congestion: "cubic", DSCP: 8}
	o := link.trial(t, testTrial(t), load, nil)
	assertWhole(t, load, o)
	assertQueueSeen(t, o, drops(t, link.tc(t, "-s", "-j", "qdisc", "show", "dev", "to-b")))
	if most := uint64(rate / 8 * (o.received.Elapsed + 10*ms).Seconds()); o.received.goodputBytes() > most {
		t.Errorf("received %d bytes in %v, want %d at most", o.received.goodputBytes(), o.received.Elapsed, most)
	}
}

// slowLink is between two hosts, and slow from a to b.
type slowLink struct {
	lab hosts
	to  string // Address of b.
}

// hosts are those of a lab, and what is between them.
type hosts interface {
	Do(host string, f func() error) error
	StartInMiddle(link [2]string, cmd *exec.Cmd) error
}

// newSlowLink has a rate in tc's words, and a queue of so many bytes.
func newSlowLink(t *testing.T, rate string, queue int) slowLink {
	t.Helper()
	labtest.NeedProgram(t, "tc")
	pair := labtest.Pair(t)
	there, err := pair.Host("b")
	if err != nil {
		t.Fatal(err)
	}
	link := slowLink{pair, there.V4.String()}
	link.tc(t, "qdisc", "replace", "dev", "to-b", "root", "tbf", "rate", rate, "burst", "10000", "limit", strconv.Itoa(queue))
	return link
}

// tc runs it in the middle of the link, and returns what it says.
func (s slowLink) tc(t *testing.T, arguments ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("tc", arguments...)
	cmd.Stdout = &out
	if err := s.lab.StartInMiddle([2]string{"a", "b"}, cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("tc %q: %v", arguments, err)
	}
	return out.Bytes()
}

func (s slowLink) trial(t *testing.T, trial Trial, load Load, progress func(Sample)) outcome {
	t.Helper()
	at := func(host string) func(func() error) error {
		return func(f func() error) error { return s.lab.Do(host, f) }
	}
	return between(t, at("a"), at("b"), s.to, trial, load, progress)
}

// assertQueueSeen holds TCP's word against what the queue dropped.
func assertQueueSeen(t *testing.T, o outcome, dropped uint64) {
	t.Helper()
	var retransmits uint64
	for _, f := range o.sent.Flows {
		retransmits += f.Retransmits
		if f.RetransmittedBytes < f.Retransmits || f.RetransmittedBytes >= f.TransmittedBytes {
			t.Errorf("flow %+v: want some bytes retransmitted in each segment, but not all", f)
		}
		if f.MeanRTT < 2*o.sent.HelloRTT || f.MaxRTT < f.MeanRTT || f.Busy <= 0 {
			t.Errorf("flow %+v: want a longer round trip than the %v without load", f, o.sent.HelloRTT)
		}
	}
	if dropped == 0 || retransmits == 0 || retransmits > 2*dropped || dropped > 2*retransmits {
		t.Errorf("%d packets dropped, %d segments retransmitted, want about the same", dropped, retransmits)
	}
	if last := o.sent.Samples[len(o.sent.Samples)-1]; last.Retransmits != retransmits || last.CwndBytes == 0 || last.MeanRTT == 0 {
		t.Errorf("last sample is %+v, want %d retransmits, a window and a round trip", last, retransmits)
	}
}

// drops reads what a queue has dropped from tc's JSON.
func drops(t *testing.T, out []byte) uint64 {
	t.Helper()
	var queues []struct{ Drops uint64 }
	if err := json.Unmarshal(out, &queues); err != nil || len(queues) == 0 {
		t.Fatalf("read tc's %q: %v", out, err)
	}
	return queues[0].Drops
}

// between runs a trial from one place to another, where the two functions run what
// they are given.
func between(t testing.TB, from, to func(func() error) error, address string, trial Trial, load Load, progress func(Sample)) outcome {
	t.Helper()
	var listener *net.TCPListener
	if err := to(func() error {
		listener = listen(t, load, address)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := dialer(load, listener.Addr())
	there := func(ctx context.Context, flow int) (conn *net.TCPConn, err error) {
		err = from(func() (err error) {
			conn, err = dial(ctx, flow)
			return err
		})
		return conn, err
	}
	o := trialOver(t, listener, trial, load, func() (Sent, error) { return Send(t.Context(), there, trial, load, progress) })
	if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
		t.Fatal(err)
	}
	return o
}

func (r Received) goodputBytes() (sum uint64) {
	for _, f := range r.Flows {
		sum += f.GoodputBytes
	}
	return sum
}
