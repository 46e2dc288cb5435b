package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// quiet keeps a namespace's IPv6 from talking by itself, and its IPv4 from
// dropping what comes by another way than it would answer. It must come before
// the interfaces.
var quiet = map[string]string{
	"ipv6/conf/*/accept_dad":           "0",
	"ipv6/conf/*/dad_transmits":        "0",
	"ipv6/conf/*/accept_ra":            "0",
	"ipv6/conf/*/autoconf":             "0",
	"ipv6/conf/*/router_solicitations": "0",
	"ipv6/conf/*/addr_gen_mode":        "1", // no link-local address
	"ipv4/conf/*/rp_filter":            "0",
}

// forwarding makes a router of a namespace. It must come after the interfaces,
// which would otherwise report to multicast groups of routers.
var forwarding = map[string]string{
	"ipv4/ip_forward":          "1",
	"ipv6/conf/all/forwarding": "1",
}

// setSysctls writes under /proc/sys/net of the calling thread's namespace. A star
// stands for the interfaces that are there, and for those to come.
func setSysctls(values map[string]string) error {
	for name, value := range values {
		for _, which := range []string{"all", "default"} {
			path := filepath.Join("/proc/sys/net", strings.Replace(name, "*", which, 1))
			if err := os.WriteFile(path, []byte(value), 0); err != nil {
				return fmt.Errorf("set sysctl: %w", err)
			}
		}
	}
	return nil
}

// addVeth joins a site and a middle by a veth pair, made in place.
func addVeth(site *netlink.Handle, middle *namespace, l leg, mtu int) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = l.outer.name
	attributes.HardwareAddr = l.outer.mac
	attributes.MTU = mtu
	veth := netlink.NewVeth(attributes)
	veth.PeerName = l.middle.name
	veth.PeerHardwareAddr = l.middle.mac
	veth.PeerNamespace = netlink.NsFd(middle.fd())
	veth.PeerMTU = uint32(mtu)
	if err := site.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth pair %s: %w", l.outer.name, err)
	}
	return nil
}

// bringUp gives a port its addresses and its one neighbour, and starts it.
func bringUp(h *netlink.Handle, own, neighbour port) (netlink.Link, error) {
	link, err := startQuiet(h, own.name)
	if err != nil {
		return nil, err
	}
	for _, address := range []netip.Prefix{own.v4, own.v6} {
		if err := addAddress(h, link, address); err != nil {
			return nil, err
		}
	}
	return link, addNeighbour(h, link, neighbour)
}

// startQuiet starts an interface that neither asks for neighbours nor reports
// multicast groups.
func startQuiet(h *netlink.Handle, name string) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	if err := h.LinkSetARPOff(link); err != nil {
		return nil, fmt.Errorf("switch off neighbour discovery of %s: %w", name, err)
	}
	if err := h.LinkSetMulticastOff(link); err != nil {
		return nil, fmt.Errorf("switch off multicast of %s: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return link, nil
}

// awaitCarrier waits until an interface passes packets: the kernel drops what is
// sent between the peer's start and its own notice of that, which a worker takes.
func awaitCarrier(ctx context.Context, h *netlink.Handle, name string) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for carrier on %s: %w", name, ctx.Err())
		}
	}
}

func addAddress(h *netlink.Handle, link netlink.Link, address netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(address), Flags: unix.IFA_F_NODAD}
	if err := h.AddrAdd(link, a); err != nil {
		return fmt.Errorf("add address %s to %s: %w", address, link.Attrs().Name, err)
	}
	return nil
}

func addNeighbour(h *netlink.Handle, link netlink.Link, neighbour port) error {
	for _, address := range []netip.Prefix{neighbour.v4, neighbour.v6} {
		err := h.NeighSet(&netlink.Neigh{
			LinkIndex:    link.Attrs().Index,
			State:        netlink.NUD_PERMANENT,
			IP:           address.Addr().AsSlice(),
			HardwareAddr: neighbour.mac,
		})
		if err != nil {
			return fmt.Errorf("add neighbour %s to %s: %w", address.Addr(), link.Attrs().Name, err)
		}
	}
	return nil
}

// addRoute leads to a network by a gateway, or, where that is invalid, straight
// out. An MTU above zero is the largest packet that the route takes: a router
// answers a larger one with "fragmentation needed".
func addRoute(h *netlink.Handle, link netlink.Link, to netip.Prefix, gateway netip.Addr, mtu int) error {
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       ipNet(to.Masked()),
		MTU:       mtu,
	}
	if gateway.IsValid() {
		route.Gw = gateway.AsSlice()
	} else if to.Addr().Is4() {
		route.Scope = netlink.SCOPE_LINK
	}
	if err := h.RouteAdd(route); err != nil {
		return fmt.Errorf("add route to %s by %s: %w", to, link.Attrs().Name, err)
	}
	return nil
}

// wireLike switches off, for interfaces of the calling thread's namespace, what
// hands packets on larger than they are. Transmit checksum offload stays: without
// it UDP_SEGMENT fails with EIO, and it does not change a packet's size.
func wireLike(names ...string) error {
	for _, name := range names {
		if err := switchOff(name, enlarges); err != nil {
			return err
		}
	}
	return nil
}

// switchOff switches the offloads off that are chosen by name.
func switchOff(name string, chosen func(feature string) bool) error {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("open ethtool: %w", err)
	}
	defer tool.Close()
	features, err := tool.FeaturesWithState(name)
	if err != nil {
		return fmt.Errorf("read offloads of %s: %w", name, err)
	}
	if err := tool.Change(name, offloadsOff(features, chosen)); err != nil {
		return fmt.Errorf("switch off offloads of %s: %w", name, err)
	}
	return nil
}

// offloadsOff selects the offloads that are chosen, are on and can be switched off.
func offloadsOff(features map[string]ethtool.FeatureState, chosen func(feature string) bool) map[string]bool {
	off := make(map[string]bool)
	for name, state := range features {
		if chosen(name) && state.Active && !state.NeverChanged {
			off[name] = false
		}
	}
	return off
}

// enlarges says whether it is a segmentation or receive offload.
func enlarges(feature string) bool {
	return strings.Contains(feature, "segmentation") || strings.Contains(feature, "-gso") ||
		strings.Contains(feature, "gro") || strings.Contains(feature, "lro")
}

// checksums says whether it leaves checksums to whoever receives.
func checksums(feature string) bool { return strings.HasPrefix(feature, "tx-checksum") }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
