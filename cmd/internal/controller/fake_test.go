package controller

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
)

// fakeAgent plays an agent behind the real contract. What both ends of a path
// share is in fakePath.
type fakeAgent struct {
	controlv1connect.UnimplementedAgentHandler
	name string
	path *fakePath

	mu      sync.Mutex // Guards what follows.
	calls   []string
	open    bool
	offers  int
	groups  []string                                                     // Of the sessions that were offered.
	busy    int                                                          // So many offers are refused at first.
	blind   bool                                                         // It measures no latency.
	pace    *controlv1.Pace                                              // What it says of its sending. Optional.
	renewed chan struct{}                                                // Gets a value for each renewal. Optional.
	silent  map[string]bool                                              // Calls that are never answered.
	refuse  map[string]error                                             // Calls that are refused.
	receive func(*connect.ServerStream[controlv1.ReceiveResponse]) error // Replaces Receive. Optional.
}

// fakePath is a policer: what it is offered above its rate it drops.
type fakePath struct {
	innerBitsPerSecond float64
	limits             *controlv1.Limits
	leaseNs            int64

	mu    sync.Mutex // Guards loads.
	loads []*controlv1.Load
}

func newFakePath() *fakePath {
	return &fakePath{
		innerBitsPerSecond: 100e6, leaseNs: int64(30 * time.Second),
		limits: &controlv1.Limits{MaxInnerBitsPerSecond: 1e9, MaxDurationNs: int64(time.Minute), MaxInnerSize: 65535},
	}
}

// newFakeEnds serves two agents of one path.
func newFakeEnds(t *testing.T) (from, to End, a, b *fakeAgent) {
	t.Helper()
	path := newFakePath()
	a, b = &fakeAgent{name: "a", path: path}, &fakeAgent{name: "b", path: path}
	return a.serve(t), b.serve(t), a, b
}

func (f *fakeAgent) serve(t *testing.T) End {
	t.Helper()
	f.silent, f.refuse = map[string]bool{}, map[string]error{}
	_, handler := controlv1connect.NewAgentHandler(f)
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	client := controlv1connect.NewAgentClient(server.Client(), server.URL)
	return End{Name: f.name, Fingerprint: [32]byte(bytes.Repeat([]byte(f.name), 32)), Agent: client}
}

// enter notes a call, and keeps or refuses it where it shall.
func (f *fakeAgent) enter(ctx context.Context, call string) error {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	silent, refused := f.silent[call], f.refuse[call]
	f.mu.Unlock()
	if silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return refused
}

func (f *fakeAgent) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

func (f *fakeAgent) Describe(ctx context.Context, _ *controlv1.DescribeRequest) (*controlv1.DescribeResponse, error) {
	return &controlv1.DescribeResponse{
		Name: f.name, Limits: f.path.limits, MaxSessionAgeNs: int64(time.Hour),
		Drivers: []*controlv1.Driver{{Name: "esp", Supported: true}, {Name: "clear", Supported: true}, {Name: "xfrm", Reason: "no CONFIG_INET_ESP"}},
	}, f.enter(ctx, "describe")
}

