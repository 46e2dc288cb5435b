package lab

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// port is one end of a veth pair: all that its interface gets.
type port struct {
	name   string
	mac    net.HardwareAddr
	v4, v6 netip.Prefix
}

// leg is the half of a link between one of its sites and its middle.
type leg struct {
	site   string
	far    string // the site at the link's other end
	outer  port   // in the site
	middle port   // in the link's middle
	// way is the port by which the middle sends to the site: middle itself or, where
	// the link has a WAN, that of the WAN, which leads to wanEnd.
	way, wanEnd port
}

// legs plans the two halves of link number i.
func legs(i int, link Link) [2]leg {
	half := func(side int) leg {
		site, far := link.Between[side], link.Between[1-side]
		l := leg{
			site:   site,
			far:    far,
			outer:  newPort("to-"+far, i, side, 1),
			middle: newPort("to-"+site, i, side, 2),
		}
		l.way = l.middle
		if link.WAN.changes() {
			l.way, l.wanEnd = wanPorts(l.middle, side)
		}
		return l
	}
	return [2]leg{half(0), half(1)}
}

// wanPorts plans the WAN before a port of the middle. It has the port's addresses,
// for the middle's own packets to have them, and what enters it looks like what
// leaves by the port.
func wanPorts(middle port, side int) (way, end port) {
	way = port{
		name: fmt.Sprintf("wan%d", side), mac: middle.mac,
		v4: single(middle.v4.Addr()), v6: single(middle.v6.Addr()),
	}
	mac := slices.Clone(middle.mac)
	mac[len(mac)-1] = 3
	return way, port{name: way.name + "-end", mac: mac}
}

func newPort(name string, link, side int, host byte) port {
	return port{
		name: name,
		// Locally administered: the second bit of the first octet is set.
		mac: net.HardwareAddr{0x02, 't', 'm', byte(link), byte(side), host},
		v4:  address4(2*link+side, host),
		v6:  address6(link, side, host),
	}
}

// own plans what belongs to site number i itself and not to one of its links: the
// network between it and its gateway. A site with several links and no gateway has
// the first address on its loopback.
func own(i int) (site, gateway port) {
	at := func(host byte) port {
		return port{
			name: "lan",
			mac:  net.HardwareAddr{0x02, 't', 'm', 0xff, byte(i), host},
			v4:   address4(firstOwnBlock+i, host),
			v6:   address6(0xff, i, host),
		}
	}
	return at(1), at(2)
}

// address4 returns a host's address in the nth block of four of the
// documentation ranges (RFC 5737, Section 3).
func address4(n int, host byte) netip.Prefix {
	ranges := [...][3]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	const perRange = 256 / 4
	r := ranges[n/perRange]
	last := byte(n%perRange*4) + host
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{r[0], r[1], r[2], last}), 30)
}

// address6 returns a host's address in 2001:db8:link:side::/64 (RFC 3849,
// Section 2).
func address6(link, side int, host byte) netip.Prefix {
	a := [16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: byte(link), 7: byte(side), 15: host}
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// single returns the network that holds one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
