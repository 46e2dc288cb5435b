package esp

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// outerMTU asks what the interface towards the peer takes. The socket itself could be
// asked (IP_MTU), but would tell what strangers have made the kernel believe, which
// does not bound what it sends (forbidFragments).
func outerMTU(outer *tunnel.Namespace, spec tunnel.Spec) (overhead.PathMTU, error) {
	handle, err := netlink.NewHandleAt(netns.NsHandle(outer.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return 0, fmt.Errorf("reach outer namespace by netlink: %w", err)
	}
	defer handle.Close()
	remote := spec.Remote.Outer.Addr().Unmap()
	routes, err := handle.RouteGetWithOptions(remote.AsSlice(), &netlink.RouteGetOptions{SrcAddr: spec.Local.Outer.Addr().Unmap().AsSlice()})
	if err == nil && len(routes) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return 0, fmt.Errorf("find route to %s: %w", remote, err)
	}
	link, err := handle.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return 0, fmt.Errorf("find interface towards %s: %w", remote, err)
	}
	return overhead.PathMTU(link.Attrs().MTU), nil
}
