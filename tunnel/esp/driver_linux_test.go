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
func template(t testing.TB, suite tunnel.Suite, carrier tunnel.Encapsulation, outer overhead.IPVersion) tunnel.Spec {
	t.Helper()
	encapsulation, err := overhead.ESP(suite, carrier, outer)
	if err != nil {
		t.Fatal(err)
	}
	mtu := encapsulation.TunnelMTU(tunneltest.PathMTU)
	return tunnel.Spec{Suite: suite, Encapsulation: carrier, MTU: int(mtu)}
}

// Every suite over IPv4 or IPv6, in UDP or, every third one, raw, and every second
// one with sequence numbers of 32 bits.
func TestConformance(t *testing.T) {
	for i, suite := range append(tunnel.Suites(), tunnel.NullNull) {
		outer := []overhead.IPVersion{overhead.IPv4, overhead.IPv6}[i/2%2]
		carrier := []tunnel.Encapsulation{tunnel.Raw, tunnel.UDP, tunnel.UDP}[i%3]
		spec := template(t, suite, carrier, outer)
		spec.NoESN = i%2 == 1
		t.Run(fmt.Sprintf("%s, %s over IPv%d, no ESN %t", suite, carrier, outer, spec.NoESN), func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver:   esp.Driver{},
				Spec:     spec,
				Outer6:   outer == overhead.IPv6,
				Encrypts: !inClear(suite),
			})
		})
	}
}

func inClear(suite tunnel.Suite) bool {
	return suite == tunnel.NullSHA256 || suite == tunnel.NullNull
}
