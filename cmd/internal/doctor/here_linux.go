package doctor

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// Here is this machine, as seen by this process in its own network namespace.
// outer is the address on which tunnels arrive; where it is not valid, the one by
// which this machine reaches others is taken. peer is the other end's; where it is
// not valid, no path is looked at. The caller adds ports and per-CPU SAs.
func Here(outer, peer netip.Addr) Host {
	clock := readClock()
	if !outer.IsValid() {
		outer = usualSource()
	}
	host := Host{Files: os.DirFS("/"), Outer: outer, Interface: interfaceOf(outer), Clock: clock}
	if peer.IsValid() {
		host.Path = pathTo(outer, peer)
	}
	return host
}

// usualSource is the address from which this machine would reach the documentation
// ranges (RFC 5737, RFC 3849), which stand for anywhere. Nothing is sent: connecting
// a UDP socket only looks the route up.
func usualSource() netip.Addr {
	for _, anywhere := range []string{"192.0.2.1", "2001:db8::1"} {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(anywhere), discard)))
		if err == nil {
			letGo(conn)
			return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		}
	}
	return netip.Addr{}
}

// discard is the port of RFC 863: no datagram goes there, but a socket needs one.
const discard = 9

// interfaceOf asks the driver of the interface that has an address.
func interfaceOf(address netip.Addr) *Interface {
	if i, found := find(address); found {
		return askDriver(i)
	}
	return nil
}

func find(address netip.Addr) (net.Interface, bool) {
	all, _ := net.Interfaces() // Without a list there is none.
	at := slices.IndexFunc(all, func(i net.Interface) bool { return hasAddress(i, address) })
	if at < 0 {
		return net.Interface{}, false
	}
	return all[at], true
}

func hasAddress(i net.Interface, address netip.Addr) bool {
	addresses, _ := i.Addrs() // One that is just going has none.
	return slices.ContainsFunc(addresses, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == address
	})
}

// askDriver takes what the driver tells; what it does not stays empty.
func askDriver(i net.Interface) *Interface {
	told := &Interface{Name: i.Name, MTU: min(i.MTU, maxPacket), InSys: isInSys(i)}
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return told
	}
	defer tool.Close()
	told.Driver, _ = tool.DriverName(i.Name)
	if features, err := tool.Features(i.Name); err == nil {
		told.Offloads = features
	}
	if link, err := tool.CmdGetMapped(i.Name); err == nil && !slices.Contains(pretenders, told.Driver) {
		told.BitsPerSecond = linkRate(link["Speed"])
	}
	if rings, err := tool.GetRing(i.Name); err == nil {
		told.RxRing, told.RxRingMost = int(rings.RxPending), int(rings.RxMaxPending)
	}
	if counters, err := tool.Stats(i.Name); err == nil {
		maps.DeleteFunc(counters, func(name string, _ uint64) bool { return !strings.HasSuffix(name, "_allowance_exceeded") })
		told.Exceeded = counters
	}
	return told
}

// pretenders are drivers of links that are no wire: they name a rate that means
// nothing.
var pretenders = []string{"veth", "tun", "bridge", "dummy", "ifb"}

// maxPacket is the longest IP packet, in bytes; loopback's MTU is one more.
const maxPacket = 65535

// linkRate reads ethtool's Mbit/s; all bits set mean that nobody knows.
func linkRate(megabits uint64) float64 {
	const unknown16, unknown32 = 0xffff, 0xffffffff
	if megabits == unknown16 || megabits == unknown32 {
		return 0
	}
	return float64(megabits) * 1e6
}

// isInSys says whether sys shows this interface: where it was mounted for another
// namespace, one of the same name may be a stranger.
func isInSys(i net.Interface) bool {
	dir := "/sys/class/net/" + i.Name
	index, errIndex := os.ReadFile(dir + "/ifindex")
	address, errAddress := os.ReadFile(dir + "/address")
	same := strings.TrimSpace(string(index)) == fmt.Sprint(i.Index) &&
		(len(i.HardwareAddr) == 0 || strings.TrimSpace(string(address)) == i.HardwareAddr.String())
	return errIndex == nil && errAddress == nil && same
}

// readClock asks the kernel (adjtimex(2)), changing nothing.
func readClock() *Clock {
	var state unix.Timex
	_, err := unix.Adjtimex(&state)
	if err != nil {
		return nil
	}
	return &Clock{
		Now:          time.Now,
		Began:        time.Now(),
		Synchronised: state.Status&unix.STA_UNSYNC == 0,
		MaxError:     time.Duration(state.Maxerror) * time.Microsecond,
	}
}

// pathTo looks up the route from an address to a peer, by a socket that sends
// nothing.
func pathTo(from, peer netip.Addr) *Path {
	path := &Path{Peer: peer}
	if from.Is4() != peer.Is4() {
		path.Problem = fmt.Sprintf("%s is of another IP version", from)
		return path
	}
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
	if err != nil {
		path.Problem = plain(err)
		return path
	}
	defer letGo(socket)
	mtu, err := tunnel.Place{Socket: socket}.PathMTU(netip.AddrPortFrom(peer, discard))
	if err != nil {
		path.Problem = plain(err)
		return path
	}
	path.MTU = min(mtu, maxPacket)
	// What leaves from an address of the loopback leaves by another interface.
	if i, found := find(from); found && i.Flags&net.FlagLoopback == 0 {
		path.Interface, path.LinkMTU = i.Name, i.MTU
	}
	return path
}

// plain is what the kernel said, without the addresses.
func plain(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
