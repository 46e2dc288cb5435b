package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/wire"
)

func mustRunTrial(t *testing.T, load Load, ip string) outcome {
	t.Helper()
	o := runTrial(t, load, ip)
	if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTrial(t *testing.T) {
	paced := Load{Flows: 2, Duration: 300 * ms, GoodputBitsPerSecond: 80e6, Verify: true}
	for _, tt := range []struct {
		name string
		ip   string
		load Load
	}{
		{"one flow", "127.0.0.1", short},
		{"IPv6", "::1", Load{Flows: 2, Duration: 150 * ms, DSCP: 46}},
		{"many flows", "127.0.0.1", Load{Flows: MaxFlows, Duration: 500 * ms, Write: 16 << 10}},
		{"verified", "127.0.0.1", Load{Flows: 3, Duration: 150 * ms, Verify: true}},
		{"verified in odd writes", "127.0.0.1", Load{Flows: 3, Duration: 150 * ms, Verify: true, Write: 12345}},
		{"without copies", "127.0.0.1", Load{Flows: 2, Duration: 150 * ms, Verify: true, ZeroCopy: true}},
		{"paced", "127.0.0.1", paced},
		{"all words", "127.0.0.1", Load{Flows: 1, Duration: 150 * ms, Congestion: "reno", MSS: 500, Window: 100_000, Write: 5000, DSCP: 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probetest.CheckLeaks(t)
			assertWhole(t, tt.load, mustRunTrial(t, tt.load, tt.ip))
		})
	}
}

// assertWhole checks sums, not speed.
func assertWhole(t *testing.T, load Load, o outcome) {
	t.Helper()
	if !o.sent.Drained || !o.received.Drained || o.sent.HelloRTT <= 0 || o.received.Strangers != 0 {
		t.Errorf("sent %+v\nreceived %+v\nwant both drained, a round trip, and no strangers", o.sent, o.received)
	}
	if o.sent.Elapsed < load.Duration || o.received.Elapsed <= 0 {
		t.Errorf("sent for %v, received for %v, want %v", o.sent.Elapsed, o.received.Elapsed, load.Duration)
	}
	for i, f := range o.sent.Flows {
		got := o.received.Flows[i]
		if f.ConfirmedBytes != got.GoodputBytes || f.GoodputBytes > f.ConfirmedBytes || f.ConfirmedBytes == 0 || f.LocalPort != got.RemotePort {
			t.Errorf("flow %d: sent %+v\nreceived %+v, want the same bytes and ports", i, f, got)
		}
		if f.TransmittedBytes < f.GoodputBytes || f.Segments == 0 || f.MeanRTT <= 0 || f.MinRTT <= 0 || f.MaxCwndBytes == 0 {
			t.Errorf("flow %d: TCP saw %+v, want some of all", i, f)
		}
		if load.Congestion != "" && f.Congestion != load.Congestion || f.Congestion == "" || load.MSS > 0 && f.MSS > load.MSS {
			t.Errorf("flow %d: %s with MSS %d, want %s with %d", i, f.Congestion, f.MSS, load.Congestion, load.MSS)
		}
		if load.paced() && f.ConfirmedBytes > load.limit() {
			t.Errorf("flow %d: %d bytes, want %d at most", i, f.ConfirmedBytes, load.limit())
		}
	}
	assertSamples(t, o.sent.Samples)
	assertSamples(t, o.received.Samples)
}

func assertSamples(t *testing.T, samples []Sample) {
	t.Helper()
	if len(samples) == 0 {
		t.Fatal("no samples")
	}
	for i, s := range samples[1:] {
		if s.Elapsed <= samples[i].Elapsed || s.GoodputBytes < samples[i].GoodputBytes {
			t.Errorf("sample %+v follows %+v, want both to grow", s, samples[i])
		}
	}
}

// A port that stayed in TIME-WAIT could not be used again so soon.
func TestPortsAreFreeAfterwards(t *testing.T) {
	load := Load{Flows: 2, Duration: 20 * ms}
	listener := listen(t, load, "127.0.0.1")
	trial := testTrial(t)
	for range 3 {
		o := trialOver(t, listener, trial, load, func() (Sent, error) {
			return Send(t.Context(), dialerFrom(load, 23456, listener.Addr()), trial, load, nil)
		})
		if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProgress(t *testing.T) {
	load := Load{Flows: 1, Duration: 300 * ms}
	listener := listen(t, load, "127.0.0.1")
	trial := testTrial(t)
	trial.ProgressEvery = 20 * ms
	var told []Sample
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		return Send(t.Context(), dialer(load, listener.Addr()), trial, load, func(s Sample) { told = append(told, s) })
	})
	if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
		t.Fatal(err)
	}
	if len(told) < 2 || len(told) > len(o.sent.Samples) {
		t.Errorf("told %d times, want several, and no more than the %d samples", len(told), len(o.sent.Samples))
	}
}

