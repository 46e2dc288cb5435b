package tunneltest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// stock is what a driver could leave behind.
type stock struct {
	Descriptors int
	Interfaces  map[string][]string // By namespace.
	// Addresses, routes, and how many SAs and policies, of the outer namespaces:
	// the inner ones are the session's.
	Network map[string][]string
}

func takeStock(t testing.TB, link *Link) stock {
	t.Helper()
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatalf("list descriptors: %v", err)
	}
	s := stock{Descriptors: len(descriptors), Interfaces: map[string][]string{}, Network: map[string][]string{}}
	if link == nil {
		return s
	}
	for name, site := range map[string]*Site{"left": link.Left, "right": link.Right} {
		s.Interfaces[name+" outer"] = interfaces(t, site.Outer)
		s.Interfaces[name+" inner"] = interfaces(t, site.Inner)
		s.Network[name] = network(t, site.Outer)
	}
	return s
}

// network lists what a namespace holds beside interfaces. Of SAs only their
// number is looked at: they hold keys.
func network(t testing.TB, namespace *tunnel.Namespace) (lines []string) {
	t.Helper()
	h, err := handle(namespace)
	if err != nil {
		t.Fatalf("reach namespace by netlink: %v", err)
	}
	defer h.Close()
	addresses, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatalf("list addresses: %v", err)
	}
	for _, address := range addresses {
		lines = append(lines, fmt.Sprintf("address %s of interface %d", address.IPNet, address.LinkIndex))
	}
	routes, err := h.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatalf("list routes: %v", err)
	}
	for _, route := range routes {
		lines = append(lines, fmt.Sprintf("route to %s by interface %d", route.Dst, route.LinkIndex))
	}
	states, policies := ipsec(namespace)
	return append(lines, fmt.Sprintf("%d SAs, %d IPsec policies", states, policies))
}

// ipsec counts none where the kernel has none.
func ipsec(namespace *tunnel.Namespace) (states, policies int) {
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_XFRM)
	if err != nil {
		return 0, 0
	}
	defer h.Close()
	all, err := h.XfrmStateList(netlink.FAMILY_ALL)
	if err != nil {
		return 0, 0
	}
	rules, _ := h.XfrmPolicyList(netlink.FAMILY_ALL)
	return len(all), len(rules)
}

// expectSame expects that nothing is more than it was. It waits a little: a
// goroutine that has been waited for takes a moment more to be gone.
func (s stock) expectSame(t testing.TB, link *Link) {
	t.Helper()
	var now stock
	if !eventually(func() bool { now = takeStock(t, link); return cmp.Equal(s, now) }) {
		t.Errorf("left behind (-before +after):\n%s", cmp.Diff(s, now))
	}
	var running []string
	if !eventually(func() bool { running = goroutines(); return len(running) == 0 }) {
		t.Errorf("left running:\n%s", strings.Join(running, "\n\n"))
	}
}

// goroutines returns the stacks of those that the test framework did not start.
// The suite has none of its own where it looks, so any is a driver's.
func goroutines() []string {
	buffer := make([]byte, 1<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	var found []string
	for stack := range strings.SplitSeq(string(buffer), "\n\n") {
		_, creator, created := strings.Cut(stack, "\ncreated by ")
		if created && !strings.HasPrefix(creator, "testing.") && !strings.HasPrefix(creator, "os/signal.") {
			found = append(found, stack)
		}
	}
	return found
}
