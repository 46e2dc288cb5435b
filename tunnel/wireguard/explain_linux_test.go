package wireguard

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"tunnelmark/tunnel"
)

func TestExplainFamily(t *testing.T) {
	missing := explainFamily(syscall.ENOENT)
	if !errors.Is(missing, tunnel.ErrNotSupported) {
		t.Errorf("got %v, want it to wrap %v", missing, tunnel.ErrNotSupported)
	}
	for _, word := range []string{"CONFIG_WIREGUARD", "module wireguard", "wireguard-user"} {
		if !strings.Contains(missing.Error(), word) {
			t.Errorf("%q does not name %s", missing, word)
		}
	}
	forbidden := explainFamily(syscall.EPERM)
	if !errors.Is(forbidden, os.ErrPermission) || errors.Is(forbidden, tunnel.ErrNotSupported) {
		t.Errorf("got %v, want it to wrap %v only", forbidden, os.ErrPermission)
	}
	if err := explainFamily(nil); err != nil {
		t.Errorf("got %v for a kernel that has WireGuard", err)
	}
}

func TestExplainPort(t *testing.T) {
	other := errors.New("other")
	if got := explainPort(other, 4500); got.Error() != "other" {
		t.Errorf("got %v, want it as it was", got)
	}
	taken := fmt.Errorf("bring up: %w", syscall.EADDRINUSE)
	const want = "bring up: address already in use: UDP port 4500 is taken at an address of this host, and WireGuard listens on all: choose another port"
	if got := explainPort(taken, 4500); got.Error() != want || !errors.Is(got, syscall.EADDRINUSE) {
		t.Errorf("got %q, want %q", got, want)
	}
}
