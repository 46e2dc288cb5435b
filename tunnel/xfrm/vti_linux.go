package xfrm

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// A VTI takes every ESP packet between its two addresses: the kernel finds it by
// these alone, before it looks for an SA, whatever the keys (vti_input of
// net/ipv4/ip_vti.c). So a VTI of ours must not stand where others' SAs are, nor
// can any tunnel of ours work where another's VTI is.

// refuseVTI refuses to work between addresses that a VTI of this host serves.
func refuseVTI(outer *tunnel.Namespace, local, remote netip.Addr) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(outer.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("reach outer namespace by netlink: %w", err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		vti, ok := l.(*netlink.Vti)
		if ok && vti.Flags&net.FlagUp != 0 && serves(vti.Local, local) && serves(vti.Remote, remote) {
			return fmt.Errorf("interface %s of this host takes all ESP from %s: %w; measure its tunnel with driver existing, or use driver esp",
				vti.Name, remote, os.ErrExist)
		}
	}
	return nil
}

func serves(configured net.IP, address netip.Addr) bool {
	return len(configured) == 0 || configured.IsUnspecified() || configured.Equal(address.AsSlice())
}

// refuseStates refuses a VTI where there are SAs from the peer: it would take
// their packets.
func (k *kernel) refuseStates(p plan) error {
	present, err := k.countStates(p.remote.Addr(), p.local.Addr())
	if err != nil {
		return err
	}
	if present > 0 {
		return fmt.Errorf("this host has %d SAs from %s to %s, whose packets a VTI would take: %w; use driver xfrm, whose interface takes only its own",
			present, p.remote.Addr(), p.local.Addr(), os.ErrExist)
	}
	return nil
}

// countStates counts the SAs between two outer addresses. The kernel sends their
// keys along: nobody looks at them, and they are cleared.
func (k *kernel) countStates(source, destination netip.Addr) (int, error) {
	m := newMessage(nil)
	from, to := kernelAddress(source), kernelAddress(destination)
	// struct xfrm_address_filter: addresses, family, prefix lengths.
	bits := byte(source.BitLen())
	rest := append(native16(family(source)), bits, bits)
	m.attribute(nl.XFRMA_ADDRESS_FILTER, from[:], to[:], rest)
	answers, err := k.request(nl.XFRM_MSG_GETSA, dump, m, nl.XFRM_MSG_NEWSA)
	clearAll(answers)
	if err != nil {
		return 0, fmt.Errorf("list SAs: %w", err)
	}
	return len(answers), nil
}
