package control

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stateDir is one that does not exist yet.
func stateDir(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "state")
}

func mustIdentity(t testing.TB, dir string) *Identity {
	t.Helper()
	identity, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

func TestIdentityIsKept(t *testing.T) {
	dir := stateDir(t)
	first, second := mustIdentity(t, dir), mustIdentity(t, dir)
	if diff := cmp.Diff(first.Fingerprint(), second.Fingerprint()); diff != "" {
		t.Errorf("fingerprint after a restart (-want +got):\n%s", diff)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, identityFile): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s is %04o, want %04o", path, got, want)
		}
	}
}

func TestIdentityOfTwoProcessesAtOnce(t *testing.T) {
	dir := stateDir(t)
	found := make([]Fingerprint, 8)
	var group sync.WaitGroup
	for i := range found {
		group.Go(func() {
			if identity, err := LoadOrCreate(dir); err == nil {
				found[i] = identity.Fingerprint()
			}
		})
	}
	group.Wait()
	for i, got := range found {
		if got.IsZero() || got != found[0] {
			t.Errorf("caller %d has %s, caller 0 has %s", i, got, found[0])
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

func TestIdentityRefused(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(t *testing.T, dir, file string)
		want  string
	}{
		{"file others may read", func(t *testing.T, _, file string) { must(t, os.Chmod(file, 0o640)) }, "mode 0640"},
		{"directory others may enter", func(t *testing.T, dir, _ string) { must(t, os.Chmod(dir, 0o755)) }, "mode 0755"},
		{"no PEM", func(t *testing.T, _, file string) { must(t, os.WriteFile(file, []byte("x"), 0o600)) }, "no PEM"},
		{"too long", func(t *testing.T, _, file string) { must(t, os.WriteFile(file, make([]byte, 5000), 0o600)) }, "longer than 4096"},
		{"no key inside", func(t *testing.T, _, file string) {
			must(t, os.WriteFile(file, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600))
		}, "no PKCS #8"},
		{"a directory", func(t *testing.T, _, file string) {
			must(t, os.Remove(file))
			must(t, os.Mkdir(file, 0o700))
		}, "not a regular file"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := stateDir(t)
			mustIdentity(t, dir)
			c.spoil(t, dir, filepath.Join(dir, identityFile))
			if _, err := LoadOrCreate(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSecretsAreHidden prints everything that holds a secret in every way.
func TestSecretsAreHidden(t *testing.T) {
	sides := newSides(t)
	_, keys, err := sides.a.consent.Accept(sides.b.consent.Signed(), sides.a.trust, sides.now)
	must(t, err)
	token, err := newToken("192.0.2.1:7000", sides.a.identity.Fingerprint(), sides.now)
	must(t, err)
	secrets := map[string]any{
		"identity": sides.a.identity, "consent": sides.b.consent, "session keys": keys,
		"tunnel keys": keys.Tunnel("esp", 0), "token": token,
	}
	for name, secret := range secrets {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", LogReason, secret)
			for _, got := range []string{fmt.Sprintf("%v", secret), fmt.Sprintf("%+v", secret), fmt.Sprintf("%#v", secret), fmt.Sprintf("%s", secret)} {
				if got != hidden {
					t.Errorf("prints %q", got)
				}
			}
			if !strings.Contains(log.String(), LogReason+"="+hidden) {
				t.Errorf("logs %q", log.String())
			}
			encoded, err := json.Marshal(secret)
			if err != nil || (string(encoded) != `"`+hidden+`"` && string(encoded) != "{}") {
				t.Errorf("encodes as %s, %v", encoded, err)
			}
		})
	}
}
