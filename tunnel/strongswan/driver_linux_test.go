package strongswan_test

import (
	"fmt"
	"runtime"
	"testing"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/strongswan"
	"tunnelmark/tunnel/tunneltest"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

// userSpaceMTU is what charon's own ESP takes at most.
const userSpaceMTU = 1400

func userSpaceSpec(suite tunnel.Suite) tunnel.Spec {
	return tunnel.Spec{Suite: suite, Encapsulation: tunnel.UDP, MTU: userSpaceMTU, NoESN: true}
}

func TestConformanceUserSpace(t *testing.T) {
	labtest.NeedProgram(t, "swanctl")
	for _, outer := range []overhead.IPVersion{overhead.IPv4, overhead.IPv6} {
		t.Run(fmt.Sprintf("over IPv%d", outer), func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver:   strongswan.Driver{UserSpace: true},
				Spec:     userSpaceSpec(tunnel.AES128GCM),
				Outer6:   outer == overhead.IPv6,
				Encrypts: true,
			})
		})
	}
}
