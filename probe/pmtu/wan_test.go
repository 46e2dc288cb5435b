package pmtu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
	"tunnelmark/probe/probetest"
)

// namespaces are those of a lab's sites.
type namespaces interface {
	Do(site string, f func() error) error
}

// wan joins the sites of a lab by TUN devices, and does to the packets between them
// what real paths do.
type wan struct{ lab namespaces }

// leg is what happens to the packets in one direction.
type leg struct {
	mtu      int  // Zero: all sizes pass.
	says     int  // The MTU that ICMP tells of what is too large; zero: no ICMP.
	clearsDF bool // IPv4 packets that are too large are cut up.
	loses    func(size int) bool
	loss     float64
	delay    time.Duration
	clampMSS int // To which a SYN's MSS is lowered.
	sees     func(packet []byte)
}

// tunMTU is of both TUN devices unless a test says otherwise.
const tunMTU = 1500

var sites = map[string]struct{ v4, v6 string }{
	"a": {"198.18.0.1", "2001:2::1"},
	"b": {"198.18.0.2", "2001:2::2"},
}

// newWAN builds the path: there is from a to b.
func newWAN(t *testing.T, there, back leg) *wan { return newWANOf(t, tunMTU, tunMTU, there, back) }

func newWANOf(t *testing.T, mtuA, mtuB int, there, back leg) *wan {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.NeedProgram(t, "ip")
	w := &wan{lab: labtest.Pair(t)}
	a, b := w.tun(t, "a", mtuA), w.tun(t, "b", mtuB)
	var all sync.WaitGroup
	all.Go(func() { there.run(a, b) })
	all.Go(func() { back.run(b, a) })
	t.Cleanup(func() {
		a.Close()
		b.Close()
		all.Wait()
	})
	return w
}

func (w *wan) tun(t *testing.T, site string, mtu int) (device *os.File) {
	t.Helper()
	err := w.lab.Do(site, func() (err error) {
		if device, err = openTUN(); err != nil {
			return err
		}
		for _, line := range []string{
			fmt.Sprintf("link set wan mtu %d up", mtu),
			"addr add " + sites[site].v4 + "/24 dev wan",
			"addr add " + sites[site].v6 + "/64 dev wan nodad",
		} {
			if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", line, err, out)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return device
}

func openTUN() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq("wan")
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), "wan"), nil
}

// sockets opens two that are connected to each other.
func (w *wan) sockets(t *testing.T, ipv6 bool) (a, b *net.UDPConn) {
	t.Helper()
	at := func(site string, port uint16) netip.AddrPort {
		if ipv6 {
			return netip.AddrPortFrom(netip.MustParseAddr(sites[site].v6), port)
		}
		return netip.AddrPortFrom(netip.MustParseAddr(sites[site].v4), port)
	}
	return connect(t, w.lab, "a", at("a", 5001), at("b", 5002)), connect(t, w.lab, "b", at("b", 5002), at("a", 5001))
}

