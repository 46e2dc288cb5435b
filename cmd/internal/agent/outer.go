package agent

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/control/controlv1"
)

// listenOuter binds the first free ports of the policy's range on an address of
// this host, one for each tunnel.
func listenOuter(address netip.Addr, ports PortRange, count int) (sockets []*net.UDPConn, last error) {
	for port := int(ports.First); port <= int(ports.Last) && len(sockets) < count; port++ {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, uint16(port))))
		if err != nil {
			last = err
			continue
		}
		sockets = append(sockets, conn)
	}
	if len(sockets) == count {
		return sockets, nil
	}
	free := len(sockets)
	return nil, errors.Join(closeAll(sockets),
		fmt.Errorf("bind %d of the ports %s on %s: %d are free: %w", count, ports, address, free, last))
}

func closeAll(sockets []*net.UDPConn) (failed error) {
	for _, socket := range sockets {
		failed = errors.Join(failed, socket.Close())
	}
	return failed
}

// CheckOuter says whether tunnels could arrive where the policy lets them: whether
// the address is this machine's and one of the ports is free. Learning that at the
// start is better than with the first session.
func (p Policy) CheckOuter() error {
	sockets, err := listenOuter(p.Outer, p.Ports, 1)
	if err != nil {
		return fmt.Errorf("%w; give an address of this machine by --outer, and free ports by --ports", err)
	}
	return closeAll(sockets)
}

// drawSPI gives a tunnel an SPI that is neither reserved nor taken by those before it.
func drawSPI(end *control.TunnelEnd, before []control.TunnelEnd) {
	var random [4]byte
	for end.SPI < firstSPI || slices.ContainsFunc(before, end.SharesSPIs) {
		_, _ = rand.Read(random[:]) // crypto/rand never fails.
		end.SPI = binary.BigEndian.Uint32(random[:])
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
