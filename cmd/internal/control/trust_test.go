package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustTrust(t testing.TB, dir string, pins ...Pin) *Trust {
	t.Helper()
	trust, err := OpenTrust(dir)
	must(t, err)
	must(t, trust.Add(pins...))
	return trust
}

func pin(standing Standing, name string, first byte) Pin {
	return Pin{Standing: standing, Name: name, Fingerprint: Fingerprint{first, 1}, Added: tokenExpiry}
}

func TestTrustIsKept(t *testing.T) {
	dir := stateDir(t)
	want := []Pin{pin(Controller, "laptop", 1), pin(Peer, "b", 2)}
	want[1].Address = "192.0.2.2:7000"
	mustTrust(t, dir, want...)
	got, err := mustTrust(t, dir).List()
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pins after a restart (-want +got):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, trustFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("trust file: %v %v", info.Mode(), err)
	}
}

func TestTrustFind(t *testing.T) {
	trust := mustTrust(t, stateDir(t), pin(Controller, "laptop", 1), pin(Peer, "b", 2))
	cases := []struct {
		name     string
		standing Standing
		first    byte
		found    bool
	}{
		{"controller", Controller, 1, true},
		{"peer", Peer, 2, true},
		{"a controller is no peer", Peer, 1, false},
		{"a peer is no controller", Controller, 2, false},
		{"stranger", Peer, 3, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := trust.Find(c.standing, Fingerprint{c.first, 1})
			if c.found != (err == nil) || !c.found && !errors.Is(err, ErrNotTrusted) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTrustSeesAnotherProcess(t *testing.T) {
	dir := stateDir(t)
	agent, tool := mustTrust(t, dir), mustTrust(t, dir)
	for i := range 20 { // In one tick of the clock, files of one length.
		p := pin(Controller, "laptop", byte(i+1))
		must(t, tool.Add(p))
		if _, err := agent.Find(Controller, p.Fingerprint); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		must(t, tool.Remove(Controller, "laptop"))
		if _, err := agent.Find(Controller, p.Fingerprint); !errors.Is(err, ErrNotTrusted) {
			t.Fatalf("round %d: a removed pin is still trusted: %v", i, err)
		}
	}
}

func TestTrustLosesNoConcurrentAdd(t *testing.T) {
	dir := stateDir(t)
	var group sync.WaitGroup
	for i := range 16 {
		trust := mustTrust(t, dir)
		group.Go(func() { must(t, trust.Add(pin(Peer, fmt.Sprint("p", i), byte(i+1)))) })
	}
	group.Wait()
	got, err := mustTrust(t, dir).List()
	if err != nil || len(got) != 16 {
		t.Errorf("%d pins, %v, want 16", len(got), err)
	}
}

func TestTrustNames(t *testing.T) {
	trust := mustTrust(t, stateDir(t), pin(Agent, "a", 1))
	if err := trust.Add(pin(Agent, "a", 2)); err == nil || !strings.Contains(err.Error(), "belongs to another") {
		t.Errorf("a name changed hands: %v", err)
	}
	must(t, trust.Introduce(pin(Agent, "a", 2)))
	got, err := trust.Find(Agent, Fingerprint{2, 1})
	must(t, err)
	if want := "a-" + (Fingerprint{2, 1}).Short(); got.Name != want {
		t.Errorf("introduced as %q, want %q", got.Name, want)
	}
	moved := pin(Agent, "a", 1)
	moved.Address = "192.0.2.9:7000"
	must(t, trust.Add(moved))
	got, err = trust.Named(Agent, "a")
	must(t, err)
	if got.Address != moved.Address {
		t.Errorf("address is %q, want %q", got.Address, moved.Address)
	}
	if err := trust.Remove(Agent, "nobody"); !errors.Is(err, ErrNotTrusted) {
		t.Errorf("removed nobody: %v", err)
	}
}

func TestTrustIntroducesLongNames(t *testing.T) {
	long := strings.Repeat("é", maxNameLength/2)
	trust := mustTrust(t, stateDir(t), pin(Controller, long, 1))
	must(t, trust.Introduce(pin(Controller, long, 2)))
	got, err := trust.Find(Controller, Fingerprint{2, 1})
	if err != nil || len(got.Name) > maxNameLength {
		t.Errorf("introduced as %q, %v", got.Name, err)
	}
}

func TestTrustAddRefuses(t *testing.T) {
	trust := mustTrust(t, stateDir(t))
	good := pin(Peer, "good", 1)
	cases := []struct {
		name string
		pin  Pin
		want string
	}{
		{"no name", pin(Peer, "", 1), "name of 0 bytes"},
		{"long name", pin(Peer, strings.Repeat("a", 65), 1), "name of 65 bytes"},
		{"terminal escape", pin(Peer, "a\x1b[2J", 1), "control characters"},
		{"space", pin(Peer, "a b", 1), "spaces"},
		{"no UTF-8", pin(Peer, "\xff", 1), "UTF-8"},
		{"no fingerprint", Pin{Standing: Peer, Name: "a"}, "no fingerprint"},
		{"no standing", Pin{Name: "a", Fingerprint: Fingerprint{1}}, "allowed are controller, peer and agent"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := trust.Add(good, c.pin); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if got, err := trust.List(); err != nil || len(got) > 0 {
		t.Errorf("a refused call left %v, %v", got, err)
	}
}

func TestTrustFileRefused(t *testing.T) {
	entry := `{"standing":"peer","name":"a","fingerprint":"` + (Fingerprint{1}).String() + `","added":"2026-11-23T00:00:00Z"}`
	cases := []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"good", `{"version":1,"pins":[` + entry + `]}`, 0o600, ""},
		{"others may write", `{"version":1,"pins":[]}`, 0o622, "mode 0622"},
		{"no JSON", `x`, 0o600, "invalid character"},
		{"empty", ``, 0o600, "EOF"},
		{"unknown key", `{"version":1,"pin":[]}`, 0o600, "unknown field"},
		{"another version", `{"version":2,"pins":[]}`, 0o600, "version 2"},
		{"something behind", `{"version":1,"pins":[]} {}`, 0o600, "follows"},
		{"wrong fingerprint", strings.Replace(`{"version":1,"pins":[`+entry+`]}`, `"fingerprint":"a`, `"fingerprint":"b`, 1), 0o600, "check sum"},
		{"too long", strings.Repeat(" ", maxTrustFile+1), 0o600, "longer than"},
		{"too many pins", `{"version":1,"pins":[` + strings.Repeat(entry+",", maxPins) + entry + `]}`, 0o600, "at most 1024"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := stateDir(t)
			mustTrust(t, dir)
			path := filepath.Join(dir, trustFile)
			must(t, os.WriteFile(path, []byte(c.content), 0o600))
			must(t, os.Chmod(path, c.mode))
			_, err := OpenTrust(dir)
			if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzParseTrust(f *testing.F) {
	f.Add([]byte(`{"version":1,"pins":[]}`))
	f.Add([]byte(`{"version":1,"pins":[{"standing":"peer","name":"a","fingerprint":"` + (Fingerprint{1}).String() + `","added":"2026-11-23T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		pins, err := parseTrust(raw)
		if err != nil {
			return
		}
		for _, p := range pins {
			if err := p.check(); err != nil {
				t.Errorf("an unacceptable pin was read: %v", err)
			}
		}
	})
}