func (f *fakeAgent) Offer(ctx context.Context, m *controlv1.OfferRequest) (*controlv1.OfferResponse, error) {
	if err := f.enter(ctx, "offer"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups = append(f.groups, string(m.GetGroup()))
	if f.offers++; f.offers <= f.busy {
		return nil, connect.NewError(connect.CodeResourceExhausted, errors.New("somebody else has a session"))
	}
	return &controlv1.OfferResponse{Offer: &controlv1.SignedOffer{Contents: []byte(f.name)}, LeaseNs: f.path.leaseNs}, nil
}

func (f *fakeAgent) Await(ctx context.Context, _ *controlv1.AwaitRequest) (*controlv1.AwaitResponse, error) {
	return &controlv1.AwaitResponse{SetupNs: 1}, f.enter(ctx, "await")
}

func (f *fakeAgent) Rekey(ctx context.Context, _ *controlv1.RekeyRequest) (*controlv1.RekeyResponse, error) {
	return &controlv1.RekeyResponse{TookNs: 7}, f.enter(ctx, "rekey")
}

// Open wants the other agent's offer.
func (f *fakeAgent) Open(ctx context.Context, m *controlv1.OpenRequest) (*controlv1.OpenResponse, error) {
	if err := f.enter(ctx, "open"); err != nil {
		return nil, err
	}
	if string(m.GetPeerOffer().GetContents()) == f.name {
		return nil, connect.NewError(connect.CodePermissionDenied, errors.New("its own offer came back"))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = true
	return &controlv1.OpenResponse{InnerMtu: 1438, LocalProbe: "198.18.0.1:51980", RemoteProbe: "198.19.0.1:51980", LocalOuter: "192.0.2.1:4500"}, nil
}

func (f *fakeAgent) Renew(ctx context.Context, _ *controlv1.RenewRequest) (*controlv1.RenewResponse, error) {
	err := f.enter(ctx, "renew")
	if f.renewed != nil && err == nil {
		f.renewed <- struct{}{}
	}
	return &controlv1.RenewResponse{}, err
}

func (f *fakeAgent) Close(ctx context.Context, _ *controlv1.CloseRequest) (*controlv1.CloseResponse, error) {
	if err := f.enter(ctx, "close"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = false
	return &controlv1.CloseResponse{}, nil
}

func (f *fakeAgent) Send(ctx context.Context, m *controlv1.SendRequest, stream *connect.ServerStream[controlv1.SendResponse]) error {
	if err := f.enter(ctx, "send"); err != nil {
		return err
	}
	load := m.GetWork().GetUdp()
	f.path.mu.Lock()
	f.path.loads = append(f.path.loads, load)
	f.path.mu.Unlock()
	sent := packets(load, load.GetInnerBitsPerSecond())
	result := &controlv1.SendResult{Udp: &controlv1.Sent{Packets: sent, ElapsedNs: load.GetDurationNs(), Burst: 1, Pace: f.pace}}
	if m.GetWork().GetLatency() != nil && !f.blind {
		result.Latency = &controlv1.Latency{Sent: 10, Received: 10, Rtt: &controlv1.Quantiles{Count: 10, MinNs: 1e6, P50Ns: 2e6}}
	}
	return stream.Send(&controlv1.SendResponse{Event: &controlv1.SendResponse_Result{Result: result}})
}

func (f *fakeAgent) Receive(ctx context.Context, m *controlv1.ReceiveRequest, stream *connect.ServerStream[controlv1.ReceiveResponse]) error {
	if err := f.enter(ctx, "receive"); err != nil {
		return err
	}
	if f.receive != nil {
		return f.receive(stream)
	}
	if err := stream.Send(readyMessage()); err != nil {
		return err
	}
	return stream.Send(resultMessage(f.path.passed(m.GetWork().GetUdp())))
}

// passed is what a policer without a bucket lets through, in windows of 20 ms.
func (p *fakePath) passed(l *controlv1.Load) *controlv1.Received {
	const window = int64(20 * time.Millisecond)
	rate := min(l.GetInnerBitsPerSecond(), p.innerBitsPerSecond)
	r := &controlv1.Received{Packets: packets(l, rate)}
	each := packets(&controlv1.Load{DurationNs: window, Mix: l.GetMix()}, rate)
	for start := int64(0); start < l.GetDurationNs(); start += window {
		r.Windows = append(r.Windows, &controlv1.WindowCount{Packets: each, StartNs: start, EndNs: start + window})
	}
	return r
}

// packets is how many a load of one size has; none where there is no load.
func packets(l *controlv1.Load, rate float64) uint64 {
	if len(l.GetMix().GetInnerSizes()) == 0 {
		return 0
	}
	return uint64(rate * time.Duration(l.GetDurationNs()).Seconds() / 8 / float64(l.GetMix().GetInnerSizes()[0]))
}

func readyMessage() *controlv1.ReceiveResponse {
	return &controlv1.ReceiveResponse{Event: &controlv1.ReceiveResponse_Ready{Ready: &controlv1.Ready{}}}
}

func resultMessage(r *controlv1.Received) *controlv1.ReceiveResponse {
	return &controlv1.ReceiveResponse{Event: &controlv1.ReceiveResponse_Result{Result: &controlv1.ReceiveResult{Udp: r}}}
}
