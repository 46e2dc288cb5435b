package clear_test

import (
	"runtime"
	"testing"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/clear"
	"tunnelmark/tunnel/tunneltest"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

func TestConformance(t *testing.T) {
	for name, outer6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		t.Run(name, func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver: clear.Driver{},
				Spec:   tunnel.Spec{MTU: tunneltest.PathMTU},
				Outer6: outer6,
			})
		})
	}
}
