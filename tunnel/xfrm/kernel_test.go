//go:build kernel

package xfrm_test

import (
	"fmt"
	"runtime"
	"testing"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/xfrm"
)

// The first thread never exits: no test may take it into a namespace.
func init() { runtime.LockOSThread() }

// variant is one way to build a tunnel. Together the variants of a test cover
// every form, suite, outer IP version and encapsulation at least once.
type variant struct {
	form          xfrm.Form
	suite         tunnel.Suite
	encapsulation tunnel.Encapsulation
	outer         overhead.IPVersion
	noESN         bool
}

func (v variant) String() string {
	return fmt.Sprintf("%s, %s, %s, IPv%d", v.form, v.suite, v.encapsulation, v.outer)
}

// spec is the template with the largest MTU that the suite's link takes.
func (v variant) spec(t testing.TB) tunnel.Spec {
	t.Helper()
	added := overhead.ESP
	if v.form == xfrm.Transport {
		added = overhead.ESPTransport
	}
	encapsulation, err := added(v.suite, v.encapsulation, v.outer)
	if err != nil {
		t.Fatal(err)
	}
	return tunnel.Spec{
		Suite: v.suite, Encapsulation: v.encapsulation, NoESN: v.noESN,
		MTU: int(encapsulation.TunnelMTU(tunneltest.PathMTU)),
	}
}

func TestKernelConformance(t *testing.T) {
	variants := []variant{
		{xfrm.Interface, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4, false},
		{xfrm.VTI, tunnel.AES256GCM, tunnel.Raw, overhead.IPv6, false},
		{xfrm.Policy, tunnel.AES128GCM, tunnel.Raw, overhead.IPv4, false},
		{xfrm.Transport, tunnel.AES128GCM, tunnel.UDP, overhead.IPv6, false},
	}
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver: xfrm.Driver{Form: v.form}, Spec: v.spec(t), Outer6: v.outer == overhead.IPv6, Encrypts: true,
			})
		})
	}
}
