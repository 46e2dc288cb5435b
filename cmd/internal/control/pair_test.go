package control

import (
	"errors"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tunnelmark/cmd/internal/control/controlv1"
)

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
