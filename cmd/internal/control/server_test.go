package control

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
)

// echo is a service that says who called.
type echo struct {
	controlv1connect.UnimplementedAgentHandler
}

func (echo) Describe(ctx context.Context, _ *controlv1.DescribeRequest) (*controlv1.DescribeResponse, error) {
	pin, ok := CallerFrom(ctx)
	if !ok {
		return nil, errors.New("no caller")
	}
	return &controlv1.DescribeResponse{Name: pin.Name}, nil
}

func (echo) Sessions(context.Context, *controlv1.SessionsRequest) (*controlv1.SessionsResponse, error) {
	panic("a bug of the service")
}

// Receive streams until the caller is gone.
func (echo) Receive(ctx context.Context, _ *controlv1.ReceiveRequest, stream *connect.ServerStream[controlv1.ReceiveResponse]) error {
	ready := &controlv1.ReceiveResponse{Event: &controlv1.ReceiveResponse_Ready{Ready: &controlv1.Ready{}}}
	if err := stream.Send(ready); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestPairAndServe(t *testing.T) {
	for name, where := range map[string]string{
		"tcp": "127.0.0.1:0", "unix": "unix:" + filepath.Join(t.TempDir(), "control.sock"), "abstract": "unix:@tunnelmark-" + rand.Text(),
	} {
		t.Run(name, func(t *testing.T) {
			a, c := newAgent(t, where), newController(t)
			peer := Pin{Name: "b", Fingerprint: Fingerprint{9}, Address: "192.0.2.2:7000"}
			must(t, c.pair(t, a.mustIssue(t), peer))

			got, err := c.trust.Find(Agent, a.Identity.Fingerprint())
			must(t, err)
			if got.Name != "a" || got.Address != a.address {
				t.Errorf("the controller pinned %+v", got)
			}
			introduced, err := a.Trust.Find(Peer, peer.Fingerprint)
			must(t, err)
			introduced.Added = time.Time{}
			peer.Standing = Peer
			if diff := cmp.Diff(peer, introduced); diff != "" {
				t.Errorf("peer (-want +got):\n%s", diff)
			}
			described, err := c.mustDial(t, a).Describe(t.Context(), &controlv1.DescribeRequest{})
			if err != nil || described.GetName() != "laptop" {
				t.Errorf("got %v, %v", described, err)
			}
			a.wantServing(t)
		})
	}
}

// everyCall makes each request but Pair.
func everyCall(ctx context.Context, client controlv1connect.AgentClient) map[string]error {
	errs := map[string]error{}
	_, errs["Describe"] = client.Describe(ctx, &controlv1.DescribeRequest{})
	_, errs["Offer"] = client.Offer(ctx, &controlv1.OfferRequest{})
	_, errs["Open"] = client.Open(ctx, &controlv1.OpenRequest{})
	_, errs["Renew"] = client.Renew(ctx, &controlv1.RenewRequest{})
	_, errs["Close"] = client.Close(ctx, &controlv1.CloseRequest{})
	_, errs["Sessions"] = client.Sessions(ctx, &controlv1.SessionsRequest{})
	if send, err := client.Send(ctx, &controlv1.SendRequest{}); err != nil {
		errs["Send"] = err
	} else {
		send.Receive()
		errs["Send"] = send.Err()
	}
	if receive, err := client.Receive(ctx, &controlv1.ReceiveRequest{}); err != nil {
		errs["Receive"] = err
	} else {
		receive.Receive()
		errs["Receive"] = receive.Err()
	}
	return errs
}

// TestUnpairedGetsNothing: every request of a stranger, of a peer and of a
// controller that was removed has one answer.
func TestUnpairedGetsNothing(t *testing.T) {
	a := newAgent(t, "127.0.0.1:0")
	stranger, peer, removed := newController(t), newController(t), newController(t)
	must(t, a.Trust.Add(Pin{Standing: Peer, Name: "b", Fingerprint: peer.identity.Fingerprint()}))
	must(t, removed.pair(t, a.mustIssue(t)))
	client := removed.mustDial(t, a)
	_, err := client.Describe(t.Context(), &controlv1.DescribeRequest{})
	must(t, err)
	must(t, a.Trust.Remove(Controller, "laptop")) // Its connection is still up.

	for name, client := range map[string]controlv1connect.AgentClient{
		"stranger": stranger.mustDial(t, a), "peer": peer.mustDial(t, a), "removed": client,
	} {
		t.Run(name, func(t *testing.T) {
			for call, err := range everyCall(t.Context(), client) {
				if connect.CodeOf(err) != connect.CodeUnauthenticated || err.Error() != errUnauthenticated.Error() {
					t.Errorf("%s: got %v, want %v", call, err, errUnauthenticated)
				}
			}
		})
	}
	a.wantServing(t)
}

// TestUnpairedPaths asks for what is no request: the answer tells nothing about
// what there is.
func TestUnpairedPaths(t *testing.T) {
	a := newAgent(t, "127.0.0.1:0")
	transport := newTransport(newController(t).identity, a.Identity.Fingerprint(), "tcp", a.address)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var first string
	for _, path := range []string{"/", "/metrics", "/debug/pprof/", controlv1connect.AgentDescribeProcedure, controlv1connect.AgentPairProcedure + "/x"} {
		response, err := client.Get("https://agent" + path)
		must(t, err)
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		must(t, err)
		if first == "" {
			first = string(body)
		}
		if response.StatusCode != http.StatusUnauthorized || string(body) != first {
			t.Errorf("%s: %s %q", path, response.Status, body)
		}
	}
	a.wantServing(t)
}

// TestBadBodies come from a paired controller, and Pair's from anyone.
func TestBadBodies(t *testing.T) {
	a, c := newAgent(t, "127.0.0.1:0"), newController(t)
	must(t, c.pair(t, a.mustIssue(t)))
	cases := []struct {
		name, path, kind, body string
		wantStatus             int
	}{
		{"oversized", controlv1connect.AgentDescribeProcedure, "application/proto", strings.Repeat("x", maxRequestBytes+1), http.StatusTooManyRequests},
		{"garbage", controlv1connect.AgentOfferProcedure, "application/proto", "\xff\xff\xff", http.StatusBadRequest},
		{"no JSON", controlv1connect.AgentOfferProcedure, "application/json", "{", http.StatusBadRequest},
		{"unknown kind", controlv1connect.AgentOfferProcedure, "text/plain", "x", http.StatusUnsupportedMediaType},
		{"unknown path", "/x", "application/proto", "", http.StatusNotFound},
		{"oversized pairing", controlv1connect.AgentPairProcedure, "application/proto", strings.Repeat("x", maxRequestBytes+1), http.StatusTooManyRequests},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			identity := c.identity
			if tc.path == controlv1connect.AgentPairProcedure {
				identity = newController(t).identity
			}
			transport := newTransport(identity, a.Identity.Fingerprint(), "tcp", a.address)
			defer transport.CloseIdleConnections()
			response, err := (&http.Client{Transport: transport}).Post("https://agent"+tc.path, tc.kind, strings.NewReader(tc.body))
			must(t, err)
			defer response.Body.Close()
			if response.StatusCode != tc.wantStatus {
				t.Errorf("answered %s, want %d", response.Status, tc.wantStatus)
			}
		})
	}
	a.wantServing(t)
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	a, c := newAgent(t, "127.0.0.1:0"), newController(t)
	must(t, c.pair(t, a.mustIssue(t)))
	_, err := c.mustDial(t, a).Sessions(t.Context(), &controlv1.SessionsRequest{})
	if connect.CodeOf(err) != connect.CodeInternal || strings.Contains(err.Error(), "a bug") {
		t.Errorf("got %v, want an internal error without detail", err)
	}
	if !strings.Contains(a.log.String(), "a bug of the service") {
		t.Error("the panic was not logged")
	}
	a.wantServing(t)
}

// TestShutdownEndsStreams: a trial that streams does not hold the agent up.
func TestShutdownEndsStreams(t *testing.T) {
	a, c := newAgent(t, "127.0.0.1:0"), newController(t)
	must(t, c.pair(t, a.mustIssue(t)))
	stream, err := c.mustDial(t, a).Receive(t.Context(), &controlv1.ReceiveRequest{})
	must(t, err)
	if !stream.Receive() || stream.Msg().GetReady() == nil {
		t.Fatalf("no ready: %v", stream.Err())
	}
	must(t, a.stop())
	if stream.Receive() || stream.Err() == nil {
		t.Error("the stream went on")
	}
	_, err = c.mustDial(t, a).Describe(t.Context(), &controlv1.DescribeRequest{})
	if !IsGone(err) {
		t.Errorf("got %v, want that it is gone", err)
	}
	if text := Explain("a", err).Error(); !strings.Contains(text, "Is tunnelmark-agent running there") {
		t.Errorf("explained as %q", text)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	a, c := newAgent(t, "127.0.0.1:0"), newController(t)
	must(t, c.pair(t, a.mustIssue(t)))
	client := c.mustDial(t, a)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := client.Describe(t.Context(), &controlv1.DescribeRequest{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
