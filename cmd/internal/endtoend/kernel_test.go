//go:build kernel

package endtoend

import (
	"os/exec"
	"testing"

	"tunnelmark/tunnel/strongswan"
)

// kernelDrivers are those that the kernel builds.
var kernelDrivers = []string{
	"xfrm", "xfrm-vti", "xfrm-policy", "xfrm-transport", "wireguard", "gre", "gre-esp", "strongswan",
}

// hold has to serve iperf3 through each of them.
func TestKernelHold(t *testing.T) {
	loadModules(t)
	testHold(t, ipv4, append([]string{
		"xfrm --tunnels 2 --suite aes-256-cbc-sha256 --encapsulation raw", "wireguard --tunnels 2", "gre --tunnels 2",
	}, kernelDrivers...))
}

// Beside a charon with kernel ESP they come and go, and it loses nothing.
func TestKernelBesideProduction(t *testing.T) {
	loadModules(t)
	testBesideProduction(t, strongswan.Driver{}, kernelDrivers)
}

// loadModules loads those for which the kernel gives every namespace interfaces
// such as gre0: they are no leaks of ours.
func loadModules(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("modprobe", "-a", "ip_gre", "ip6_gre", "ip_vti", "ip6_vti").CombinedOutput(); err != nil {
		t.Fatalf("load modules: %v\n%s", err, out)
	}
}
