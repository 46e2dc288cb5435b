package wireguard_test

import (
	"fmt"
	"runtime"
	"testing"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/wireguard"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

// template is the spec with the largest MTU that the suite's link takes.
func template(t testing.TB, outer overhead.IPVersion) tunnel.Spec {
	t.Helper()
	encapsulation, err := overhead.WireGuard(outer)
	if err != nil {
		t.Fatal(err)
	}
	return tunnel.Spec{MTU: int(encapsulation.TunnelMTU(tunneltest.PathMTU))}
}

func runSuite(t *testing.T, driver tunnel.Driver) {
	for _, outer := range []overhead.IPVersion{overhead.IPv4, overhead.IPv6} {
		t.Run(fmt.Sprintf("over IPv%d", outer), func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver:   driver,
				Spec:     template(t, outer),
				Outer6:   outer == overhead.IPv6,
				Encrypts: true,
			})
		})
	}
}

func TestConformance(t *testing.T) { runSuite(t, wireguard.User{}) }
