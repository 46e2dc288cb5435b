package tcp

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/sockets"
)

// What a load says of its sockets holds at both ends, whatever the family.
func TestControl(t *testing.T) {
	load := Load{Flows: 1, Duration: ms, Congestion: "reno", MSS: 1000, Window: 50_000, DSCP: 46}
	for _, ip := range []string{"127.0.0.1", "::1"} {
		listener := listen(t, load, ip)
		out, err := dialer(load, listener.Addr())(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		in, err := listener.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		for end, conn := range map[string]*net.TCPConn{"sender": out, "receiver": in} {
			assertSocket(t, ip+" "+end, conn, ip == "::1")
		}
	}
}

func assertSocket(t *testing.T, name string, conn *net.TCPConn, v6 bool) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	class := []int{unix.IPPROTO_IP, unix.IP_TOS}
	if v6 {
		class = []int{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}
	}
	if err := sockets.ControlRaw(raw, func(fd int) error {
		for _, option := range []struct {
			name         string
			level, which int
			least, most  int
		}{
			{"the segment size", unix.IPPROTO_TCP, unix.TCP_MAXSEG, 900, 1000}, // Less what options take.
			{"the send buffer", unix.SOL_SOCKET, unix.SO_SNDBUF, 100_000, 100_000},
			{"the receive buffer", unix.SOL_SOCKET, unix.SO_RCVBUF, 100_000, 100_000},
			{"the traffic class", class[0], class[1], 46 << 2, 46 << 2},
		} {
			got, err := unix.GetsockoptInt(fd, option.level, option.which)
			if err != nil || got < option.least || got > option.most {
				t.Errorf("%s: %s is %d (%v), want %d to %d", name, option.name, got, err, option.least, option.most)
			}
		}
		congestion, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if congestion != "reno" {
			t.Errorf("%s: congestion control is %q, want reno", name, congestion)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
