package control

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
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

// agent is one that serves, for a test.
type agent struct {
	address string
	dir     string
	*Server
	log  *lockedBuffer
	stop func() error
}

// lockedBuffer takes the log of several goroutines.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newAgent(t testing.TB, where string) *agent {
	t.Helper()
	dir, log := stateDir(t), new(lockedBuffer)
	identity := mustIdentity(t, dir)
	tokens, err := OpenTokens(dir, identity)
	must(t, err)
	listener, err := Listen(t.Context(), where)
	must(t, err)
	a := &agent{address: listener.Addr().String(), dir: dir, log: log, Server: &Server{
		Identity: identity, Trust: mustTrust(t, dir), Tokens: tokens, Service: echo{}, Name: "a", Version: "v1",
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}}
	if strings.HasPrefix(where, "unix:") {
		a.address = where
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx, listener) }()
	a.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { must(t, a.stop()) })
	return a
}

// controller is one with a state of its own.
type controller struct {
	identity *Identity
	trust    *Trust
}

func newController(t testing.TB) controller {
	t.Helper()
	dir := stateDir(t)
	return controller{mustIdentity(t, dir), mustTrust(t, dir)}
}

func (c controller) pair(t testing.TB, token Token, peers ...Pin) error {
	t.Helper()
	_, err := PairWith(t.Context(), token, c.identity, c.trust, "laptop", peers)
	return err
}

// mustDial is a client that is closed with the test.
func (c controller) mustDial(t testing.TB, a *agent) controlv1connect.AgentClient {
	t.Helper()
	client, disconnect, err := Dial(a.address, c.identity, a.Identity.Fingerprint())
	must(t, err)
	t.Cleanup(disconnect)
	return client
}

func (a *agent) mustIssue(t testing.TB) Token {
	t.Helper()
	token, err := a.Tokens.Issue(a.address, time.Hour)
	must(t, err)
	return token
}

// wantServing pairs a new controller and has it ask: the agent goes on serving.
func (a *agent) wantServing(t *testing.T) {
	t.Helper()
	c := newController(t)
	must(t, c.pair(t, a.mustIssue(t)))
	got, err := c.mustDial(t, a).Describe(t.Context(), &controlv1.DescribeRequest{})
	if err != nil || !strings.HasPrefix(got.GetName(), "laptop") {
		t.Errorf("the agent does not go on serving: %v, %v", got, err)
	}
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

// TestPairRefused: wrong, used, expired and foreign secrets have one answer, and
// pin nobody.
func TestPairRefused(t *testing.T) {
	a, other := newAgent(t, "127.0.0.1:0"), newAgent(t, "127.0.0.1:0")
	used := a.mustIssue(t)
	must(t, newController(t).pair(t, used))
	wrong := a.mustIssue(t)
	wrong.secret[0] ^= 1
	expired := a.mustIssue(t)
	expire(t, a.Tokens, expired)
	foreign := other.mustIssue(t) // Another agent's secret, brought to this one.
	foreign.Address, foreign.Fingerprint = a.address, a.Identity.Fingerprint()

	for name, token := range map[string]Token{"used": used, "wrong": wrong, "expired": expired, "foreign": foreign, "empty": {
		Address: a.address, Fingerprint: a.Identity.Fingerprint(),
	}} {
		t.Run(name, func(t *testing.T) {
			c := newController(t)
			err := c.pair(t, token)
			remote := new(connect.Error)
			if !errors.As(err, &remote) || remote.Code() != connect.CodeUnauthenticated || remote.Message() != errUnauthenticated.Message() {
				t.Errorf("got %v, want %v", err, errUnauthenticated)
			}
			if _, err := a.Trust.Find(Controller, c.identity.Fingerprint()); !errors.Is(err, ErrNotTrusted) {
				t.Errorf("pinned all the same: %v", err)
			}
			if pins, err := c.trust.List(); err != nil || len(pins) > 0 {
				t.Errorf("the controller pinned %v, %v", pins, err)
			}
		})
	}
	a.wantServing(t)
	if log := a.log.String(); strings.Contains(log, used.Text()) || strings.Contains(log, string(used.secret[:])) {
		t.Error("a secret was logged")
	}
}

// expire turns a stored token's clock back.
func expire(t *testing.T, tokens *TokenStore, token Token) {
	t.Helper()
	stored, err := tokens.sweep(time.Now())
	must(t, err)
	for _, s := range stored {
		if proves(token.secret[:], s.Hash) {
			token.Expires = time.Now().Add(-time.Second)
			must(t, tokens.write(token))
			must(t, removeFile(s.path))
		}
	}
}

func TestPairRefusesBadRequests(t *testing.T) {
	a := newAgent(t, "127.0.0.1:0")
	c := newController(t)
	own, self := a.Identity.Fingerprint(), c.identity.Fingerprint()
	client := c.mustDial(t, a)
	cases := []struct {
		name  string
		as    string
		peers []*controlv1.Peer
		want  string
	}{
		{"no name", "", nil, "name of 0 bytes"},
		{"terminal escape", "\x1b", nil, "control characters"},
		{"the agent itself as peer", "c", []*controlv1.Peer{{Name: "p", Fingerprint: own[:]}}, "own fingerprint"},
		{"the controller itself as peer", "c", []*controlv1.Peer{{Name: "p", Fingerprint: self[:]}}, "controller's own fingerprint"},
		{"short fingerprint", "c", []*controlv1.Peer{{Name: "p", Fingerprint: own[:5]}}, "fingerprint of 5 bytes"},
		{"no fingerprint", "c", []*controlv1.Peer{{Name: "p", Fingerprint: make([]byte, 32)}}, "no fingerprint"},
		{"too many peers", "c", make([]*controlv1.Peer, maxPeers+1), "at most 64"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			token := a.mustIssue(t)
			_, err := client.Pair(t.Context(), &controlv1.PairRequest{Secret: token.secret[:], ControllerName: tc.as, Peers: tc.peers})
			if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			must(t, a.Tokens.Redeem(token.secret[:])) // The mistake did not cost the token.
		})
	}
}

