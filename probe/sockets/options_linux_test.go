package sockets_test

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/probetest"
	"tunnelmark/probe/sockets"
)

// A socket of IPv6 that may carry IPv4 gets the options of both.
func TestOptions(t *testing.T) {
	const size = 50_000
	four := map[int]int{unix.IP_MTU_DISCOVER: unix.IP_PMTUDISC_DO, unix.IP_TOS: 46 << 2}
	six := map[int]int{unix.IPV6_MTU_DISCOVER: unix.IPV6_PMTUDISC_DO, unix.IPV6_DONTFRAG: 1, unix.IPV6_TCLASS: 46 << 2}
	for _, tt := range []struct {
		address string
		want    map[int]map[int]int // By level.
	}{
		{"127.0.0.1:0", map[int]map[int]int{unix.IPPROTO_IP: four}},
		{"[::1]:0", map[int]map[int]int{unix.IPPROTO_IPV6: six}},
		{"[::]:0", map[int]map[int]int{unix.IPPROTO_IP: four, unix.IPPROTO_IPV6: six}},
	} {
		conn, err := net.ListenUDP("udp", probetest.Address(tt.address))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := sockets.Control(conn, func(fd int) error {
			err := errors.Join(sockets.SetDontFragment(fd), sockets.SetDSCP(fd, 46),
				sockets.SetSendBuffer(fd, size), sockets.SetReceiveBuffer(fd, size))
			// The kernel doubles what it is asked for.
			assertOptions(t, fd, unix.SOL_SOCKET, map[int]int{unix.SO_SNDBUF: 2 * size, unix.SO_RCVBUF: 2 * size})
			for level, want := range tt.want {
				assertOptions(t, fd, level, want)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := sockets.CheckConnected(conn); err == nil {
			t.Errorf("%s: got no error, want that it is not connected", tt.address)
		}
	}
}

func assertOptions(t *testing.T, fd, level int, want map[int]int) {
	t.Helper()
	for which, value := range want {
		if got, err := unix.GetsockoptInt(fd, level, which); err != nil || got != value {
			t.Errorf("option %d of level %d is %d (%v), want %d", which, level, got, err, value)
		}
	}
}

func TestPathMTU(t *testing.T) {
	for ip, headers := range map[string]int{"127.0.0.1": 28, "::1": 48} {
		probetest.EnterNetns(t)
		a, _ := probetest.Pair(t, ip)
		if mtu, err := sockets.PathMTU(a); err != nil || mtu < 65535 {
			t.Errorf("%s: the MTU of lo is %d (%v), want 65535 at least", ip, mtu, err)
		}
		if got := sockets.Headers(a); got != headers {
			t.Errorf("%s: headers have %d bytes, want %d", ip, got, headers)
		}
	}
}
