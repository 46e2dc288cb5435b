//go:build kernel

package endtoend

import (
	"os/exec"
	"testing"
)

// The drivers that are the kernel's: hold has to serve iperf3 through each of them.
func TestKernelHold(t *testing.T) {
	// The kernel itself gives every namespace interfaces such as gre0 when these
	// modules load: they are no leaks of ours.
	if out, err := exec.Command("modprobe", "-a", "ip_gre", "ip6_gre", "ip_vti", "ip6_vti").CombinedOutput(); err != nil {
		t.Fatalf("load modules: %v\n%s", err, out)
	}
	testHold(t, []string{
		"xfrm", "xfrm-vti", "xfrm-policy", "xfrm-transport", "wireguard", "gre", "gre-esp", "strongswan",
	})
}
