package control

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func mustTokens(t testing.TB, dir string) *TokenStore {
	t.Helper()
	tokens, err := OpenTokens(dir, mustIdentity(t, dir))
	must(t, err)
	return tokens
}

func mustIssue(t testing.TB, tokens *TokenStore, ttl time.Duration) Token {
	t.Helper()
	token, err := tokens.Issue("192.0.2.1:7000", ttl)
	must(t, err)
	return token
}

func TestTokenIsRedeemedOnce(t *testing.T) {
	dir := stateDir(t)
	tokens := mustTokens(t, dir)
	first, second := mustIssue(t, tokens, time.Hour), mustIssue(t, tokens, time.Hour)
	must(t, tokens.Redeem(first.secret[:]))
	if err := tokens.Redeem(first.secret[:]); !errors.Is(err, ErrTokenRefused) {
		t.Errorf("redeemed twice: %v", err)
	}
	// A restart of the agent changes nothing.
	restarted := mustTokens(t, dir)
	if err := restarted.Redeem(first.secret[:]); !errors.Is(err, ErrTokenRefused) {
		t.Errorf("redeemed again after a restart: %v", err)
	}
	must(t, restarted.Redeem(second.secret[:]))
}

func TestTokenHasOneWinner(t *testing.T) {
	dir := stateDir(t)
	token := mustIssue(t, mustTokens(t, dir), time.Hour)
	var wins, refusals atomic.Int32
	var group sync.WaitGroup
	for range 16 {
		store := mustTokens(t, dir) // As in a process of its own.
		group.Go(func() {
			switch err := store.Redeem(token.secret[:]); {
			case err == nil:
				wins.Add(1)
			case errors.Is(err, ErrTokenRefused):
				refusals.Add(1)
			}
		})
	}
	group.Wait()
	if wins.Load() != 1 || refusals.Load() != 15 {
		t.Errorf("%d callers won and %d were refused, want 1 and 15", wins.Load(), refusals.Load())
	}
}

func TestTokenExpires(t *testing.T) {
	dir := stateDir(t)
	synctest.Test(t, func(t *testing.T) {
		tokens := mustTokens(t, dir)
		early, late := mustIssue(t, tokens, time.Minute), mustIssue(t, tokens, time.Minute)
		time.Sleep(time.Minute - time.Second)
		must(t, tokens.Redeem(early.secret[:]))
		time.Sleep(time.Second)
		if err := tokens.Redeem(late.secret[:]); !errors.Is(err, ErrTokenRefused) {
			t.Errorf("an expired token was redeemed: %v", err)
		}
	})
	left, err := os.ReadDir(filepath.Join(dir, tokenDir))
	if err != nil || len(left) > 0 {
		t.Errorf("expired tokens were not swept: %v %v", left, err)
	}
}

func TestRedeemRefuses(t *testing.T) {
	tokens := mustTokens(t, stateDir(t))
	token := mustIssue(t, tokens, time.Hour)
	other := mustIssue(t, mustTokens(t, stateDir(t)), time.Hour)
	for name, secret := range map[string][]byte{
		"nothing":         nil,
		"zeros":           make([]byte, secretSize),
		"half":            token.secret[:16],
		"more":            append(token.secret[:], 0),
		"the stored hash": hashSecret(token.secret[:]),
		"another agent's": other.secret[:],
	} {
		if err := tokens.Redeem(secret); !errors.Is(err, ErrTokenRefused) {
			t.Errorf("%s: got %v, want ErrTokenRefused", name, err)
		}
	}
	must(t, tokens.Redeem(token.secret[:]))
}

func TestForeignFilesRedeemNothing(t *testing.T) {
	dir := stateDir(t)
	tokens := mustTokens(t, dir)
	token := mustIssue(t, tokens, time.Hour)
	for name, content := range map[string]string{"a.json": "{", "b.json": "{}", "c.txt": "x", "d.json": string(make([]byte, 5000))} {
		must(t, os.WriteFile(filepath.Join(dir, tokenDir, name), []byte(content), 0o600))
	}
	if err := tokens.Redeem(nil); !errors.Is(err, ErrTokenRefused) {
		t.Errorf("got %v, want ErrTokenRefused", err)
	}
	must(t, tokens.Redeem(token.secret[:]))
}

func TestIssueIsBounded(t *testing.T) {
	tokens := mustTokens(t, stateDir(t))
	for _, ttl := range []time.Duration{0, -time.Hour, time.Millisecond, 365 * 24 * time.Hour} {
		if _, err := tokens.Issue("192.0.2.1:7000", ttl); err == nil {
			t.Errorf("a token for %v was issued", ttl)
		}
	}
	if _, err := tokens.Issue("nowhere", time.Hour); err == nil {
		t.Error("a token for no address was issued")
	}
	for range maxTokens {
		mustIssue(t, tokens, time.Hour)
	}
	if _, err := tokens.Issue("192.0.2.1:7000", time.Hour); err == nil {
		t.Errorf("more than %d tokens were issued", maxTokens)
	}
}

func TestSecretIsNotStored(t *testing.T) {
	dir := stateDir(t)
	token := mustIssue(t, mustTokens(t, dir), time.Hour)
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, token.secret[:]) || bytes.Contains(content, []byte(token.Text()[60:100])) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	}))
}
