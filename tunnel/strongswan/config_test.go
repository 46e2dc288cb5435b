package strongswan

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The kernel takes a lifetime of 0 for none: one of less than a second is not that.
func TestLifetimeIsNeverRoundedToNone(t *testing.T) {
	text := string(connection{lifetime: time.Millisecond}.text())
	if !strings.Contains(text, "life_time = 1\n") {
		t.Errorf("of a lifetime of 1 ms it says\n%s", text)
	}
}

func TestConfigurations(t *testing.T) {
	prefix := func(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
	kernel := connection{
		local:          netip.MustParseAddrPort("192.0.2.1:4500"),
		remote:         netip.MustParseAddrPort("192.0.2.2:4501"),
		secret:         []byte{0x00, 0x11, 0xff},
		localNetworks:  append(prefix("198.18.0.1/32"), prefix("2001:2::1/128")...),
		remoteNetworks: append(prefix("198.18.0.2/32"), prefix("2001:2::2/128")...),
		proposal:       "aes256-sha512-x25519-esn",
		replayWindow:   1024,
		lifetime:       time.Hour,
		interfaceID:    0x1001,
	}
	certificates := connection{
		local:          netip.MustParseAddrPort("[2001:db8::1]:4500"),
		remote:         netip.MustParseAddrPort("[2001:db8::2]:4500"),
		localNetworks:  prefix("10.1.0.0/16"),
		remoteNetworks: prefix("10.2.0.0/16"),
		proposal:       "aes128gcm16-x25519-noesn",
		forceUDP:       true,
	}
	tests := []struct {
		golden string
		got    []byte
	}{
		{"kernel.swanctl.conf", kernel.text()},
		{"certificates.swanctl.conf", certificates.text()},
		{"kernel.strongswan.conf", []byte(daemon{port: 4500, vici: "/run/x/vici", acquireExpires: "30"}.String())},
		{"gateway.strongswan.conf", []byte(daemon{port: 4501, userSpace: true, ipv6: true, routes: true, vici: "/run/x/vici"}.String())},
	}
	for _, test := range tests {
		t.Run(test.golden, func(t *testing.T) {
			path := filepath.Join("testdata", test.golden)
			if *update {
				if err := os.WriteFile(path, test.got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(test.got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The log must not tell keys: strongSwan does from level 4 on.
func TestLogLevelTellsNoKeys(t *testing.T) {
	conf := []byte(daemon{}.String())
	for _, level := range []string{"default = 2", "default = 3", "default = 4"} {
		if bytes.Contains(conf, []byte(level)) {
			t.Errorf("strongswan.conf sets %q, want at most 1", level)
		}
	}
}

func TestEverySuiteHasAProposal(t *testing.T) {
	seen := make(map[string]tunnel.Suite)
	for _, suite := range tunnel.Suites() {
		got, err := espProposal(suite, false)
		if err != nil {
			t.Errorf("%s: %v", suite, err)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%s and %s are both %q", suite, other, got)
		}
		seen[got] = suite
	}
}
