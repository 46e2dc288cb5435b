package controller

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/unit"
	"tunnelmark/probe"
)

func openSession(t *testing.T, from, to End) *Session {
	t.Helper()
	s, err := Open(t.Context(), from, to, DefaultSpec(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenAndClose(t *testing.T) {
	from, to, a, b := newFakeEnds(t)
	s := openSession(t, from, to)
	if !a.isOpen() || !b.isOpen() {
		t.Error("not both halves were opened")
	}
	if s.InnerMTU != 1438 || s.family() != "ipv4" || s.headers != 28 {
		t.Errorf("learnt MTU %d, family %s, headers of %d bytes", s.InnerMTU, s.family(), s.headers)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel() // As after Ctrl-C.
	if err := s.Close(gone); err != nil || a.isOpen() || b.isOpen() {
		t.Errorf("Close: %v, open: %v, %v", err, a.isOpen(), b.isOpen())
	}
}

// Whatever stops the opening, both ends are closed.
func TestOpenClosesWhatItCannotFinish(t *testing.T) {
	refusal := connect.NewError(connect.CodePermissionDenied, errors.New("not with you"))
	for name, stop := range map[string]func(a, b *fakeAgent){
		"first offer":  func(a, _ *fakeAgent) { a.refuse["offer"] = refusal },
		"second offer": func(_, b *fakeAgent) { b.refuse["offer"] = refusal },
		"first half":   func(_, b *fakeAgent) { b.refuse["open"] = refusal },
		"second half":  func(a, _ *fakeAgent) { a.refuse["open"] = refusal },
		"first await":  func(a, _ *fakeAgent) { a.refuse["await"] = refusal },
		"second await": func(_, b *fakeAgent) { b.refuse["await"] = refusal },
	} {
		t.Run(name, func(t *testing.T) {
			from, to, a, b := newFakeEnds(t)
			stop(a, b)
			_, err := Open(t.Context(), from, to, DefaultSpec(), func(string) {})
			if err == nil || !strings.Contains(err.Error(), "not with you") {
				t.Errorf("Open: %v, want the refusal", err)
			}
			for _, agent := range []*fakeAgent{a, b} {
				if agent.isOpen() || agent.calls[len(agent.calls)-1] != "close" {
					t.Errorf("agent %s was left with %v", agent.name, agent.calls)
				}
			}
		})
	}
}

// A held tunnel that its agent has ended is told of, not waited for.
func TestHoldEndsWithTheSession(t *testing.T) {
	from, to, a, _ := newFakeEnds(t)
	plan := Plan{From: from, To: to, Spec: DefaultSpec(), Tell: func(string) {}}
	err := Hold(t.Context(), plan, 0, func(s *Session) error {
		s.end(connect.NewError(connect.CodeNotFound, errors.New("it reached its greatest age")))
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "the tunnel is gone") || a.isOpen() {
		t.Errorf("got %v, open: %v", err, a.isOpen())
	}
	if err := Hold(t.Context(), plan, time.Nanosecond, func(*Session) error { return nil }); err != nil || a.isOpen() {
		t.Errorf("after its time: got %v, open: %v", err, a.isOpen())
	}
}

// What could not be held is refused before a session is opened.
func TestHoldRefusesBeforehand(t *testing.T) {
	for name, c := range map[string]struct {
		driver string
		until  time.Duration
		want   string
	}{
		"too long":  {"esp", 2 * time.Hour, "hold for 2h0m0s: a allows a session no more than 1h0m0s"},
		"no driver": {"xfrm", 0, "driver xfrm does not work there: no CONFIG_INET_ESP"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to, a, _ := newFakeEnds(t)
			plan := Plan{From: from, To: to, Spec: Spec{Driver: c.driver}, Tell: func(string) {}}
			err := Hold(t.Context(), plan, c.until, func(*Session) error { return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) || a.offers != 0 {
				t.Errorf("got %v after %d offers, want %q before any", err, a.offers, c.want)
			}
		})
	}
}

func TestOpenWaitsForABusyAgent(t *testing.T) {
	t.Parallel() // It waits for real time.
	from, to, _, b := newFakeEnds(t)
	b.busy = 1
	var told []string
	s, err := Open(t.Context(), from, to, DefaultSpec(), func(line string) { told = append(told, line) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	if len(told) != 1 || told[0] != "b is busy, waiting: somebody else has a session" {
		t.Errorf("told %q", told)
	}
	b.busy = 1 << 30
	ended, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Open(ended, from, to, DefaultSpec(), func(string) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open does not stop waiting: %v", err)
	}
}

// An end that is silent costs the other neither its renewals nor its close.
func TestSilentEnd(t *testing.T) {
	t.Parallel() // It waits for real time.
	from, to, a, b := newFakeEnds(t)
	a.path.leaseNs = 0 // An agent may say anything.
	b.renewed = make(chan struct{}, 100)
	s := openSession(t, from, to)
	a.mu.Lock()
	a.silent["renew"], a.silent["close"] = true, true
	a.mu.Unlock()
	<-b.renewed
	<-b.renewed
	if err := s.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "its lease ends it") {
		t.Errorf("Close: %v, want it to say what becomes of the silent end", err)
	}
	if b.isOpen() {
		t.Error("the other end is still open")
	}
}

func TestTrial(t *testing.T) {
	from, to, a, _ := newFakeEnds(t)
	s := openSession(t, from, to)
	defer s.Close(t.Context())
	trial, err := s.Trial(t.Context(), analysis.Load{InnerBitsPerSecond: 200e6, Duration: time.Second}, 1400)
	if err != nil {
		t.Fatal(err)
	}
	if got := trial.LossRatio(); got < 0.499 || got > 0.501 {
		t.Errorf("loss ratio %v, want half", got)
	}
	if trial.InnerSize != 1400 || trial.OuterSize != 1464 || trial.Load.Burst != 1 {
		t.Errorf("trial of %d B inner, %d B outer, burst %d", trial.InnerSize, trial.OuterSize, trial.Load.Burst)
	}
	if got := a.path.loads[0].GetMix().GetInnerSizes(); len(got) != 1 || got[0] != 1400 {
		t.Errorf("asked for packets of %d B", got)
	}
}

// Whatever an agent does, a trial ends with an error that names it.
func TestTrialFails(t *testing.T) {
	refusal := connect.NewError(connect.CodeInvalidArgument, errors.New("too much"))
	nonsense := resultMessage(nil)
	nonsense.GetResult().Host = &controlv1.Host{Cores: []*controlv1.Core{{Idle: math.Inf(1)}}}
	for name, c := range map[string]struct {
		stop func(a, b *fakeAgent)
		want string
	}{
		"sender refuses":           {func(a, _ *fakeAgent) { a.refuse["send"] = refusal }, "agent a: too much"},
		"receiver refuses":         {func(_, b *fakeAgent) { b.refuse["receive"] = refusal }, "agent b: too much"},
		"sender is silent":         {func(a, b *fakeAgent) { a.silent["send"] = true; b.receive = endAfter(readyMessage()) }, "agent b: it ended the trial without a result"},
		"receiver ends":            {func(_, b *fakeAgent) { b.receive = endAfter() }, "agent b: it ended the trial without a result"},
		"result comes first":       {func(_, b *fakeAgent) { b.receive = endAfter(resultMessage(nil)) }, "agent b: it counted before it was ready"},
		"sender counts nonsense":   {func(a, _ *fakeAgent) { a.pace = &controlv1.Pace{Within: math.NaN()} }, "agent a: it counted a ratio of NaN"},
		"receiver counts nonsense": {func(_, b *fakeAgent) { b.receive = endAfter(readyMessage(), nonsense) }, "agent b: it counted a ratio of +Inf"},
		"ready comes twice":        {func(_, b *fakeAgent) { b.receive = endAfter(readyMessage(), readyMessage()) }, "agent b: it ended the trial without a result"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to, a, b := newFakeEnds(t)
			s := openSession(t, from, to)
			defer s.Close(t.Context())
			c.stop(a, b)
			_, err := s.Trial(t.Context(), analysis.Load{InnerBitsPerSecond: 1e6, Duration: time.Second}, 1400)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Trial: %v, want %q", err, c.want)
			}
		})
	}
}

// A probe that was asked for and not made is the agent's failure, not a panic.
func TestTrialWithoutItsLatency(t *testing.T) {
	from, to, a, _ := newFakeEnds(t)
	s := openSession(t, from, to)
	defer s.Close(t.Context())
	a.blind = true
	load := analysis.Load{InnerBitsPerSecond: 1e6, Duration: time.Second}
	if _, err := s.guarded(t.Context(), load, 1400, Watch{Every: time.Millisecond}); err == nil || !strings.Contains(err.Error(), "a: it measured no latency") {
		t.Errorf("error %v", err)
	}
}

// What bounds inner packets bounds TCP's payload by less.
func TestTCPGoodput(t *testing.T) {
	for name, c := range map[string]struct {
		mtu, headers, mss int
		want              float64 // Of 1 Mbit/s.
	}{
		"IPv4":              {1500, 28, 0, 1e6 * 1448 / 1500},
		"IPv6":              {1400, 48, 0, 1e6 * 1328 / 1400},
		"MSS":               {1500, 28, 88, 1e6 * 76 / 128},
		"MSS beyond":        {1500, 28, 9000, 1e6 * 1448 / 1500},
		"no room for any":   {50, 28, 0, 0},
		"no MTU was learnt": {0, 28, 0, 0},
	} {
		got, err := (&Session{InnerMTU: c.mtu, headers: c.headers}).tcpGoodput(1e6, c.mss)
		if math.Abs(got-c.want) > 1e-6 || (err == nil) != (c.want > 0) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
}

func endAfter(messages ...*controlv1.ReceiveResponse) func(*connect.ServerStream[controlv1.ReceiveResponse]) error {
	return func(stream *connect.ServerStream[controlv1.ReceiveResponse]) error {
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestTrialIsInterrupted(t *testing.T) {
	from, to, a, _ := newFakeEnds(t)
	s := openSession(t, from, to)
	defer s.Close(t.Context())
	a.silent["send"] = true
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Trial(ctx, analysis.Load{InnerBitsPerSecond: 1e6, Duration: time.Second}, 1400); err == nil {
		t.Error("the trial goes on after its context")
	}
	if _, err := s.Trial(ctx, analysis.Load{Idle: time.Hour}, 1400); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the idle time before a load is not interrupted: %v", err)
	}
}

// A layer's rate counts that layer's bytes, whatever the versions of IP.
func TestInnerRate(t *testing.T) {
	for name, c := range map[string]struct {
		probe, outer string
		layer        unit.Layer
		want         int // Bytes of a packet of 1400 B in the layer.
	}{
		"goodput":               {"198.18.0.1:1", "192.0.2.1:1", unit.Goodput, 1400 - 28},
		"goodput in IPv6":       {"[2001:2::1]:1", "192.0.2.1:1", unit.Goodput, 1400 - 48},
		"inner":                 {"198.18.0.1:1", "192.0.2.1:1", unit.Inner, 1400},
		"outer":                 {"198.18.0.1:1", "192.0.2.1:1", unit.Outer, 1464},
		"outer over IPv6":       {"198.18.0.1:1", "[2001:db8::1]:1", unit.Outer, 1484},
		"wire, over Ethernet":   {"198.18.0.1:1", "192.0.2.1:1", unit.Wire, 1464 + 38},
		"outer, mapped address": {"198.18.0.1:1", "[::ffff:192.0.2.1]:1", unit.Outer, 1464},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Session{Spec: DefaultSpec()}
			path := &controlv1.OpenResponse{LocalProbe: c.probe, RemoteProbe: c.probe, LocalOuter: c.outer}
			if err := s.learn(path, path); err != nil {
				t.Fatal(err)
			}
			got := float64(c.want) * 1000 * 1400 / s.meanIn(c.layer, probe.Fixed(1400))
			if got != 1400*1000 {
				t.Errorf("%d kbit/s of %s are %v bit/s inner, want 1400 kbit/s", c.want, c.layer, got)
			}
		})
	}
	bad := &controlv1.OpenResponse{LocalProbe: "x", LocalOuter: "192.0.2.1:1"}
	if err := (&Session{Spec: DefaultSpec()}).learn(bad, bad); err == nil {
		t.Error("an address that is none is taken")
	}
}

// What each tunnel carried adds up over the trials.
func TestCountOfSeveralTunnels(t *testing.T) {
	s := &Session{}
	sent := &controlv1.SendResult{Tunnels: []*controlv1.TunnelCounters{{OutPackets: 1, OutInnerBytes: 2}, {OutPackets: 3, OutInnerBytes: 4}}}
	received := &controlv1.ReceiveResult{Tunnels: []*controlv1.TunnelCounters{{InPackets: 5, InInnerBytes: 6}, {InPackets: 7, InInnerBytes: 8}}}
	s.count(done{sent: sent, received: received})
	s.count(done{sent: sent, received: received})
	want := []report.TunnelCount{
		{Number: 0, SentPackets: 2, SentInnerBytes: 4, ReceivedPackets: 10, ReceivedInnerBytes: 12},
		{Number: 1, SentPackets: 6, SentInnerBytes: 8, ReceivedPackets: 14, ReceivedInnerBytes: 16},
	}
	if diff := cmp.Diff(want, s.carried); diff != "" {
		t.Errorf("carried (-want +got):\n%s", diff)
	}
}

// An unknown link is no link of rate zero.
func TestMost(t *testing.T) {
	s := &Session{Spec: DefaultSpec(), OuterMTU: 1500}
	path := &controlv1.OpenResponse{
		LocalProbe: "198.18.0.1:1", RemoteProbe: "198.19.0.1:1", LocalOuter: "192.0.2.1:1", InnerMtu: 1438, OuterMtu: 1500,
	}
	if err := s.learn(path, path); err != nil {
		t.Fatal(err)
	}
	if most := s.most(); most.LinkBitsPerSecond != assumedLink || !most.LinkAssumed || most.InnerSize != 1438 {
		t.Errorf("of an unknown link: %+v", most)
	}
	slow := &controlv1.OpenResponse{LocalProbe: path.LocalProbe, RemoteProbe: path.RemoteProbe, LocalOuter: path.LocalOuter, InnerMtu: 1438, OuterMtu: 1500, LinkBitsPerSecond: 1e8}
	if err := s.learn(path, slow); err != nil {
		t.Fatal(err)
	}
	if most := s.most(); most.LinkBitsPerSecond != 1e8 || most.LinkAssumed {
		t.Errorf("of one known link: %+v", most)
	}
}
