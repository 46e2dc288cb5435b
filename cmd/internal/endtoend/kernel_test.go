//go:build kernel

package endtoend

import "testing"

// The drivers that are the kernel's: hold has to serve iperf3 through each of them.
func TestKernelHold(t *testing.T) {
	testHold(t, []string{
		"xfrm", "xfrm-vti", "xfrm-policy", "xfrm-transport", "wireguard", "gre", "gre-esp", "strongswan",
	})
}
