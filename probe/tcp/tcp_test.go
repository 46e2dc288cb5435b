package tcp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"tunnelmark/probe"
	"tunnelmark/probe/probetest"
	"tunnelmark/probe/wire"
)

const ms = time.Millisecond

func testTrial(t testing.TB) Trial {
	return Trial{Key: probetest.Key(t), Number: probetest.Trial}
}

// listen listens for the load at an address without port.
func listen(t testing.TB, load Load, ip string) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: load.Control}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(t.Context(), "tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.(*net.TCPListener)
}

// dialer dials for the load, from ports of the kernel's choice.
func dialer(load Load, to net.Addr) Dial { return dialerFrom(load, 0, to) }

// dialerFrom dials from a port and those after it; zero leaves them to the kernel.
func dialerFrom(load Load, from int, to net.Addr) Dial {
	return func(ctx context.Context, flow int) (*net.TCPConn, error) {
		d := net.Dialer{Control: load.Control}
		if from > 0 {
			d.LocalAddr = &net.TCPAddr{IP: to.(*net.TCPAddr).IP, Port: from + flow}
		}
		d.SetMultipathTCP(false)
		conn, err := d.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return nil, err
		}
		return conn.(*net.TCPConn), nil
	}
}

// outcome is what both ends return.
type outcome struct {
	sent                 Sent
	received             Received
	sendErr, receivedErr error
}

// trialOver runs Receive at the listener beside f, which sends to it.
func trialOver(t testing.TB, listener *net.TCPListener, trial Trial, load Load, send func() (Sent, error)) (o outcome) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.received, o.receivedErr = Receive(t.Context(), listener, trial, load, nil)
	}()
	o.sent, o.sendErr = send()
	<-done
	return o
}

// runTrial runs a whole trial over loopback.
func runTrial(t testing.TB, load Load, ip string) outcome {
	t.Helper()
	listener := listen(t, load, ip)
	trial := testTrial(t)
	return trialOver(t, listener, trial, load, func() (Sent, error) {
		return Send(t.Context(), dialer(load, listener.Addr()), trial, load, nil)
	})
}

var short = Load{Flows: 1, Duration: 150 * ms}

func TestLoadRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Load)
		want   string
	}{
		{"no flows", func(l *Load) { l.Flows = 0 }, "0 flows, allowed are 1 to 128"},
		{"too many flows", func(l *Load) { l.Flows = 129 }, "129 flows"},
		{"no duration", func(l *Load) { l.Duration = 0 }, "duration is 0s"},
		{"too long", func(l *Load) { l.Duration = probe.MaxDuration + 1 }, "allowed are up to 10m0s"},
		{"negative rate", func(l *Load) { l.GoodputBitsPerSecond = -1 }, "goodput of -1"},
		{"no number", func(l *Load) { l.GoodputBitsPerSecond = math.NaN() }, "goodput of NaN"},
		{"infinite rate", func(l *Load) { l.GoodputBitsPerSecond = math.Inf(1) }, "goodput of +Inf"},
		{"less than a byte", func(l *Load) { l.GoodputBitsPerSecond = 1 }, "not one byte"},
		{"small MSS", func(l *Load) { l.MSS = 87 }, "MSS of 87"},
		{"large MSS", func(l *Load) { l.MSS = 32768 }, "MSS of 32768"},
		{"negative window", func(l *Load) { l.Window = -1 }, "window of -1"},
		{"large window", func(l *Load) { l.Window = MaxWindow + 1 }, "window of 134217729"},
		{"negative writes", func(l *Load) { l.Write = -1 }, "writes of -1"},
		{"large writes", func(l *Load) { l.Write = MaxWrite + 1 }, "writes of 16777217"},
		{"DSCP", func(l *Load) { l.DSCP = 64 }, "DSCP 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			load := short
			tt.change(&load)
			for end, err := range map[string]error{
				"Send":    second(Send(t.Context(), nil, testTrial(t), load, nil)),
				"Receive": second(Receive(t.Context(), nil, testTrial(t), load, nil)),
				"Control": load.Control("", "", nil),
			} {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: got error %v, want one with %q", end, err, tt.want)
				}
			}
		})
	}
}

func TestTrialRefused(t *testing.T) {
	keyless, backward, often, seldom := testTrial(t), testTrial(t), testTrial(t), testTrial(t)
	keyless.Key = wire.Key{}
	backward.HelloWithin = -1
	often.ProgressEvery = 9 * ms
	seldom.ProgressEvery = time.Second + 1
	for trial, want := range map[*Trial]string{&keyless: "no key", &backward: "to wait for the peer", &often: "every 9ms", &seldom: "every 1.000000001s"} {
		for end, err := range map[string]error{
			"Send":    second(Send(t.Context(), nil, *trial, short, nil)),
			"Receive": second(Receive(t.Context(), nil, *trial, short, nil)),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got error %v, want one with %q", end, err, want)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestChunk(t *testing.T) {
	for _, tt := range []struct {
		rate  float64
		write int
		mss   int
		want  int
	}{
		{0, 0, 1448, 1 << 20},
		{0, 1000, 1448, 1000},
		{1e6, 0, 1448, 2 * 1448},
		{350e6, 0, 1448, 60 * 1448}, // 87.5 kB are 2 ms.
		{40e9, 0, 1448, 1 << 20},
		{1e6, 1000, 1448, 1000},
	} {
		load := Load{GoodputBitsPerSecond: tt.rate, Write: tt.write}
		if got := load.chunk(tt.mss); got != tt.want {
			t.Errorf("%g bit/s in writes of %d bytes: got chunks of %d, want %d", tt.rate, tt.write, got, tt.want)
		}
	}
}

func TestSilence(t *testing.T) {
	for _, tt := range []struct {
		name     string
		feedback time.Duration
		progress time.Duration
		now      time.Duration
		want     string
	}{
		{"both", 10 * time.Second, 10 * time.Second, 10 * time.Second, ""},
		{"feedback alone", 10 * time.Second, time.Second, 10 * time.Second, ""},
		{"neither for 0.9 s", 10 * time.Second, 10 * time.Second, 10*time.Second + 900*ms, ""},
		// The next look would be too late.
		{"neither for more", 10 * time.Second, 10 * time.Second, 10*time.Second + 901*ms, "neither feedback nor acknowledgements for 1s"},
		{"acknowledgements alone", 10 * time.Second, 12 * time.Second, 12 * time.Second, ""},
		{"acknowledgements alone for too long", 10 * time.Second, 12900 * ms, 12901 * ms, "no feedback for 3s"},
	} {
		s := signs{feedback: tt.feedback}
		s.see(1, tt.progress)
		s.see(1, tt.now) // No more than before.
		err := s.silence(tt.now)
		if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, probe.ErrPeerSilent) || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: got error %v, want %q", tt.name, err, tt.want)
		}
	}
}
