//go:build kernel

package strongswan_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
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
	tunneltest.Run(t, tunneltest.Subject{
		Driver:   strongswan.Driver{},
		Spec:     kernelSpec(t, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4),
		Encrypts: true,
	})
}

// The other carrier, IP version and kind of suite, and new keys under load. Should
// charon be killed with the agent, the kernel removes its SAs.
func TestKernelRekeyRawOverIPv6(t *testing.T) {
	spec := kernelSpec(t, tunnel.AES256CBCSHA512, tunnel.Raw, overhead.IPv6)
	spec.ReplayWindow = 1024
	pair := checkRekey(t, strongswan.Driver{}, spec, true)
	expectDetails(t, pair.Left.Tunnel, spec.Suite, map[string]string{
		"ESP":              "of the kernel",
		"encapsulation":    "raw",
		"sequence numbers": "extended",
	})
	limits := lifetimes(t, pair.Left.Site.Outer)
	if len(limits) < 2 {
		t.Errorf("%d SAs, want 2, and one that was replaced", len(limits))
	}
	for _, limit := range limits {
		if limit != spec.Lifetime {
			t.Errorf("an SA has a hard lifetime of %v, want %v", limit, spec.Lifetime)
		}
	}
	if err := pair.Left.Close(); err != nil {
		t.Error(err)
	}
	if states, policies := count(t, pair.Left.Site.Outer); states+policies > 0 {
		t.Errorf("%d SAs and %d policies are left", states, policies)
	}
}

// After SIGKILL of the agent no charon, interface, SA and policy is left.
func TestKernelKilled(t *testing.T) {
	spec := kernelSpec(t, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4)
	if os.Getenv(victim) != "" {
		beVictim(t, strongswan.Driver{}, spec)
		return
	}
	labtest.CheckLeaks(t)
	link := newLink(t)
	before := interfaces(t, link.Left.Outer)
	startAndKill(t, link, strongswan.Driver{}, spec)
	var states, policies int
	if !eventually(func() bool { states, policies = count(t, link.Left.Outer); return states+policies == 0 }) {
		t.Errorf("%d SAs and %d policies are left", states, policies)
	}
	if diff := cmp.Diff(before, interfaces(t, link.Left.Outer)); diff != "" {
		t.Errorf("interfaces (-before +after):\n%s", diff)
	}
}

// lifetimes are the hard ones of all SAs.
func lifetimes(t *testing.T, namespace *tunnel.Namespace) (limits []time.Duration) {
	t.Helper()
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_XFRM)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	states, err := h.XfrmStateList(netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range states {
		limits = append(limits, time.Duration(state.Limits.TimeHard)*time.Second)
	}
	return limits
}

// count returns how many SAs and policies a namespace has. What they are is not
// looked at: SAs hold keys.
func count(t *testing.T, namespace *tunnel.Namespace) (states, policies int) {
	t.Helper()
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_XFRM)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	s, err := h.XfrmStateList(netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.XfrmPolicyList(netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	return len(s), len(p)
}

// What has the session's interface id already is refused, and left alone.
func TestKernelInterfaceIDOfAnother(t *testing.T) {
	link := newLink(t)
	left, _ := link.Specs(kernelSpec(t, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4), false)
	addPolicy(t, link.Left.Outer, left.Local.SPI)
	keys, _ := tunneltest.Keys("refused")
	place := tunnel.Place{Outer: link.Left.Outer, Inner: link.Left.Inner, Socket: listen(t, link.Left.Outer, left.Local.Outer)}
	if _, err := (strongswan.Driver{}).Open(soon(t), left, keys, place); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v, want %v", err, os.ErrExist)
	}
	if _, policies := count(t, link.Left.Outer); policies != 1 {
		t.Errorf("%d policies, want the one of another", policies)
	}
}

// addPolicy adds one that another program might have.
func addPolicy(t *testing.T, namespace *tunnel.Namespace, interfaceID uint32) {
	t.Helper()
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_XFRM)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	network := &net.IPNet{IP: net.IPv4(10, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}
	policy := &netlink.XfrmPolicy{Src: network, Dst: network, Dir: netlink.XFRM_DIR_OUT, Ifid: int(interfaceID)}
	if err := h.XfrmPolicyAdd(policy); err != nil {
		t.Fatal(err)
	}
}

func TestKernelBesideProduction(t *testing.T) {
	spec := kernelSpec(t, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4)
	checkBeside(t, strongswan.Driver{}, spec)
}
