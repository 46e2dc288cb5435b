package inner

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// nextHop stands for the far end of each tunnel: the kernel spreads IPv6 packets
// only over routes that have a gateway (rt6_qualify_for_ecmp of
// include/net/ip6_route.h). Nobody is asked for it: these interfaces have no
// link layer.
var nextHop = net.ParseIP("fe80::1")

// HashFlows makes the session's namespace choose between tunnels side by side by
// addresses, protocol and ports, so that a flow stays on one (fib_multipath_hash_policy
// of Linux, Documentation/networking/ip-sysctl.rst). Without it all flows between
// two addresses take the same tunnel. An error wraps tunnel.ErrNotSupported where the
// kernel cannot.
func HashFlows(namespace *tunnel.Namespace, spec tunnel.Spec) error {
	return namespace.Do(func() error {
		var err4, err6 error
		if spec.Local.Inner4.IsValid() {
			err4 = hashFlows("ipv4")
		}
		if spec.Local.Inner6.IsValid() {
			err6 = hashFlows("ipv6")
		}
		return errors.Join(err4, err6)
	})
}

// hashFlows is called on a thread in the namespace: /proc/sys/net is that
// namespace's.
func hashFlows(family string) error {
	const byPorts = "1"
	path := "/proc/sys/net/" + family + "/fib_multipath_hash_policy"
	// Not created where it is not there.
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("spread flows over tunnels by %s: %w: the kernel has no multipath routes (CONFIG_IP_ROUTE_MULTIPATH); use one tunnel", family, tunnel.ErrNotSupported)
	}
	if err != nil {
		return fmt.Errorf("spread flows over tunnels by %s: %w", family, err)
	}
	_, err = file.WriteString(byPorts)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("spread flows over tunnels by %s: %w", family, err)
	}
	return nil
}

// Spread puts one route over all the interfaces, which Configure has set up with
// the same inner addresses, in place of the route that each of them has. The
// kernel removes it with the last of them.
func Spread(namespace *tunnel.Namespace, interfaces []string, spec tunnel.Spec) error {
	handle, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("reach inner namespace by netlink: %w", err)
	}
	defer handle.Close()
	indices := make([]int, len(interfaces))
	for i, name := range interfaces {
		link, err := handle.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find interface %s: %w", name, err)
		}
		indices[i] = link.Attrs().Index
	}
	return errors.Join(
		spread(handle, indices, spec.Local.Inner4, spec.Remote.Inner4, nil),
		spread(handle, indices, spec.Local.Inner6, spec.Remote.Inner6, nextHop))
}

func spread(handle *netlink.Handle, indices []int, local, remote netip.Addr, gateway net.IP) error {
	if !local.IsValid() {
		return nil
	}
	route := &netlink.Route{Dst: HostNet(remote), Src: local.AsSlice(), Scope: netlink.SCOPE_LINK}
	for _, index := range indices {
		single := &netlink.Route{Dst: route.Dst, Scope: route.Scope, LinkIndex: index}
		if err := handle.RouteDel(single); err != nil {
			return fmt.Errorf("remove route to %s through one tunnel: %w", remote, err)
		}
		route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{LinkIndex: index, Gw: gateway})
	}
	if err := handle.RouteAdd(route); err != nil {
		return fmt.Errorf("add route to %s through %d tunnels: %w", remote, len(indices), err)
	}
	return nil
}