// Strangers of every kind come before the sender, in number.
func TestStrangers(t *testing.T) {
	probetest.CheckLeaks(t)
	load := Load{Flows: 2, Duration: 50 * ms}
	listener := listen(t, load, "127.0.0.1")
	trial := testTrial(t)
	hello := func(trial Trial, flow int) []byte {
		return wire.Hello{Header: trial.header(flow), Kind: wire.HelloOpen, Nonce: wire.Nonce{1}}.Append(nil, trial.Key)
	}
	stranger, other := trial, trial
	stranger.Key = probetest.StrangersKey(t)
	other.Number++
	says := [][]byte{
		nil,                        // Silence.
		make([]byte, 5),            // Too little.
		make([]byte, 1<<16),        // Too much.
		hello(stranger, 0),         // Another key.
		hello(other, 0),            // Another trial.
		hello(trial, 2),            // No such flow.
		append(hello(trial, 0), 1), // A recording: it cannot answer.
		append(hello(trial, 1), hello(trial, 1)...), // A recording, twice.
		wire.Feedback{}.Append(nil, trial.Key),
	}
	for _, b := range says {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		return Send(t.Context(), dialer(load, listener.Addr()), trial, load, nil)
	})
	if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
		t.Fatal(err)
	}
	if int(o.received.Strangers) != len(says) {
		t.Errorf("counted %d strangers, want %d", o.received.Strangers, len(says))
	}
}

// More silent strangers than are heard at once are gone before the sender gives up.
func TestManyStrangers(t *testing.T) {
	load := Load{Flows: 1, Duration: 20 * ms}
	listener := listen(t, load, "127.0.0.1")
	for range maxStrangers + 5 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	trial := testTrial(t)
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		return Send(t.Context(), dialer(load, listener.Addr()), trial, load, nil)
	})
	if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
		t.Error(err)
	}
}

func TestOnlyThePeerIsHeard(t *testing.T) {
	load := short
	listener := listen(t, load, "127.0.0.1")
	trial := testTrial(t)
	trial.HelloWithin = 500 * ms
	trial.Peer = netip.MustParseAddr("192.0.2.1")
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		return Send(t.Context(), dialer(load, listener.Addr()), trial, load, nil)
	})
	if !errors.Is(o.sendErr, probe.ErrNoHello) || !errors.Is(o.receivedErr, probe.ErrNoHello) || o.received.Strangers == 0 {
		t.Errorf("got errors %v and %v, %d strangers, want %v twice and one or more", o.sendErr, o.receivedErr, o.received.Strangers, probe.ErrNoHello)
	}
	trial.Peer = netip.MustParseAddr("::ffff:127.0.0.1")
	o = trialOver(t, listener, trial, load, func() (Sent, error) {
		return Send(t.Context(), dialer(load, listener.Addr()), trial, load, nil)
	})
	if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
		t.Error(err)
	}
}

// The sender may come before the receiver, and even before it listens.
func TestSenderFirst(t *testing.T) {
	load := short
	listener := listen(t, load, "127.0.0.1")
	address := listener.Addr()
	listener.Close()
	trial := testTrial(t)
	refused := make(chan struct{}, 100)
	dial := func(ctx context.Context, flow int) (*net.TCPConn, error) {
		conn, err := dialer(load, address)(ctx, flow)
		if err != nil {
			refused <- struct{}{}
		}
		return conn, err
	}
	received := make(chan error, 1)
	go func() {
		<-refused
		config := net.ListenConfig{Control: load.Control}
		listener, err := config.Listen(t.Context(), "tcp", address.String())
		if err != nil {
			received <- err
			return
		}
		defer listener.Close()
		_, err = Receive(t.Context(), listener.(*net.TCPListener), trial, load, nil)
		received <- err
	}()
	_, err := Send(t.Context(), dial, trial, load, nil)
	if err := errors.Join(err, <-received); err != nil {
		t.Error(err)
	}
}

