package control

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/control/controlv1/controlv1connect"
)

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
