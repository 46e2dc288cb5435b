//go:build kernel

package strongswan_test

import (
	"testing"
	"time"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/strongswan"
	"tunnelmark/tunnel/tunneltest"
)

// kernelSpec has the largest MTU that the suite's link takes.
func kernelSpec(t testing.TB, suite tunnel.Suite, carrier tunnel.Encapsulation, outer overhead.IPVersion) tunnel.Spec {
	t.Helper()
	encapsulation, err := overhead.ESP(suite, carrier, outer)
	if err != nil {
		t.Fatal(err)
	}
	mtu := encapsulation.TunnelMTU(tunneltest.PathMTU)
	return tunnel.Spec{Suite: suite, Encapsulation: carrier, MTU: int(mtu), Lifetime: time.Hour}
}

func TestKernelConformance(t *testing.T) {
	tests := []struct {
		name    string
		carrier tunnel.Encapsulation
		outer   overhead.IPVersion
	}{
		{"UDP over IPv4", tunnel.UDP, overhead.IPv4},
		{"raw over IPv6", tunnel.Raw, overhead.IPv6},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver:   strongswan.Driver{},
				Spec:     kernelSpec(t, tunnel.AES128GCM, test.carrier, test.outer),
				Outer6:   test.outer == overhead.IPv6,
				Encrypts: true,
			})
		})
	}
}