func TestNobodyThere(t *testing.T) {
	probetest.CheckLeaks(t)
	trial := testTrial(t)
	trial.HelloWithin = 100 * ms
	listener := listen(t, short, "127.0.0.1")
	if _, err := Receive(t.Context(), listener, trial, short, nil); !errors.Is(err, probe.ErrNoHello) {
		t.Errorf("Receive: got error %v, want %v", err, probe.ErrNoHello)
	}
	if _, err := Send(t.Context(), dialer(short, listener.Addr()), trial, short, nil); !errors.Is(err, probe.ErrNoHello) {
		t.Errorf("Send to one who does not answer: got error %v, want %v", err, probe.ErrNoHello)
	}
	listener.Close()
	if _, err := Send(t.Context(), dialer(short, listener.Addr()), trial, short, nil); !errors.Is(err, probe.ErrNoHello) {
		t.Errorf("Send to nobody: got error %v, want %v", err, probe.ErrNoHello)
	}
}

// Nobody but a peer that has said hello is asked for more than one connection at a
// time, and whoever asks for the trial learns nothing of who else is there.
func TestOneConnectionBeforeHello(t *testing.T) {
	probetest.CheckLeaks(t)
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}
	const want = "no authenticated hello from the peer: connect to the peer: no connection within 200ms"
	for name, answer := range map[string]error{
		"refused":     refused,
		"unreachable": &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", unix.EHOSTUNREACH)},
		"silent":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			var others atomic.Int64
			dial := func(ctx context.Context, flow int) (*net.TCPConn, error) {
				if flow > 0 {
					others.Add(1)
				}
				if answer == nil {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return nil, answer
			}
			trial := testTrial(t)
			trial.HelloWithin = 200 * ms
			began := time.Now()
			_, err := Send(t.Context(), dial, trial, Load{Flows: MaxFlows, Duration: time.Second}, nil)
			if !errors.Is(err, probe.ErrNoHello) || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("got error %v, want %q", err, want)
			}
			if n := others.Load(); n > 0 || time.Since(began) < trial.HelloWithin {
				t.Errorf("%d connections of other flows, ended after %v, want none, and the same time whatever is there", n, time.Since(began))
			}
		})
	}
}

// Why this machine does not connect is told at once.
func TestCannotConnect(t *testing.T) {
	for _, why := range []error{
		&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", unix.EMFILE)},
		&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", unix.EADDRNOTAVAIL)},
	} {
		dial := func(context.Context, int) (*net.TCPConn, error) { return nil, why }
		if _, err := Send(t.Context(), dial, testTrial(t), short, nil); !errors.Is(err, why) || errors.Is(err, probe.ErrNoHello) {
			t.Errorf("got error %v, want %v", err, why)
		}
	}
}

func TestOtherCongestionControl(t *testing.T) {
	dialed, asked := short, short
	dialed.Congestion, asked.Congestion = "reno", "cubic"
	listener := listen(t, short, "127.0.0.1")
	_, err := Send(t.Context(), dialer(dialed, listener.Addr()), testTrial(t), asked, nil)
	assertError(t, err, `is "reno", not "cubic"`)
	dialed.Congestion = "nosuch"
	_, err = Send(t.Context(), dialer(dialed, listener.Addr()), testTrial(t), dialed, nil)
	assertError(t, err, "tcp_available_congestion_control")
}

// fakeReceiver accepts one flow, greets it, and lets play decide on the rest.
func fakeReceiver(t *testing.T, listener *net.TCPListener, trial Trial, play func(conn *net.TCPConn, nonce wire.Nonce)) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.AcceptTCP()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		hello, err := greetSender(conn, trial, 1)
		if err != nil {
			t.Error(err)
			return
		}
		play(conn, hello.Nonce)
	}()
	return done
}

func feedback(trial Trial, nonce wire.Nonce, sequence uint64) wire.Feedback {
	f := wire.Feedback{Header: trial.header(0), Echo: nonce}
	f.Sequence = sequence
	return f
}

