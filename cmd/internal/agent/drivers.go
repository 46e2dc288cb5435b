package agent

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/clear"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/existing"
	"tunnelmark/tunnel/gre"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/strongswan"
	"tunnelmark/tunnel/wireguard"
	"tunnelmark/tunnel/xfrm"
)

// Drivers is the one table of drivers, by the names of package kind.
func Drivers() map[string]tunnel.Driver {
	return map[string]tunnel.Driver{
		kind.ESP:          esp.Driver{},
		"xfrm":            xfrm.Driver{Form: xfrm.Interface},
		"xfrm-vti":        xfrm.Driver{Form: xfrm.VTI},
		"xfrm-policy":     xfrm.Driver{Form: xfrm.Policy},
		"xfrm-transport":  xfrm.Driver{Form: xfrm.Transport},
		"wireguard":       wireguard.Kernel{},
		"wireguard-user":  wireguard.User{},
		"strongswan":      strongswan.Driver{},
		"strongswan-user": strongswan.Driver{UserSpace: true},
		"gre":             gre.Driver{},
		"gre-esp":         gre.Driver{Guard: xfrm.Guard{}},
		kind.Existing:     existing.Driver{},
		kind.Clear:        clear.Driver{},
	}
}

// specOf makes one half's spec out of both offers, for one of the tunnels.
func specOf(mine, theirs *control.Offer, number int, lifetime time.Duration) (tunnel.Spec, error) {
	spec := tunnel.Spec{
		Suite: mine.Suite, Encapsulation: mine.Encapsulation, NoESN: mine.NoESN, ReplayWindow: mine.ReplayWindow,
		Number: number, Lifetime: lifetime,
		Local: endOf(mine, number), Remote: endOf(theirs, number),
		MTU: mine.InnerMTU,
	}
	if spec.MTU != 0 {
		return spec, nil
	}
	k, err := kind.Find(mine.Driver)
	if err != nil {
		return spec, err
	}
	added, err := k.Overhead(mine.Suite, mine.Encapsulation, overhead.VersionOf(mine.Outer))
	spec.MTU = k.InnerMTU(added, overhead.PathMTU(min(mine.OuterMTU, theirs.OuterMTU)))
	return spec, err
}

func endOf(offer *control.Offer, number int) tunnel.End {
	end := offer.Tunnels[number]
	return tunnel.End{
		Outer: netip.AddrPortFrom(offer.Outer, end.Port), SPI: end.SPI,
		Inner4: offer.Inner4, Inner6: offer.Inner6,
	}
}

// innerOf draws an end's inner addresses from the benchmarking ranges (RFC 2544,
// Appendix C.2.2; RFC 5180, Section 8). A policy-based tunnel has no namespace
// of its own, so no two sessions of a host may have the same; the ends cannot
// meet, since each role has half of the range.
func innerOf(role controlv1.Role) (v4, v6 netip.Addr) {
	half := byte(18)
	if role == controlv1.Role_ROLE_RESPONDER {
		half = 19
	}
	var random [12]byte
	_, _ = rand.Read(random[:])                                           // crypto/rand never fails.
	v4 = netip.AddrFrom4([4]byte{198, half, random[0], random[1]&^1 | 2}) // Neither .0 nor .255.
	v6 = netip.AddrFrom16([16]byte{0x20, 0x01, 0x00, 0x02, 0, 0, 0, half,
		random[2], random[3], random[4], random[5], random[6], random[7], random[8], random[9] | 1})
	return v4, v6
}

func pathTo(mine, theirs *control.Offer, spec tunnel.Spec, path tunnel.Path) *controlv1.OpenResponse {
	return &controlv1.OpenResponse{
		InnerMtu:      uint32(path.MTU),
		LocalProbe:    path.Local.String(),
		RemoteProbe:   path.Remote.String(),
		LocalOuter:    spec.Local.Outer.String(),
		RemoteOuter:   spec.Remote.Outer.String(),
		OuterMtu:      uint32(min(mine.OuterMTU, theirs.OuterMTU)),
		Driver:        mine.Driver,
		Suite:         string(spec.Suite),
		Encapsulation: string(spec.Encapsulation),

		LinkBitsPerSecond: linkRate(mine.Outer),
	}
}