func TestPairAttemptsAreLimited(t *testing.T) {
	a := newAgent(t, "127.0.0.1:0")
	client := newController(t).mustDial(t, a)
	codes := map[connect.Code]int{}
	for range attemptBurst + 5 {
		_, err := client.Pair(t.Context(), &controlv1.PairRequest{ControllerName: "c"})
		codes[connect.CodeOf(err)]++
	}
	if codes[connect.CodeUnauthenticated] < attemptBurst || codes[connect.CodeResourceExhausted] == 0 {
		t.Errorf("answers: %v", codes)
	}
}

// TestWrongAgent: the client tells nothing to a server that holds another key.
func TestWrongAgent(t *testing.T) {
	a, imposter := newAgent(t, "127.0.0.1:0"), newAgent(t, "127.0.0.1:0")
	c := newController(t)
	token := a.mustIssue(t)
	token.Address = imposter.address
	err := c.pair(t, token)
	if !errors.Is(err, ErrWrongIdentity) || IsGone(err) {
		t.Errorf("got %v, want ErrWrongIdentity", err)
	}
	if text := Explain("a", err).Error(); !strings.Contains(text, "does not hold the key") {
		t.Errorf("explained as %q", text)
	}
	must(t, a.Tokens.Redeem(token.secret[:])) // The secret was not used up.
	a.wantServing(t)
	imposter.wantServing(t)
}

// TestWrongClients are clients that do not get as far as a request.
func TestWrongClients(t *testing.T) {
	a := newAgent(t, "127.0.0.1:0")
	good := newController(t).identity.certificate
	dial := func(config *tls.Config) func(*testing.T) error {
		return func(t *testing.T) error {
			config.InsecureSkipVerify = true
			conn, err := tls.Dial("tcp", a.address, config)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Read(make([]byte, 1)) // In TLS 1.3 a refused certificate shows here.
			return err
		}
	}
	stolen := tls.Certificate{Certificate: good.Certificate, PrivateKey: newController(t).identity.private}
	cases := []struct {
		name string
		dial func(*testing.T) error
		want string
	}{
		{"no certificate", dial(&tls.Config{}), "certificate required"},
		{"another kind of key", dial(&tls.Config{Certificates: []tls.Certificate{ecdsaCertificate(t)}}), "bad certificate"},
		{"a chain", dial(&tls.Config{Certificates: []tls.Certificate{{
			Certificate: [][]byte{good.Certificate[0], good.Certificate[0]}, PrivateKey: good.PrivateKey,
		}}}), "bad certificate"},
		{"a certificate without its key", dial(&tls.Config{Certificates: []tls.Certificate{stolen}}), "error decrypting"},
		{"TLS 1.2", dial(&tls.Config{MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{good}}), "protocol version"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.dial(t); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	a.wantServing(t)
}

func ecdsaCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestGarbage writes what is no TLS.
func TestGarbage(t *testing.T) {
	a := newAgent(t, "127.0.0.1:0")
	noise := make([]byte, 64<<10)
	_, err := rand.Read(noise)
	must(t, err)
	for name, bytes := range map[string][]byte{
		"plain HTTP":                   []byte("POST " + controlv1connect.AgentPairProcedure + " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
		"noise":                        noise,
		"a TLS record that never ends": {22, 3, 1, 0x40, 0},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", a.address)
			must(t, err)
			defer conn.Close()
			_, err = conn.Write(bytes)
			if name == "a TLS record that never ends" {
				must(t, err)
				return
			}
			answer, _ := io.ReadAll(conn) // The end of it: the agent closed.
			if strings.Contains(string(answer), "200 OK") {
				t.Errorf("answered %q", answer)
			}
		})
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