// A receiver that has greeted, but gives no leave to send, is sent nothing.
func TestNoLoadBeforeFeedback(t *testing.T) {
	probetest.CheckLeaks(t)
	listener := listen(t, short, "127.0.0.1")
	trial := testTrial(t)
	trial.HelloWithin = 200 * ms
	var got int64
	done := fakeReceiver(t, listener, trial, func(conn *net.TCPConn, _ wire.Nonce) { got, _ = io.Copy(io.Discard, conn) })
	_, err := Send(t.Context(), dialer(short, listener.Addr()), trial, short, nil)
	<-done
	if !errors.Is(err, probe.ErrNoHello) || got != 0 {
		t.Errorf("got error %v and %d bytes, want %v and none", err, got, probe.ErrNoHello)
	}
}

// What is not the receiver's feedback ends the trial.
func TestForeignFeedback(t *testing.T) {
	trial, other := testTrial(t), testTrial(t)
	other.Number++
	for _, tt := range []struct {
		name string
		says func(nonce wire.Nonce) []byte
		want string
	}{
		{"another key", func(n wire.Nonce) []byte { return feedback(trial, n, 2).Append(nil, probetest.StrangersKey(t)) }, "authentication tag"},
		{"another trial", func(n wire.Nonce) []byte { return feedback(other, n, 2).Append(nil, trial.Key) }, "another's"},
		{"another nonce", func(wire.Nonce) []byte { return feedback(trial, wire.Nonce{}, 2).Append(nil, trial.Key) }, "another's"},
		{"an old one", func(n wire.Nonce) []byte { return feedback(trial, n, 1).Append(nil, trial.Key) }, "old one"},
		{"garbage", func(wire.Nonce) []byte { return make([]byte, 1000) }, "not a datagram of this format"},
		{"an end", func(wire.Nonce) []byte { return nil }, "EOF"},
		{"another count", func(n wire.Nonce) []byte {
			f := feedback(trial, n, 2)
			f.Final, f.Received = true, 1
			return f.Append(nil, trial.Key)
		}, "the receiver counted 1 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probetest.CheckLeaks(t)
			load := Load{Flows: 1, Duration: 10 * time.Second}
			listener := listen(t, load, "127.0.0.1")
			done := fakeReceiver(t, listener, trial, func(conn *net.TCPConn, nonce wire.Nonce) {
				conn.Write(feedback(trial, nonce, 1).Append(nil, trial.Key))
				conn.Write(tt.says(nonce))
				conn.CloseWrite()
				io.Copy(io.Discard, conn)
			})
			_, err := Send(t.Context(), dialer(load, listener.Addr()), trial, load, nil)
			<-done
			assertError(t, err, tt.want)
		})
	}
}

func assertError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

// A receiver that is alive no more stops the load within a second, also what is
// queued.
func TestMuteReceiver(t *testing.T) {
	probetest.CheckLeaks(t)
	load := Load{Flows: 1, Duration: 10 * time.Second}
	listener := listen(t, load, "127.0.0.1")
	trial := testTrial(t)
	stopped := make(chan struct{})
	var end error
	done := fakeReceiver(t, listener, trial, func(conn *net.TCPConn, nonce wire.Nonce) {
		conn.Write(feedback(trial, nonce, 1).Append(nil, trial.Key))
		<-stopped
		_, end = io.Copy(io.Discard, conn)
	})
	began := time.Now()
	sent, err := Send(t.Context(), dialer(load, listener.Addr()), trial, load, nil)
	took := time.Since(began)
	close(stopped)
	<-done
	if !errors.Is(err, probe.ErrPeerSilent) || took > 2*time.Second {
		t.Errorf("ended after %v with error %v, want %v after one second", took, err, probe.ErrPeerSilent)
	}
	if !isReset(end) || sent.Elapsed == 0 || len(sent.Samples) == 0 || sent.Flows[0].TransmittedBytes == 0 {
		t.Errorf("the flow's end was %v, sent was %+v, want a reset, and what was sent", end, sent)
	}
}

