package esp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
)

var (
	carriers = []tunnel.Encapsulation{tunnel.UDP, tunnel.Raw}
	versions = []overhead.IPVersion{overhead.IPv4, overhead.IPv6}
)

// eachCarrier runs a test over every outer IP version, in UDP and raw.
func eachCarrier(t *testing.T, test func(*testing.T, tunnel.Spec, overhead.IPVersion)) {
	eachCarrierOf(t, tunnel.AES128GCM, test)
}

func eachCarrierOf(t *testing.T, suite tunnel.Suite, test func(*testing.T, tunnel.Spec, overhead.IPVersion)) {
	for _, carrier := range carriers {
		for _, outer := range versions {
			t.Run(fmt.Sprintf("%s over IPv%d", carrier, outer), func(t *testing.T) {
				test(t, template(t, suite, carrier, outer), outer)
			})
		}
	}
}

// inside returns sockets at both ends of a tunnel, of one inner IP version.
func inside(t *testing.T, pair *tunneltest.Pair, version overhead.IPVersion) (left, right *net.UDPConn) {
	t.Helper()
	const port = 5000
	local, remote := pair.Left.Spec.Local.Inner4, pair.Left.Spec.Remote.Inner4
	if version == overhead.IPv6 {
		local, remote = pair.Left.Spec.Local.Inner6, pair.Left.Spec.Remote.Inner6
	}
	near, far := netip.AddrPortFrom(local, port), netip.AddrPortFrom(remote, port)
	return tunneltest.Dial(t, pair.Left.Path().Namespace, near, far), tunneltest.Dial(t, pair.Right.Path().Namespace, far, near)
}

