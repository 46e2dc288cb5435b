//go:build kernel

package endtoend

import (
	"os/exec"
	"testing"

	"tunnelmark/lab/labtest"
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

// Loads of all kinds pass through them; transport mode is for one flow of UDP.
func TestKernelLoads(t *testing.T) {
	loadModules(t)
	labtest.CheckLeaks(t)
	sites := startSites(t, ipv4)
	for _, words := range []string{
		"-u -b 500K --driver xfrm-transport",
		"-u -b 200K -P 4 --bidir --driver xfrm-policy",
		"-b 500K --bidir --driver xfrm", "-b 500K --driver wireguard --tunnels 2 -P 4",
	} {
		t.Run(words, func(t *testing.T) {
			result, _ := sites.run(t, "-t 500ms "+words)
			for _, trial := range result.Trials {
				if trial.Received == 0 {
					t.Errorf("of UDP nothing arrived of %d packets, reverse %v", trial.Sent, trial.Reverse)
				}
			}
			for _, trial := range result.TCP {
				if trial.ReceivedGoodputBytes == 0 {
					t.Errorf("of TCP nothing arrived, reverse %v", trial.Reverse)
				}
			}
			if len(result.Trials)+len(result.TCP) == 0 {
				t.Error("there was no load")
			}
		})
	}
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
