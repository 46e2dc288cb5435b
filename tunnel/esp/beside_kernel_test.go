//go:build kernel

package esp_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/xfrm"
)

// Our ESP at one end and the kernel's at the other understand each other: every
// suite, with sequence numbers of 64 and of 32 bits.
func TestKernelUnderstands(t *testing.T) {
	for _, suite := range tunnel.Suites() {
		for _, noESN := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, no ESN %t", suite, noESN), func(t *testing.T) {
				spec := template(t, suite, tunnel.UDP, overhead.IPv4)
				spec.NoESN, spec.ReplayWindow = noESN, 4096
				link := tunneltest.NewLink(t, tunneltest.PathMTU)
				pair := link.OpenPairOf(t, esp.Driver{}, xfrm.Driver{Form: xfrm.Interface}, spec, false, t.Name())
				left, right := pair.DialPath(t)
				for _, size := range []int{spec.MTU, spec.MTU - 1, 28, 29, 100} {
					carry(t, left, right, size-28)
					carry(t, right, left, size-28)
				}
				volume := int64(1e6) // In bytes, each way. The guest is slow: one suite carries more.
				if suite == tunnel.AES128GCM && !noESN {
					volume = 10e6
				}
				transfer(t, pair.Left.Path(), pair.Right.Path(), volume)
				transfer(t, pair.Right.Path(), pair.Left.Path(), volume)
				expectNoLoss(t, pair.Left)
			})
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
func transfer(t *testing.T, from, to tunnel.Path, volume int64) {
	t.Helper()
	var listener net.Listener
	err := to.Namespace.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(to.Local.Addr(), 0).String())
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
	err = from.Namespace.Do(func() (err error) {
		connection, err = net.DialTimeout("tcp", listener.Addr().String(), 10*time.Second)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	hash := sha256.New()
	deadline := connection.SetDeadline(time.Now().Add(time.Minute))
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
