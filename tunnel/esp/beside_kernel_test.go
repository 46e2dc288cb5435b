//go:build kernel

package esp_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/xfrm"
)

// volume is small by default, because the guest is slow. With 10 MB:
//
//	GUEST_SECONDS=3600 scripts/test-kernel ./tunnel/esp -- -test.run TestKernelUnderstands -test.timeout 1h -volume 10000000
var volume = flag.Int64("volume", 50e3, "bytes of TCP that each tunnel of TestKernelUnderstands carries each way")

// Our ESP at one end and the kernel's at the other understand each other: every
// suite, in UDP and raw, over IPv4 and IPv6, with sequence numbers of 64 and of 32
// bits.
func TestKernelUnderstands(t *testing.T) {
	for _, suite := range tunnel.Suites() {
		for _, noESN := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, no ESN %t", suite, noESN), func(t *testing.T) {
				eachCarrierOf(t, suite, func(t *testing.T, spec tunnel.Spec, outer overhead.IPVersion) {
					spec.NoESN, spec.ReplayWindow = noESN, 4096
					link := tunneltest.NewLink(t, tunneltest.PathMTU)
					pair := link.OpenPairOf(t, esp.Driver{}, xfrm.Driver{Form: xfrm.Interface}, spec, outer == overhead.IPv6, t.Name())
					for _, version := range versions {
						understand(t, pair, version)
					}
					expectNoLoss(t, pair.Left)
				})
			})
		}
	}
}

// understand carries pings, datagrams up to full size, and TCP, both ways and by one
// inner version.
func understand(t *testing.T, pair *tunneltest.Pair, version overhead.IPVersion) {
	t.Helper()
	near, far := endOf(pair.Left, version), endOf(pair.Right, version)
	ping(t, near, far.address, 64)
	ping(t, far, near.address, pair.Left.Spec.MTU)
	left, right := inside(t, pair, version)
	headers := map[overhead.IPVersion]int{overhead.IPv4: 20 + 8, overhead.IPv6: 40 + 8}[version]
	for _, size := range []int{pair.Left.Spec.MTU, pair.Left.Spec.MTU - 1, headers, headers + 1, 100} {
		carry(t, left, right, size-headers)
		carry(t, right, left, size-headers)
	}
	transfer(t, near, far, *volume/2)
	transfer(t, far, near, *volume/2)
}

// end is where load goes in or comes out.
type end struct {
	namespace *tunnel.Namespace
	address   netip.Addr
}

func endOf(half *tunneltest.Half, version overhead.IPVersion) end {
	if version == overhead.IPv6 {
		return end{half.Path().Namespace, half.Spec.Local.Inner6}
	}
	return end{half.Path().Namespace, half.Spec.Local.Inner4}
}

// ping sends an echo request that makes an IP packet of size bytes and expects the
// other kernel's answer.
func ping(t *testing.T, from end, to netip.Addr, size int) {
	t.Helper()
	network, protocol, headers := "ip4:1", 1, 20+8
	message := icmp.Message{Type: ipv4.ICMPTypeEcho}
	answer := icmp.Type(ipv4.ICMPTypeEchoReply)
	if to.Is6() {
		network, protocol, headers = "ip6:58", 58, 40+8
		message.Type, answer = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	want := &icmp.Echo{ID: 77, Seq: size, Data: bytes.Repeat([]byte("ping"), size/4)[:size-headers]}
	message.Body = want
	request, err := message.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	var socket *net.IPConn
	err = from.namespace.Do(func() (err error) {
		socket, err = net.DialIP(network, &net.IPAddr{IP: from.address.AsSlice()}, &net.IPAddr{IP: to.AsSlice()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := socket.Write(request); err != nil {
		t.Fatalf("ping %s with %d bytes: %v", to, size, err)
	}
	buffer := make([]byte, 2000)
	for {
		n, _, err := socket.ReadFrom(buffer)
		if err != nil {
			t.Fatalf("ping %s with %d bytes: %v", to, size, err)
		}
		got, err := icmp.ParseMessage(protocol, buffer[:n])
		if err == nil && got.Type == answer {
			if diff := cmp.Diff(want, got.Body); diff != "" {
				t.Errorf("ping %s with %d bytes (-want +got):\n%s", to, size, diff)
			}
			return
		}
	}
}

// carry sends one datagram of recognisable bytes and expects it to arrive.
func carry(t *testing.T, from, to *net.UDPConn, length int) {
	t.Helper()
	want, got := make([]byte, length), make([]byte, length+1)
	for i := range want {
		want[i] = byte(i * 7)
	}
	if _, err := from.Write(want); err != nil {
		t.Fatalf("send %d bytes: %v", length, err)
	}
	if err := to.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := to.Read(got)
	if err != nil {
		t.Fatalf("receive %d bytes: %v", length, err)
	}
	if diff := cmp.Diff(want, got[:n]); diff != "" {
		t.Errorf("%d bytes (-want +got):\n%s", length, diff)
	}
}

// transfer sends that many bytes over TCP and compares checksums.
func transfer(t *testing.T, from, to end, volume int64) {
	t.Helper()
	var listener net.Listener
	err := to.namespace.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(to.address, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	sums := make(chan [sha256.Size]byte, 1)
	go func() {
		defer close(sums)
		if connection, err := listener.Accept(); err == nil {
			defer connection.Close()
			hash := sha256.New()
			_, _ = io.Copy(hash, connection)
			sums <- [sha256.Size]byte(hash.Sum(nil))
		}
	}()
	var connection net.Conn
	err = from.namespace.Do(func() (err error) {
		connection, err = net.DialTimeout("tcp", listener.Addr().String(), 10*time.Second)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	hash := sha256.New()
	deadline := connection.SetDeadline(time.Now().Add(5 * time.Minute))
	_, err = io.CopyN(io.MultiWriter(connection, hash), rand.NewChaCha8([32]byte{}), volume)
	if err := errors.Join(deadline, err, connection.(*net.TCPConn).CloseWrite()); err != nil {
		t.Fatalf("send over TCP: %v", err)
	}
	if got := <-sums; got != [sha256.Size]byte(hash.Sum(nil)) {
		t.Errorf("%d bytes over TCP arrive with another checksum", volume)
	}
}

// expectNoLoss wants no packet of the kernel's to be refused.
func expectNoLoss(t *testing.T, half *tunneltest.Half) {
	t.Helper()
	got, err := half.Counters()
	if err != nil {
		t.Fatal(err)
	}
	want := tunnel.Counters{
		OutPackets: got.OutPackets, OutInnerBytes: got.OutInnerBytes,
		InPackets: got.InPackets, InInnerBytes: got.InInnerBytes,
		OutOverrun: got.OutOverrun, InOverrun: got.InOverrun,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}
