//go:build kernel

package bundle_test

import (
	"testing"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/xfrm"
)

// The kernel's own interfaces, in the kernel that users have.
func TestKernelSpread(t *testing.T) {
	spec := tunnel.Spec{Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: 1400}
	for _, only6 := range []bool{false, true} {
		e := openEnds(t, xfrm.Driver{}, spec, 2, only6)
		expectShares(t, e.left, e.right, 5, []uint64{2, 3})
		expectShares(t, e.right, e.left, 5, []uint64{2, 3})
		expectSum(t, e.left, 5)
	}
}
