package lab_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// A packet that is larger than the link is answered by the middle, as by any
// router, or by nobody.
func TestTooLargePackets(t *testing.T) {
	const mtu = 1400
	tests := []struct {
		name          string
		header        int
		address       func(lab.Addresses) netip.Addr
		level, option int
		mode          int
		link          lab.Link
	}{
		{"IPv4 told", 20 + 8, v4, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, lab.Link{}},
		{"IPv6 told", 40 + 8, v6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, lab.Link{}},
		{"IPv6 told although DF is cleared", 40 + 8, v6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, lab.Link{ClearDF: true}},
		{"IPv4 blackhole", 20 + 8, v4, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, lab.Link{ICMPBlackhole: true}},
		{"IPv6 blackhole", 40 + 8, v6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, lab.Link{ICMPBlackhole: true}},
		{"IPv4 told over a WAN", 20 + 8, v4, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, lab.Link{WAN: aWAN}},
		{"IPv6 told over a WAN", 40 + 8, v6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, lab.Link{WAN: aWAN}},
		{"IPv4 blackhole over a WAN", 20 + 8, v4, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, lab.Link{ICMPBlackhole: true, WAN: aWAN}},
		{"IPv6 blackhole over a WAN", 40 + 8, v6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, lab.Link{ICMPBlackhole: true, WAN: aWAN}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			tt.link.MTU = mtu
			l := labtest.Build(t, joined(tt.link))
			e := openEnds(t, l, tt.address)
			setOption(t, e.a, tt.level, tt.option, tt.mode)

			if n := lengthReceived(t, e, mtu-tt.header); n != mtu-tt.header {
				t.Errorf("want a packet of the link's MTU to pass, got %d bytes of payload", n)
			}
			tooLarge := make([]byte, mtu-tt.header+1)
			if _, err := e.a.WriteToUDPAddrPort(tooLarge, peerOf(e.b)); err != nil {
				t.Fatalf("want the first one that is too large sent, got %v", err)
			}
			if n := lengthReceived(t, e, 100); n != 100 {
				t.Errorf("want the large one lost and the small one received, got %d bytes", n)
			}
			exchange(t, e.b, e.a) // The answer to the large one is on the same way, before.
			_, err := e.a.WriteToUDPAddrPort(tooLarge, peerOf(e.b))
			if told := errors.Is(err, unix.EMSGSIZE); told == tt.link.ICMPBlackhole {
				t.Errorf("want told of the MTU: %t, got %v", !tt.link.ICMPBlackhole, err)
			}
		})
	}
}

// aWAN is one that only this process can be.
var aWAN = lab.WAN{Delay: time.Millisecond, Jitter: time.Millisecond}

// A bad gateway fragments although it must not. What fits keeps its header.
func TestClearDF(t *testing.T) {
	const mtu, header = 1400, 20 + 8
	for name, wan := range map[string]lab.WAN{"plain": {}, "over a WAN": aWAN} {
		t.Run(name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			l := labtest.Build(t, joined(lab.Link{MTU: mtu, ClearDF: true, WAN: wan}))
			e := openEnds(t, l, v4)
			setOption(t, e.a, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
			tap := openTap(t, l, "b")
			for _, payload := range []int{mtu - header, mtu - header + 1, 1500 - header} {
				if n := lengthReceived(t, e, payload); n != payload {
					t.Errorf("want %d bytes of payload received, got %d", payload, n)
				}
			}
			// Fragments but the last hold a multiple of 8 bytes (RFC 791, Section 3.1).
			const most = 20 + (mtu-20)/8*8
			var got []ipHeader
			for range 5 {
				h := nextHeader(t, tap)
				h.identification = 0
				got = append(got, h)
			}
			want := []ipHeader{
				{length: mtu, dontFragment: true},
				{length: most, more: true}, {length: 20 + mtu + 1 - most},
				{length: most, more: true}, {length: 20 + 1500 - most},
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(ipHeader{})); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
		})
	}
}

// Fragments can be told from those of other packets, though packets that must not be
// fragmented have no identification.
func TestClearDFIdentifies(t *testing.T) {
	labtest.CheckLeaks(t)
	l := labtest.Build(t, joined(lab.Link{MTU: 1400, ClearDF: true}))
	e := openEnds(t, l, v4)
	setOption(t, e.a, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	tap := openTap(t, l, "b")
	seen := make(map[uint16]int)
	const packets = 8
	for range packets {
		lengthReceived(t, e, 1450)
		seen[nextHeader(t, tap).identification]++
		seen[nextHeader(t, tap).identification]++
	}
	if len(seen) < packets-1 { // Two of them may be the same by chance.
		t.Errorf("want %d packets told apart, got the identifications %v", packets, seen)
	}
}

// ipHeader is what TestClearDF looks at.
type ipHeader struct {
	length             int
	identification     uint16
	dontFragment, more bool
}

// openTap hears what arrives in a site.
func openTap(t *testing.T, l *lab.Lab, site string) *os.File {
	t.Helper()
	var socket int
	err := l.Do(site, func() (err error) {
		protocol := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)))
		socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tap := os.NewFile(uintptr(socket), "tap")
	t.Cleanup(func() { tap.Close() })
	if err := tap.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return tap
}

func nextHeader(t *testing.T, tap *os.File) ipHeader {
	t.Helper()
	packet := make([]byte, 2000)
	if n, err := tap.Read(packet); err != nil || n < 20 {
		t.Fatalf("read a packet: %d bytes, %v", n, err)
	}
	flags := binary.BigEndian.Uint16(packet[6:])
	return ipHeader{
		length:         int(binary.BigEndian.Uint16(packet[2:])),
		identification: binary.BigEndian.Uint16(packet[4:]),
		dontFragment:   flags&(1<<14) != 0, more: flags&(1<<13) != 0,
	}
}

func setOption(t *testing.T, conn *net.UDPConn, level, option, value int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var setErr error
	if err := raw.Control(func(fd uintptr) { setErr = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		t.Fatal(err)
	}
	if setErr != nil {
		t.Fatal(setErr)
	}
}

// lengthReceived sends a payload from a and returns the length of the next that b
// receives.
func lengthReceived(t *testing.T, e ends, payload int) int {
	t.Helper()
	if _, err := e.a.WriteToUDPAddrPort(make([]byte, payload), peerOf(e.b)); err != nil {
		t.Fatal(err)
	}
	if err := e.b.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := e.b.Read(make([]byte, 2000))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
