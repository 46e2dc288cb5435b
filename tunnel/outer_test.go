package tunnel_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"tunnelmark/tunnel"
)

func TestCheckOuter(t *testing.T) {
	tests := []struct {
		name          string
		local, remote string // Empty: none.
		mtu           int
		want          string // In the error; empty: accepted.
	}{
		{"IPv4", "192.0.2.1:4500", "192.0.2.2:4500", 1500, ""},
		{"IPv6", "[2001:db8::1]:4500", "[2001:db8::2]:4500", 1500, ""},
		{"IPv4 in both notations", "192.0.2.1:4500", "[::ffff:192.0.2.2]:4500", 1500, ""},
		{"one host, two ports", "192.0.2.1:4500", "192.0.2.1:4501", 1500, ""},
		{"least MTU", "192.0.2.1:4500", "192.0.2.2:4500", 68, ""},
		{"MTU below", "192.0.2.1:4500", "192.0.2.2:4500", 67, "MTU 67: want 68 or more"},
		{"no local address", "", "192.0.2.2:4500", 1500, "want an IP address and a port"},
		{"no port", "192.0.2.1:4500", "192.0.2.2:0", 1500, "want an IP address and a port"},
		{"any address", "0.0.0.0:4500", "192.0.2.2:4500", 1500, "want an IP address and a port"},
		{"zone", "[fe80::1%eth0]:4500", "[fe80::2%eth0]:4500", 1500, "addresses with a zone"},
		{"two versions", "192.0.2.1:4500", "[2001:db8::2]:4500", 1500, "different IP versions"},
		{"one end", "192.0.2.1:4500", "192.0.2.1:4500", 1500, "that of both ends"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := tunnel.Spec{MTU: test.mtu, Local: end(test.local), Remote: end(test.remote)}
			err := spec.CheckOuter()
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want it accepted", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
			if test.name == "zone" && !errors.Is(err, tunnel.ErrNotSupported) {
				t.Errorf("got %v, want it to wrap %v", err, tunnel.ErrNotSupported)
			}
		})
	}
}

func end(outer string) tunnel.End {
	if outer == "" {
		return tunnel.End{}
	}
	return tunnel.End{Outer: netip.MustParseAddrPort(outer)}
}
