package probetest

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// Connect opens a socket at local that is connected to remote, for the rest of the test.
func Connect(t testing.TB, local, remote string) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", Address(local), Address(remote))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Address reads an address with a port.
func Address(s string) *net.UDPAddr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// Pair opens two sockets that are connected to each other, over IPv4 or IPv6.
func Pair(t testing.TB, ip string) (a, b *net.UDPConn) {
	t.Helper()
	atA, atB := net.JoinHostPort(ip, "5001"), net.JoinHostPort(ip, "5002")
	return Connect(t, atA, atB), Connect(t, atB, atA)
}

// RelayedPair opens two sockets with a relay's sockets between them: a is connected to
// near, and far to b.
func RelayedPair(t testing.TB) (a, near, b, far *net.UDPConn) {
	t.Helper()
	const atA, atNear, atB, atFar = "127.0.0.1:5001", "127.0.0.1:5002", "127.0.0.1:5003", "127.0.0.1:5004"
	return Connect(t, atA, atNear), Connect(t, atNear, atA), Connect(t, atB, atFar), Connect(t, atFar, atB)
}

// Forward hands on what comes, valid until to returns, and whence, until conn is closed.
func Forward(conn *net.UDPConn, to func(d []byte, from netip.AddrPort)) {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			to(buffer[:n], from)
		}
	}
}
