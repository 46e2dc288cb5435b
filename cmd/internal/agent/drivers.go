package agent

import (
	"maps"
	"net"
	"net/netip"
	"slices"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/clear"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
)

// Drivers is the one table of drivers.
func Drivers() map[string]tunnel.Driver {
	return map[string]tunnel.Driver{
		"esp":   esp.Driver{},
		"clear": clear.Driver{},
	}
}

// The inner addresses of a session, by role: from the benchmarking ranges
// (RFC 2544, Appendix C.2.2; RFC 5180, Section 8). Sessions have a namespace
// each, so all can use the same.
var innerAddresses = map[controlv1.Role][2]netip.Addr{
	controlv1.Role_ROLE_INITIATOR: {netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:2::1")},
	controlv1.Role_ROLE_RESPONDER: {netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("2001:2::2")},
}

// encrypts says whether a driver has SAs and inner networks of its own.
func encrypts(driver string) bool { return driver == "esp" }

// specOf makes one half's spec out of both offers.
func specOf(mine, theirs *control.Offer) (tunnel.Spec, error) {
	spec := tunnel.Spec{
		Suite: mine.Suite, Encapsulation: mine.Encapsulation,
		Local: endOf(mine), Remote: endOf(theirs),
	}
	added := overhead.Clear()
	if encrypts(mine.Driver) {
		version := overhead.IPv6
		if mine.Outer.Addr().Is4() {
			version = overhead.IPv4
		}
		var err error
		if added, err = overhead.ESP(mine.Suite, mine.Encapsulation, version); err != nil {
			return spec, err
		}
	}
	spec.MTU = int(added.TunnelMTU(overhead.PathMTU(min(mine.OuterMTU, theirs.OuterMTU))))
	if mine.InnerMTU != 0 {
		spec.MTU = mine.InnerMTU
	}
	return spec, nil
}

func endOf(offer *control.Offer) tunnel.End {
	end := tunnel.End{Outer: offer.Outer, Inner4: offer.Inner4, Inner6: offer.Inner6}
	if len(offer.SPIs) > 0 {
		end.SPI = offer.SPIs[0]
	}
	return end
}

func pathTo(mine, theirs *control.Offer, spec tunnel.Spec, path tunnel.Path) *controlv1.OpenResponse {
	return &controlv1.OpenResponse{
		InnerMtu:      uint32(path.MTU),
		LocalProbe:    path.Local.String(),
		RemoteProbe:   path.Remote.String(),
		LocalOuter:    mine.Outer.String(),
		RemoteOuter:   theirs.Outer.String(),
		OuterMtu:      uint32(min(mine.OuterMTU, theirs.OuterMTU)),
		Driver:        mine.Driver,
		Suite:         string(spec.Suite),
		Encapsulation: string(spec.Encapsulation),
	}
}

// outerMTU is that of the interface which has the address, 1500 where none is
// found (an address behind NAT).
func outerMTU(address netip.Addr) int {
	const ethernet = 1500
	interfaces, err := net.Interfaces()
	if err != nil {
		return ethernet
	}
	for _, i := range interfaces {
		addresses, _ := i.Addrs() // One that is just going has none.
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == address {
				return min(i.MTU, 65535) // Loopback's is one more than an IP packet can have.
			}
		}
	}
	return ethernet
}

// describeDrivers says of each driver whether it works here: it is asked to
// check a spec that any machine of its kind could build.
func (a *Agent) describeDrivers() []*controlv1.Driver {
	var all []*controlv1.Driver
	for _, name := range slices.Sorted(maps.Keys(a.drivers)) {
		driver := &controlv1.Driver{Name: name, Supported: a.policy.allows(name), Reason: "the policy does not allow it"}
		if driver.Supported {
			driver.Reason = ""
			if err := a.drivers[name].Check(exampleSpec()); err != nil {
				driver.Supported, driver.Reason = false, err.Error()
			}
		}
		all = append(all, driver)
	}
	return all
}

func exampleSpec() tunnel.Spec {
	end := func(outer, inner4, inner6 string, spi uint32) tunnel.End {
		return tunnel.End{
			Outer: netip.MustParseAddrPort(outer), SPI: spi,
			Inner4: netip.MustParseAddr(inner4), Inner6: netip.MustParseAddr(inner6),
		}
	}
	return tunnel.Spec{
		Suite: tunnel.AES128GCM, Encapsulation: tunnel.UDP, MTU: 1400,
		Local:  end("192.0.2.1:4500", "198.18.0.1", "2001:2::1", firstSPI),
		Remote: end("192.0.2.2:4500", "198.18.0.2", "2001:2::2", firstSPI+1),
	}
}