// control does something to a socket's descriptor.
func control(t *testing.T, socket *net.UDPConn, f func(fd int) error) {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// setClass makes a socket send with a traffic class.
func setClass(t *testing.T, socket *net.UDPConn, version overhead.IPVersion, class int) {
	t.Helper()
	control(t, socket, func(fd int) error {
		if version == overhead.IPv6 {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, class)
	})
}

// receiveClass reads one datagram and the traffic class of its inner packet.
func receiveClass(t *testing.T, socket *net.UDPConn, version overhead.IPVersion) int {
	t.Helper()
	control(t, socket, func(fd int) error {
		if version == overhead.IPv6 {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
	})
	data, beside := make([]byte, 2000), make([]byte, 100)
	if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, n, _, _, err := socket.ReadMsgUDP(data, beside)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	messages, err := unix.ParseSocketControlMessage(beside[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages: %v", len(messages), err)
	}
	return int(messages[0].Data[0])
}

// unicast are the frames to one host: IPv6 tells its groups now and then what it
// listens to.
func unicast(frames [][]byte) (some [][]byte) {
	const group = 1 // Of the first byte of an Ethernet address.
	for _, frame := range frames {
		if frame[0]&group == 0 {
			some = append(some, frame)
		}
	}
	return some
}

// outerClass reads the traffic class of an Ethernet frame.
func outerClass(frame []byte) int {
	packet := frame[14:]
	if packet[0]>>4 == 6 {
		return int(binary.BigEndian.Uint16(packet)>>4) & 0xff
	}
	return int(packet[1])
}

// DSCP and ECN of the inner packet are those of the outer one, and arrive.
func TestTrafficClass(t *testing.T) {
	classes := []int{0, 0, 46<<2 | 2, 46<<2 | 2, 46<<2 | 1, 3, 0}
	eachCarrier(t, func(t *testing.T, spec tunnel.Spec, outer overhead.IPVersion) {
		link := tunneltest.NewLink(t, tunneltest.PathMTU)
		pair := link.OpenPair(t, esp.Driver{}, spec, outer == overhead.IPv6, t.Name())
		for _, version := range versions {
			left, right := inside(t, pair, version)
			capture := tunneltest.NewCapture(t, link.Left.Outer)
			var outside, arrived []int
			for _, class := range classes {
				setClass(t, left, version, class)
				if _, err := left.Write(make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				arrived = append(arrived, receiveClass(t, right, version))
			}
			for _, frame := range unicast(capture.Sent(t)) {
				outside = append(outside, outerClass(frame))
			}
			if diff := cmp.Diff(classes, outside); diff != "" {
				t.Errorf("IPv%d, classes outside (-want +got):\n%s", version, diff)
			}
			if diff := cmp.Diff(classes, arrived); diff != "" {
				t.Errorf("IPv%d, classes that arrive (-want +got):\n%s", version, diff)
			}
		}
	})
}

// What leaves is never fragmented on its way: IPv4 says so, IPv6 means it.
func TestForbidsFragments(t *testing.T) {
	eachCarrier(t, func(t *testing.T, spec tunnel.Spec, outer overhead.IPVersion) {
		link := tunneltest.NewLink(t, tunneltest.PathMTU)
		pair := link.OpenPair(t, esp.Driver{}, spec, outer == overhead.IPv6, t.Name())
		capture := tunneltest.NewCapture(t, link.Left.Outer)
		left, right := pair.DialPath(t)
		if _, err := left.Write(make([]byte, spec.MTU-28)); err != nil {
			t.Fatal(err)
		}
		receiveClass(t, right, overhead.IPv4)
		frames := unicast(capture.Sent(t))
		if len(frames) != 1 {
			t.Fatalf("%d frames, want one", len(frames))
		}
		packet, protocol := frames[0][14:], byte(unix.IPPROTO_UDP)
		if spec.Encapsulation == tunnel.Raw {
			protocol = unix.IPPROTO_ESP
		}
		flags, next := packet[6]&0x40, packet[9]
		if outer == overhead.IPv6 {
			flags, next = 0x40, packet[6]
		}
		if flags == 0 || next != protocol {
			t.Errorf("flags %#x, protocol %d, want DF and %d", flags, next, protocol)
		}
	})
}

// Tunnels between the same two addresses share IP protocol 50. None counts another's
// packets, in whatever way, nor wakes up for them.
func TestRawBesideRaw(t *testing.T) {
	for _, outer := range versions {
		t.Run(fmt.Sprintf("over IPv%d", outer), func(t *testing.T) {
			link := tunneltest.NewLink(t, tunneltest.PathMTU)
			spec := template(t, tunnel.AES128GCM, tunnel.Raw, outer)
			first := link.OpenPair(t, esp.Driver{}, spec, outer == overhead.IPv6, "first")
			second := openBeside(t, link, first)
			left, right := first.DialPath(t)
			const packets = 100
			for range packets {
				if _, err := left.Write(make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				receiveClass(t, right, overhead.IPv4)
			}
			if err := second.Close(); err != nil { // All that it had queued is counted.
				t.Fatal(err)
			}
			expectCounted(t, "first", first.Right, tunnel.Counters{InPackets: packets, InInnerBytes: packets * 128})
			expectCounted(t, "second", second, tunnel.Counters{})
		})
	}
}

// openBeside opens another right half: with another port, other SPIs, and an inner
// namespace of its own.
func openBeside(t *testing.T, link *tunneltest.Link, beside *tunneltest.Pair) tunnel.Tunnel {
	t.Helper()
	spec := beside.Right.Spec
	spec.Local.Outer = netip.AddrPortFrom(spec.Local.Outer.Addr(), 4501)
	spec.Remote.Outer = netip.AddrPortFrom(spec.Remote.Outer.Addr(), 4501)
	spec.Local.SPI, spec.Remote.SPI = 0x20002002, 0x10001001
	inner, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	var socket *net.UDPConn
	err = link.Right.Outer.Do(func() (err error) {
		socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(spec.Local.Outer))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := tunneltest.Keys("second")
	half, err := esp.Driver{}.Open(context.Background(), spec, keys, tunnel.Place{Outer: link.Right.Outer, Inner: inner, Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = half.Close() })
	return half
}

func expectCounted(t *testing.T, name string, half tunnel.Tunnel, want tunnel.Counters) {
	t.Helper()
	got, err := half.Counters()
	for end := time.Now().Add(10 * time.Second); err == nil && got != want && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // A loop counts a moment after a packet has reached its reader.
		got, err = half.Counters()
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: counters (-want +got):\n%s", name, diff)
	}
}

// Without CAP_NET_RAW, Check says what is missing and what does without.
func TestRawNeedsCapability(t *testing.T) {
	labtest.NeedRoot(t)
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	for _, outer := range versions {
		spec, _ := link.Specs(template(t, tunnel.AES128GCM, tunnel.Raw, outer), outer == overhead.IPv6)
		if err := (esp.Driver{}).Check(spec); err != nil {
			t.Errorf("with it: %v", err)
		}
		err := withoutCapability(unix.CAP_NET_RAW, func() error { return esp.Driver{}.Check(spec) })
		if !errors.Is(err, tunnel.ErrNotSupported) || !errors.Is(err, os.ErrPermission) || !bytes.Contains([]byte(err.Error()), []byte("CAP_NET_RAW")) {
			t.Errorf("without it: got %v, want an error that wraps %v and names it", err, tunnel.ErrNotSupported)
		}
	}
}

// withoutCapability runs f on a thread that lacks it, which is discarded.
func withoutCapability(capability int, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		if err == nil {
			data[capability/32].Effective &^= 1 << (capability % 32)
			err = unix.Capset(&header, &data[0])
		}
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}
