package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tunnelmark/tunnel/strongswan"
)

func readPolicy(t *testing.T, text string) (Policy, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadPolicy(path)
}

func TestReadPolicy(t *testing.T) {
	got, err := readPolicy(t, `version: 1
name: dc-a
outer: 203.0.113.10
ports: 4500-4503
limits: {inner: 2Gbps, trial: 30s, session: 10m}
drivers: [esp, clear]
insecure: true
strongswan: {certificate: /etc/ours.pem, key: /etc/ours.key, authority: /etc/ca.pem}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Policy{
		Name: "dc-a", Outer: netip.MustParseAddr("203.0.113.10"), Ports: PortRange{4500, 4503},
		MaxInnerBitsPerSecond: 2e9, MaxTrial: 30 * time.Second, MaxSession: 10 * time.Minute,
		Drivers:     []string{"esp", "clear"},
		Insecure:    true,
		Credentials: &strongswan.Credentials{Certificate: "/etc/ours.pem", Key: "/etc/ours.key", Authority: "/etc/ca.pem"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("ReadPolicy (-want +got):\n%s", diff)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
}

func TestReadPolicyRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\nouter: 0.0.0.0":          "agent.yaml:2: outer: \"0.0.0.0\" is not a unicast IP address",
		"outer: 224.0.0.1":                    "is not a unicast IP address",
		"ports: 4510-4500":                    "is not a range of UDP ports",
		"ports: 70000":                        "is not a range of UDP ports",
		"limits: {inner: fast}":               "limits: inner: \"fast\" is not a rate",
		"limits: {inner: 1G, trail: 3s}":      "unknown key \"trail\"",
		"peers: [nonsense]":                   "agent.yaml:1: peers: parse fingerprint",
		"drivers: esp":                        "want a list",
		"drivers: []":                         "drivers: want 1 to 16 items, not 0",
		"drivers: [[esp]]":                    "drivers: want one value",
		"strongswan: {key: /etc/ours.key}":    "agent.yaml:1: strongswan: want the paths of all three",
		"peers: []":                           "peers: want 1 to 1000 items, not 0",
		"version: 3":                          "is not a whole number from 1 to 1",
		"name: " + strings.Repeat("long", 50): "is not a name",
	} {
		if _, err := readPolicy(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadPolicy(%q): %v, want %q", text, err, want)
		}
	}
	if err := DefaultPolicy().Check(); err == nil || !strings.Contains(err.Error(), "--outer") {
		t.Errorf("Check without an address: %v, want what to give", err)
	}
	got, err := readPolicy(t, "version: 1\nouter: 203.0.113.10\ndrivers: [epsp]")
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Check(); err == nil || !strings.Contains(err.Error(), `"epsp" is none of esp, xfrm, `) {
		t.Errorf("Check with an unknown driver: %v", err)
	}
}
