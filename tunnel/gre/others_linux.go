package gre

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// refuseOthers refuses to guard GRE between two hosts where another tunnel of
// this host sends it: a guard is for an IP protocol, whatever the keys, and would
// take that tunnel's packets as well.
func refuseOthers(outer *tunnel.Namespace, spec tunnel.Spec) error {
	handle, err := netlink.NewHandleAt(netns.NsHandle(outer.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("reach outer namespace by netlink: %w", err)
	}
	defer handle.Close()
	links, err := handle.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, link := range links {
		local, remote, ok := greEnds(link)
		if ok && link.Attrs().Flags&net.FlagUp != 0 && serves(local, spec.Local.Outer) && serves(remote, spec.Remote.Outer) {
			return fmt.Errorf("interface %s of this host sends GRE to %s: %w, and ESP would take its packets; use driver gre, which leaves them alone, or measure it with driver existing",
				link.Attrs().Name, spec.Remote.Outer.Addr(), os.ErrExist)
		}
	}
	return nil
}

func greEnds(link netlink.Link) (local, remote net.IP, ok bool) {
	switch l := link.(type) {
	case *netlink.Gretun:
		return l.Local, l.Remote, true
	case *netlink.Gretap:
		return l.Local, l.Remote, true
	}
	return nil, nil, false
}

// serves says whether a tunnel's end is, or may be, that address.
func serves(end net.IP, outer netip.AddrPort) bool {
	return len(end) == 0 || end.IsUnspecified() || end.Equal(outer.Addr().Unmap().AsSlice())
}
