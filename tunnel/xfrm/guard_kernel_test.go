//go:build kernel

package xfrm_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/xfrm"
)

// experiment is an IP protocol that nobody speaks (RFC 3692, Section 2.1).
const experiment = 253

// counted is what Protect returns beside io.Closer.
type counted interface {
	io.Closer
	Counters() (tunnel.Counters, error)
}

func TestKernelGuard(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	for _, encapsulation := range []tunnel.Encapsulation{tunnel.UDP, tunnel.Raw} {
		t.Run(string(encapsulation), func(t *testing.T) { checkGuard(t, link, encapsulation) })
	}
}

func checkGuard(t *testing.T, link *tunneltest.Link, encapsulation tunnel.Encapsulation) {
	left, right := protectBoth(t, link, encapsulation)
	capture := tunneltest.NewCapture(t, link.Left.Outer)
	from, to := rawSocket(t, link.Left), rawSocket(t, link.Right)
	want := []byte("protected by a guard")
	if _, err := from.WriteTo(want, &net.IPAddr{IP: link.Right.Addr4.AsSlice()}); err != nil {
		t.Fatalf("send: %v", err)
	}
	if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	n, _, err := to.ReadFrom(got)
	if err != nil || !bytes.Equal(got[:n], want) {
		t.Fatalf("received %q, %v; want %q", got[:n], err, want)
	}
	for _, frame := range capture.Sent(t) {
		if bytes.Contains(frame, want) {
			t.Error("the packet was sent in clear")
		}
	}
	size := uint64(20 + len(want))
	expectCounted(t, left, tunnel.Counters{OutPackets: 1, OutInnerBytes: size})
	expectCounted(t, right, tunnel.Counters{InPackets: 1, InInnerBytes: size})
}

func expectCounted(t *testing.T, guard counted, want tunnel.Counters) {
	t.Helper()
	got, err := guard.Counters()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, counters (-want +got):\n%s", err, diff)
	}
}

func protectBoth(t *testing.T, link *tunneltest.Link, encapsulation tunnel.Encapsulation) (left, right counted) {
	t.Helper()
	v := variant{xfrm.Transport, tunnel.AES128GCM, encapsulation, overhead.IPv4, false}
	leftSpec, rightSpec := link.Specs(v.spec(t), false)
	leftKeys, rightKeys := tunneltest.Keys("guard")
	protect := func(site *tunneltest.Site, spec tunnel.Spec, keys tunnel.Keys) counted {
		guard, err := xfrm.Guard{}.Protect(context.Background(), spec, keys, place(t, site, spec), experiment)
		if err != nil {
			t.Fatalf("protect: %v", err)
		}
		t.Cleanup(func() {
			if err := guard.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return guard.(counted)
	}
	return protect(link.Left, leftSpec, leftKeys), protect(link.Right, rightSpec, rightKeys)
}

func rawSocket(t *testing.T, site *tunneltest.Site) (socket net.PacketConn) {
	t.Helper()
	err := site.Outer.Do(func() (err error) {
		socket, err = net.ListenPacket(fmt.Sprintf("ip4:%d", experiment), site.Addr4.String())
		return err
	})
	if err != nil {
		t.Fatalf("open raw socket: %v", err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket
}

// Debian's kernel is older than these SAs.
func TestKernelPerCPU(t *testing.T) {
	got, err := xfrm.PerCPU()
	if err != nil || got {
		t.Errorf("got %t, %v; want false on a kernel before 6.13", got, err)
	}
}

func TestKernelDetails(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	pair := variant{xfrm.Interface, tunnel.AES128CBCSHA256, tunnel.UDP, overhead.IPv4, true}.open(t, link)
	got := map[string]string{}
	for _, d := range pair.Left.Tunnel.(tunnel.Detailed).Details() {
		got[d.Name] = d.Value
	}
	for name, want := range map[string]string{"form": "xfrm", "extended sequence numbers": "false", "replay window": "4096 packets", "hard lifetime": "1h0m0s"} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	for _, name := range []string{"kernel cbc(aes)", "kernel hmac(sha256)"} {
		if got[name] == "" || got[name] == "unknown" {
			t.Errorf("%s: got %q, want an implementation; all: %v", name, got[name], got)
		}
	}
}