func TestCancel(t *testing.T) {
	load := Load{Flows: 3, Duration: 10 * time.Second}
	for _, tt := range []struct {
		name           string
		sender         bool // Is cancelled, or else the receiver.
		sent, received error
	}{
		{"sender", true, context.Canceled, nil}, // It knows why it ended.
		{"receiver", false, probe.ErrPeerSilent, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probetest.CheckLeaks(t)
			listener := listen(t, load, "127.0.0.1")
			trial := testTrial(t)
			cancelled, cancel := context.WithCancel(t.Context())
			defer cancel()
			sending, receiving := t.Context(), cancelled
			if tt.sender {
				sending, receiving = cancelled, t.Context()
			}
			done := make(chan struct{})
			var got Received
			var gotErr error
			go func() {
				defer close(done)
				got, gotErr = Receive(receiving, listener, trial, load, nil)
			}()
			sent, err := Send(sending, dialer(load, listener.Addr()), trial, load, func(Sample) { cancel() })
			<-done
			if !errors.Is(err, tt.sent) || !errors.Is(gotErr, tt.received) {
				t.Errorf("got errors %v and %v, want %v and %v", err, gotErr, tt.sent, tt.received)
			}
			if got.Drained {
				t.Error("the receiver takes a load that was broken off for a whole one")
			}
			if len(sent.Flows) != 3 || sent.Flows[0].GoodputBytes == 0 || len(got.Flows) != 3 || got.Flows[0].GoodputBytes == 0 {
				t.Errorf("sent %+v\nreceived %+v\nwant what was counted until then", sent, got)
			}
		})
	}
}

func TestCancelledBefore(t *testing.T) {
	probetest.CheckLeaks(t)
	listener := listen(t, short, "127.0.0.1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, receiveErr := Receive(ctx, listener, testTrial(t), short, nil)
	_, sendErr := Send(ctx, dialer(short, listener.Addr()), testTrial(t), short, nil)
	if !errors.Is(receiveErr, context.Canceled) || !errors.Is(sendErr, context.Canceled) {
		t.Errorf("got errors %v and %v, want %v", receiveErr, sendErr, context.Canceled)
	}
}

// A flow that waits for its next chunk, here for 12 s, ends when the load does.
func TestWaitingFlowEnds(t *testing.T) {
	probetest.CheckLeaks(t)
	load := Load{Flows: 1, Duration: time.Minute, GoodputBitsPerSecond: 1e3, MSS: 750}
	listener, trial := listen(t, load, "127.0.0.1"), testTrial(t)
	until := make(chan struct{})
	sending := trial
	sending.Until = until
	stop := sync.OnceFunc(func() { close(until) })
	o := trialOver(t, listener, trial, load, func() (Sent, error) {
		return Send(t.Context(), dialer(load, listener.Addr()), sending, load, func(s Sample) {
			if s.GoodputBytes > 0 {
				stop()
			}
		})
	})
	if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
		t.Fatal(err)
	}
	if !o.sent.Drained || !o.received.Drained {
		t.Errorf("sent %+v\nreceived %+v\nwant both drained", o.sent, o.received)
	}
}

// A load that is told to end does so long before its time, and all of it arrives.
func TestEndsEarly(t *testing.T) {
	probetest.CheckLeaks(t)
	for name, load := range map[string]Load{
		"as fast as it goes": {Flows: 2, Duration: time.Minute},
		"paced":              {Flows: 2, Duration: time.Minute, GoodputBitsPerSecond: 10e6},
	} {
		t.Run(name, func(t *testing.T) {
			listener, trial := listen(t, load, "127.0.0.1"), testTrial(t)
			until := make(chan struct{})
			sending := trial
			sending.Until = until
			o := trialOver(t, listener, trial, load, func() (Sent, error) {
				return Send(t.Context(), dialer(load, listener.Addr()), sending, load, func(s Sample) {
					if s.GoodputBytes > 0 && until != nil {
						close(until)
						until = nil
					}
				})
			})
			if err := errors.Join(o.sendErr, o.receivedErr); err != nil {
				t.Fatal(err)
			}
			if !o.sent.Drained || !o.received.Drained || o.sent.Elapsed > 30*time.Second || o.received.Flows[0].GoodputBytes == 0 {
				t.Errorf("sent %+v\nreceived %+v\nwant both drained, soon", o.sent, o.received)
			}
		})
	}
}
