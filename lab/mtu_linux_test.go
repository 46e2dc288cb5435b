package lab_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

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
		blackhole     bool
	}{
		{"IPv4 told", 20 + 8, v4, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, false},
		{"IPv6 told", 40 + 8, v6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, false},
		{"IPv4 blackhole", 20 + 8, v4, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, true},
		{"IPv6 blackhole", 40 + 8, v6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			l := labtest.Build(t, joined(lab.Link{MTU: mtu, ICMPBlackhole: tt.blackhole}))
			e := openEnds(t, l, tt.address)
			setOption(t, e.a, tt.level, tt.option, tt.mode)

			if n := lengthReceived(t, e, mtu-tt.header); n != mtu-tt.header {
				t.Errorf("want a packet of the link's MTU to pass, got %d bytes of payload", n)
			}
			tooLarge := make([]byte, mtu-tt.header+1)
			if _, err := e.a.WriteToUDPAddrPort(tooLarge, peerOf(e.b)); err != nil {
				t.Fatalf("want the first one that is too large sent, got %v", err)
			}
			// The answer to the large one is on its way before the small one is.
			if n := lengthReceived(t, e, 100); n != 100 {
				t.Errorf("want the large one lost and the small one received, got %d bytes", n)
			}
			_, err := e.a.WriteToUDPAddrPort(tooLarge, peerOf(e.b))
			if told := errors.Is(err, unix.EMSGSIZE); told == tt.blackhole {
				t.Errorf("want told of the MTU: %t, got %v", !tt.blackhole, err)
			}
		})
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