// outerMTU is that of the interface which has the address, 1500 where none is
// found (an address behind NAT).
func outerMTU(address netip.Addr) int {
	if i := interfaceOf(address); i != nil {
		return min(i.MTU, 65535) // Loopback's is one more than an IP packet can have.
	}
	const ethernet = 1500
	return ethernet
}

// linkRate is that of the interface which has the address, as its driver says, in
// bit/s; 0 where it is not known.
func linkRate(address netip.Addr) uint64 {
	i := interfaceOf(address)
	if i == nil {
		return 0
	}
	text, err := os.ReadFile(filepath.Join("/sys/class/net", i.Name, "speed"))
	if err != nil {
		return 0 // Interfaces without a link say EINVAL.
	}
	megabits, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || megabits < 0 { // -1 is unknown.
		return 0
	}
	return uint64(megabits) * 1e6
}

// interfaceOf returns the interface that has the address, nil if there is none.
func interfaceOf(address netip.Addr) *net.Interface {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range interfaces {
		addresses, _ := i.Addrs() // One that is just going has none.
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == address {
				return &i
			}
		}
	}
	return nil
}

// localAddress resolves an address of this host, or the name of one of its
// interfaces, through which the peer must then be reached.
func localAddress(word string, want4 bool) (address netip.Addr, through string, err error) {
	if address, err := netip.ParseAddr(word); err == nil {
		return address.Unmap(), "", nil // Binding to it tells whether it is this host's.
	}
	i, err := net.InterfaceByName(word)
	if err != nil {
		return netip.Addr{}, "", fmt.Errorf("local %q is neither an address nor an interface of this host: %w", word, err)
	}
	addresses, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, "", fmt.Errorf("list the addresses of interface %s: %w", word, err)
	}
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Is4() == want4 && !prefix.Addr().IsLinkLocalUnicast() {
			return prefix.Addr(), word, nil
		}
	}
	return netip.Addr{}, "", fmt.Errorf("interface %s has no address of the version of the agent's outer one", word)
}

// describeDrivers says of each driver whether it works here. Only those that are
// to be tried are asked to check a spec that any machine of its kind could build:
// the kernel may load modules for that.
func (a *Agent) describeDrivers(try []string) []*controlv1.Driver {
	var all []*controlv1.Driver
	for _, k := range kind.All() {
		if a.drivers[k.Name] == nil {
			continue
		}
		driver := &controlv1.Driver{Name: k.Name, Supported: a.policy.allows(k.Name), Reason: "the policy does not allow it"}
		if driver.Supported {
			driver.Reason, driver.Tried = "", slices.Contains(try, k.Name)
		}
		if driver.Tried {
			if err := a.checkExample(k); err != nil {
				driver.Supported, driver.Reason = false, err.Error()
			}
		}
		all = append(all, driver)
	}
	return all
}

func (a *Agent) checkExample(k kind.Kind) error {
	suite, encapsulation, err := k.Choose("", "")
	if err != nil {
		return err
	}
	end := func(outer, inner4, inner6 string, spi uint32) tunnel.End {
		return tunnel.End{
			Outer: netip.MustParseAddrPort(outer), SPI: spi,
			Inner4: netip.MustParseAddr(inner4), Inner6: netip.MustParseAddr(inner6),
		}
	}
	return a.drivers[k.Name].Check(tunnel.Spec{
		Suite: suite, Encapsulation: encapsulation, NoESN: k.NoESN, MTU: 1400, Lifetime: a.policy.MaxSession,
		Local:  end("192.0.2.1:4500", "198.18.0.1", "2001:2::1", firstSPI),
		Remote: end("192.0.2.2:4500", "198.18.0.2", "2001:2::2", firstSPI+1),
	})
}
