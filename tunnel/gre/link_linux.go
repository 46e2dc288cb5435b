package gre

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

const (
	keyPresent = 0x2000 // K of the GRE header: RFC 2890, Section 2.
	ttl        = 64     // Of the outer IP header; also the hop limit.
	// ignoreEncapsulationLimit keeps the kernel from adding a destination options
	// header of 8 bytes (IP6_TNL_F_IGN_ENCAP_LIMIT of linux/ip6_tunnel.h; RFC 2473,
	// Section 4.1.1).
	ignoreEncapsulationLimit = 1
)

// newLink is the interface of a half. Its name is unique on this host, as the
// SPI is.
//
// Outer IPv4 packets carry Don't Fragment, as IPv6 ones do by nature: a path that
// has become too narrow shows as loss, not as fragments.
func newLink(spec tunnel.Spec) inner.Link {
	link := inner.Link{Name: fmt.Sprintf("gre%08x", spec.Local.SPI), Kind: "gre"}
	link.Data = []*nl.RtAttr{
		nl.NewRtAttr(nl.IFLA_GRE_LOCAL, address(spec.Local.Outer)),
		nl.NewRtAttr(nl.IFLA_GRE_REMOTE, address(spec.Remote.Outer)),
		nl.NewRtAttr(nl.IFLA_GRE_IFLAGS, binary.BigEndian.AppendUint16(nil, keyPresent)),
		nl.NewRtAttr(nl.IFLA_GRE_OFLAGS, binary.BigEndian.AppendUint16(nil, keyPresent)),
		nl.NewRtAttr(nl.IFLA_GRE_IKEY, binary.BigEndian.AppendUint32(nil, spec.Local.SPI)),
		nl.NewRtAttr(nl.IFLA_GRE_OKEY, binary.BigEndian.AppendUint32(nil, spec.Remote.SPI)),
		nl.NewRtAttr(nl.IFLA_GRE_TTL, nl.Uint8Attr(ttl)),
	}
	if overIPv4(spec) {
		link.Data = append(link.Data, nl.NewRtAttr(nl.IFLA_GRE_PMTUDISC, nl.Uint8Attr(1)))
		return link
	}
	link.Kind = "ip6gre"
	link.Data = append(link.Data, nl.NewRtAttr(nl.IFLA_GRE_FLAGS, nl.Uint32Attr(ignoreEncapsulationLimit)))
	return link
}

func address(outer netip.AddrPort) []byte { return outer.Addr().Unmap().AsSlice() }

// tryKernel makes the interface in a namespace that is thrown away, so that
// nothing of this host is touched. Its addresses need not be there.
func tryKernel(spec tunnel.Spec) error {
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		return fmt.Errorf("try the kernel's GRE: %w", err)
	}
	defer func() { _ = namespace.Close() }()
	link := newLink(spec)
	if err := link.Add(namespace, namespace); err != nil {
		return fmt.Errorf("try the kernel's GRE: %w", explainMissing(err, link.Kind))
	}
	return nil
}

// explainMissing says what a kernel without this kind lacks, and what would do.
func explainMissing(err error, kind string) error {
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	option, module := "CONFIG_NET_IPGRE", "ip_gre"
	if kind == "ip6gre" {
		option, module = "CONFIG_IPV6_GRE", "ip6_gre"
	}
	return fmt.Errorf("%w: %w: this kernel lacks %s (module %s, which needs module gre of CONFIG_NET_IPGRE_DEMUX; "+
		"some distributions package it apart: linux-modules-extra, kernel-modules); "+
		"driver esp works without it, and driver clear measures the same path without a tunnel",
		tunnel.ErrNotSupported, err, option, module)
}

// explainExisting says what stands in the way of a tunnel that is refused because
// it is there already.
func explainExisting(err error, spec tunnel.Spec) error {
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	return fmt.Errorf("%w: this host has an interface of that name, or a GRE tunnel to %s with key %d: open another session, which draws other keys",
		err, spec.Remote.Outer.Addr(), spec.Local.SPI)
}
