package esp_test

import (
	"fmt"
	"runtime"
	"testing"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

// template is the spec with the largest MTU that the suite's link takes.
func template(t testing.TB, suite tunnel.Suite, outer overhead.IPVersion) tunnel.Spec {
	t.Helper()
	encapsulation, err := overhead.ESP(suite, tunnel.UDP, outer)
	if err != nil {
		t.Fatal(err)
	}
	mtu := encapsulation.TunnelMTU(tunneltest.PathMTU)
	return tunnel.Spec{Suite: suite, Encapsulation: tunnel.UDP, MTU: int(mtu)}
}

func TestConformance(t *testing.T) {
	for _, suite := range []tunnel.Suite{tunnel.AES128GCM, tunnel.AES256GCM, tunnel.ChaCha20Poly1305} {
		for _, outer := range []overhead.IPVersion{overhead.IPv4, overhead.IPv6} {
			t.Run(fmt.Sprintf("%s over IPv%d", suite, outer), func(t *testing.T) {
				tunneltest.Run(t, tunneltest.Subject{
					Driver:   esp.Driver{},
					Spec:     template(t, suite, outer),
					Outer6:   outer == overhead.IPv6,
					Encrypts: true,
				})
			})
		}
	}
}