func connect(t *testing.T, l namespaces, site string, local, remote netip.AddrPort) (conn *net.UDPConn) {
	t.Helper()
	err := l.Do(site, func() (err error) {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// delayed is a packet and when it is due.
type delayed struct {
	packet []byte
	at     time.Time
}

// run carries packets until a device is closed. What comes too soon for its delay
// waits in order.
func (l leg) run(from, to *os.File) {
	queue := make(chan delayed, 10_000)
	var all sync.WaitGroup
	all.Go(func() {
		for d := range queue {
			time.Sleep(time.Until(d.at))
			_, _ = to.Write(d.packet)
		}
	})
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			break
		}
		on, back := l.carry(append([]byte(nil), buffer[:n]...))
		for _, packet := range on {
			queue <- delayed{packet, time.Now().Add(l.delay)}
		}
		if back != nil {
			_, _ = from.Write(back)
		}
	}
	close(queue)
	all.Wait()
}

// carry returns what becomes of a packet: what goes on, and what comes back.
func (l leg) carry(packet []byte) (on [][]byte, back []byte) {
	if l.sees != nil {
		l.sees(packet)
	}
	small := len(packet) < 200 // Hellos and answers; they are lost by chance only.
	switch {
	case l.loss > 0 && rand.Float64() < l.loss:
		return nil, nil
	case !small && l.loses != nil && l.loses(len(packet)):
		return nil, nil
	case l.mtu > 0 && len(packet) > l.mtu && l.clearsDF && packet[0]>>4 == 4:
		return fragments(packet, l.mtu), nil
	case l.mtu > 0 && len(packet) > l.mtu && l.says > 0:
		return nil, tooBigAnswer(packet, l.says)
	case l.mtu > 0 && len(packet) > l.mtu:
		return nil, nil
	}
	if l.clampMSS > 0 {
		clampMSS(packet, l.clampMSS)
	}
	return [][]byte{packet}, nil
}

// fragments cuts an IPv4 packet in two (RFC 791, Section 3.2).
func fragments(packet []byte, mtu int) [][]byte {
	const header, more = 20, 0x2000
	cut := (mtu - header) / 8 * 8
	first := append([]byte(nil), packet[:header+cut]...)
	second := append(append([]byte(nil), packet[:header]...), packet[header+cut:]...)
	for _, f := range []struct {
		packet []byte
		offset int
	}{{first, more}, {second, cut / 8}} {
		binary.BigEndian.PutUint16(f.packet[2:], uint16(len(f.packet)))
		binary.BigEndian.PutUint16(f.packet[6:], uint16(f.offset))
		binary.BigEndian.PutUint16(f.packet[10:], 0)
		binary.BigEndian.PutUint16(f.packet[10:], checksum(0, f.packet[:header]))
	}
	return [][]byte{first, second}
}

// tooBigAnswer is what a router answers to a packet that is larger than an MTU:
// RFC 1191, Section 4; RFC 4443, Section 3.2.
func tooBigAnswer(packet []byte, mtu int) []byte {
	quoted := packet[:min(len(packet), 500)]
	if packet[0]>>4 == 4 {
		icmp := append([]byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}, quoted...)
		binary.BigEndian.PutUint16(icmp[2:], checksum(0, icmp))
		ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, unix.IPPROTO_ICMP, 0, 0, 198, 18, 0, 254, 0, 0, 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(icmp)))
		copy(ip[16:], packet[12:16])
		binary.BigEndian.PutUint16(ip[10:], checksum(0, ip))
		return append(ip, icmp...)
	}
	icmp := binary.BigEndian.AppendUint32([]byte{2, 0, 0, 0}, uint32(mtu))
	icmp = append(icmp, quoted...)
	ip := append(make([]byte, 8), netip.MustParseAddr("2001:2::fe").AsSlice()...)
	ip = append(ip, packet[8:24]...)
	ip[0], ip[6], ip[7] = 0x60, unix.IPPROTO_ICMPV6, 64
	binary.BigEndian.PutUint16(ip[4:], uint16(len(icmp)))
	binary.BigEndian.PutUint16(icmp[2:], checksum(pseudoHeader(ip[8:40], unix.IPPROTO_ICMPV6, len(icmp)), icmp))
	return append(ip, icmp...)
}

// clampMSS lowers the MSS of a SYN, as a firewall does, in place.
func clampMSS(packet []byte, mss int) {
	header, addresses := 40, packet[8:40]
	if packet[0]>>4 == 4 {
		header, addresses = 20, packet[12:20]
	}
	if len(packet) < header+24 || !isTCP(packet) || packet[header+13]&2 == 0 {
		return
	}
	tcp := packet[header:]
	// Linux puts the MSS first.
	if tcp[20] == 2 && int(binary.BigEndian.Uint16(tcp[22:])) > mss {
		binary.BigEndian.PutUint16(tcp[22:], uint16(mss))
	}
	binary.BigEndian.PutUint16(tcp[16:], 0)
	binary.BigEndian.PutUint16(tcp[16:], checksum(pseudoHeader(addresses, unix.IPPROTO_TCP, len(tcp)), tcp))
}

func isTCP(packet []byte) bool {
	if packet[0]>>4 == 4 {
		return packet[9] == unix.IPPROTO_TCP
	}
	return packet[6] == unix.IPPROTO_TCP
}

// pseudoHeader is the sum of what a checksum takes from the IP header.
func pseudoHeader(addresses []byte, protocol, length int) uint32 {
	return sum(uint32(protocol+length), addresses)
}

func sum(start uint32, b []byte) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		start += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		start += uint32(b[len(b)-1]) << 8
	}
	return start
}

// checksum is the Internet checksum (RFC 1071).
func checksum(start uint32, b []byte) uint16 {
	s := sum(start, b)
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func testOptions(t testing.TB) Options {
	return Options{Key: probetest.Key(t), Trial: probetest.Trial}
}

// routed opens two sockets with a router of the lab between them, in which it runs ip
// with each of the lines; A and B stand for the sites' addresses.
func routed(t *testing.T, ipv6 bool, lines ...string) (a, b *net.UDPConn) {
	t.Helper()
	labtest.NeedProgram(t, "ip")
	l := labtest.Pair(t)
	address := func(site, peer string) netip.Addr {
		addresses, err := l.Addresses(site, peer)
		if err != nil {
			t.Fatal(err)
		}
		if ipv6 {
			return addresses.V6
		}
		return addresses.V4
	}
	atA, atB := address("a", "b"), address("b", "a")
	for _, line := range lines {
		line = strings.NewReplacer("A", atA.String(), "B", atB.String()).Replace(line)
		ip := exec.Command("ip", strings.Fields(line)...)
		if err := errors.Join(l.StartInMiddle([2]string{"a", "b"}, ip), ip.Wait()); err != nil {
			t.Fatalf("ip %s: %v", line, err)
		}
	}
	forA, forB := netip.AddrPortFrom(atA, 5001), netip.AddrPortFrom(atB, 5002)
	return connect(t, l, "a", forA, forB), connect(t, l, "b", forB, forA)
}
