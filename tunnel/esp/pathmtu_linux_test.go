package esp_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
)

// The outer interface's MTU falls below what the tunnel needs: who sends inside is
// told what still passes, and that does. When it rises again, all does.
func TestPathMTU(t *testing.T) {
	const narrow = 1400
	eachCarrier(t, func(t *testing.T, spec tunnel.Spec, outer overhead.IPVersion) {
		added, err := overhead.ESP(spec.Suite, spec.Encapsulation, outer)
		if err != nil {
			t.Fatal(err)
		}
		want := int(added.TunnelMTU(narrow))
		link := tunneltest.NewLink(t, tunneltest.PathMTU)
		pair := link.OpenPair(t, esp.Driver{}, spec, outer == overhead.IPv6, t.Name())
		for _, version := range versions {
			t.Run(fmt.Sprintf("IPv%d inside", version), func(t *testing.T) {
				left, right := inside(t, pair, version)
				headers := map[overhead.IPVersion]int{overhead.IPv4: 20 + 8, overhead.IPv6: 40 + 8}[version]

				link.Left.SetMTU(t, narrow)
				discover(t, left, version, unix.IP_PMTUDISC_DO)
				writeUntilTooLong(t, left, spec.MTU-headers)
				if got := socketMTU(t, left, version); got != want {
					t.Errorf("the sender has learned MTU %d, want %d", got, want)
				}
				pass(t, left, right, want-headers)

				link.Left.SetMTU(t, tunneltest.PathMTU)
				discover(t, left, version, unix.IP_PMTUDISC_PROBE) // Does not wait for what it has learned to expire.
				pass(t, left, right, spec.MTU-headers)
			})
		}
	})
}

// discover has a socket forbid fragments, in one way or another: the values are the
// same for both IP versions.
func discover(t *testing.T, socket *net.UDPConn, version overhead.IPVersion, how int) {
	t.Helper()
	control(t, socket, func(fd int) error {
		if version == overhead.IPv6 {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, how)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, how)
	})
}

func socketMTU(t *testing.T, socket *net.UDPConn, version overhead.IPVersion) (mtu int) {
	t.Helper()
	control(t, socket, func(fd int) (err error) {
		if version == overhead.IPv6 {
			mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU)
		} else {
			mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
		}
		return err
	})
	return mtu
}

// writeUntilTooLong sends until the kernel says that packets of that length do not
// pass: the first is lost, the next is answered.
func writeUntilTooLong(t *testing.T, socket *net.UDPConn, length int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := socket.Write(make([]byte, length)); errors.Is(err, unix.EMSGSIZE) {
			return
		}
	}
	t.Fatal("the sender is not told that its packets are too long")
}

// pass sends until a datagram arrives. Answers to earlier ones may still come in, and
// are reported once each; and the tunnel does not look at once whether the path takes
// more again.
func pass(t *testing.T, from, to *net.UDPConn, length int) {
	t.Helper()
	got := make([]byte, length+1)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if _, err := from.Write(make([]byte, length)); err != nil && !errors.Is(err, unix.EMSGSIZE) {
			t.Fatalf("send %d bytes: %v", length, err)
		}
		if err := to.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := to.Read(got); err == nil && n == length {
			return
		}
	}
	t.Fatalf("%d bytes do not pass", length)
}

// A stranger in the outer network forges "fragmentation needed": the kernel believes
// it, the tunnel does not.
func TestForgedPathMTU(t *testing.T) {
	const forged = 1280
	eachCarrier(t, func(t *testing.T, spec tunnel.Spec, outer overhead.IPVersion) {
		link := tunneltest.NewLink(t, tunneltest.PathMTU)
		pair := link.OpenPair(t, esp.Driver{}, spec, outer == overhead.IPv6, t.Name())
		left, right := inside(t, pair, overhead.IPv4)
		capture := tunneltest.NewCapture(t, link.Left.Outer)
		pass(t, left, right, spec.MTU-28)

		frames := unicast(capture.Sent(t))
		forge(t, link, frames[0][14:], forged)
		near, far := netip.AddrPortFrom(link.Left.Addr4, 1), netip.AddrPortFrom(link.Right.Addr4, 1)
		if outer == overhead.IPv6 {
			near, far = netip.AddrPortFrom(link.Left.Addr6, 1), netip.AddrPortFrom(link.Right.Addr6, 1)
		}
		victim := tunneltest.Dial(t, link.Left.Outer, near, far)
		if got := socketMTU(t, victim, outer); got != forged {
			t.Fatalf("another socket has MTU %d: nothing was forged", got)
		}

		for range 3 {
			pass(t, left, right, spec.MTU-28)
		}
		counters, err := pair.Left.Counters()
		if err != nil || counters.SendRefused != 0 {
			t.Errorf("refused %d packets: %v", counters.SendRefused, err)
		}
	})
}

// forge answers one of the left site's packets as a router would.
func forge(t *testing.T, link *tunneltest.Link, packet []byte, mtu uint32) {
	t.Helper()
	network, from, to := "ip4:1", link.Right.Addr4, link.Left.Addr4
	message := []byte{3, 4, 0, 0} // RFC 792.
	if packet[0]>>4 == 6 {
		network, from, to = "ip6:58", link.Right.Addr6, link.Left.Addr6
		message = []byte{2, 0, 0, 0} // RFC 4443, Section 3.2; the kernel adds the checksum.
	}
	message = append(binary.BigEndian.AppendUint32(message, mtu), packet[:500]...)
	if network == "ip4:1" {
		sum := 0
		for i, b := range message {
			sum += int(b) << (8 * (1 - i%2))
		}
		binary.BigEndian.PutUint16(message[2:], ^uint16(sum%0xffff)) // RFC 1071.
	}
	err := link.Right.Outer.Do(func() error {
		socket, err := net.DialIP(network, &net.IPAddr{IP: from.AsSlice()}, &net.IPAddr{IP: to.AsSlice()})
		if err != nil {
			return err
		}
		defer socket.Close()
		_, err = socket.Write(message)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
