//go:build kernel

package xfrm_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/xfrm"
)

// variant is one way to build a tunnel. Together the variants of a test cover
// every form, suite, outer IP version and encapsulation at least once.
type variant struct {
	form          xfrm.Form
	suite         tunnel.Suite
	encapsulation tunnel.Encapsulation
	outer         overhead.IPVersion
	noESN         bool
}

func (v variant) String() string {
	return fmt.Sprintf("%s, %s, %s, IPv%d", v.form, v.suite, v.encapsulation, v.outer)
}

// spec is the template with the largest MTU that the suite's link takes.
func (v variant) spec(t testing.TB) tunnel.Spec {
	t.Helper()
	added := overhead.ESP
	if v.form == xfrm.Transport {
		added = overhead.ESPTransport
	}
	encapsulation, err := added(v.suite, v.encapsulation, v.outer)
	if err != nil {
		t.Fatal(err)
	}
	return tunnel.Spec{
		Suite: v.suite, Encapsulation: v.encapsulation, NoESN: v.noESN,
		MTU: int(encapsulation.TunnelMTU(tunneltest.PathMTU)),
	}
}

func (v variant) open(t *testing.T, link *tunneltest.Link) *tunneltest.Pair {
	t.Helper()
	return link.OpenPair(t, xfrm.Driver{Form: v.form}, v.spec(t), v.outer == overhead.IPv6, v.String())
}

func TestKernelConformance(t *testing.T) {
	variants := []variant{
		{xfrm.Interface, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4, false},
		{xfrm.VTI, tunnel.AES128CBCSHA256, tunnel.Raw, overhead.IPv6, false},
		{xfrm.Policy, tunnel.ChaCha20Poly1305, tunnel.Raw, overhead.IPv4, true},
		{xfrm.Transport, tunnel.AES256GCM, tunnel.UDP, overhead.IPv6, false},
	}
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver: xfrm.Driver{Form: v.form}, Spec: v.spec(t), Outer6: v.outer == overhead.IPv6, Encrypts: true,
			})
		})
	}
}

// Every suite and, among them, every form over each IP version with and without
// UDP encapsulation and ESN.
func TestKernelSuites(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	suites, next := tunnel.Suites(), 0
	for _, form := range []xfrm.Form{xfrm.Interface, xfrm.VTI, xfrm.Policy, xfrm.Transport} {
		for _, outer := range []overhead.IPVersion{overhead.IPv4, overhead.IPv6} {
			for _, encapsulation := range []tunnel.Encapsulation{tunnel.UDP, tunnel.Raw} {
				v := variant{form, suites[next%len(suites)], encapsulation, outer, next%3 == 0}
				next++
				t.Run(v.String(), func(t *testing.T) { checkVariant(t, link, v) })
			}
		}
	}
}

// checkVariant sends the largest packets and a small one both ways.
func checkVariant(t *testing.T, link *tunneltest.Link, v variant) {
	pair := v.open(t, link)
	left, right := pair.DialPath(t)
	headers := 28
	if pair.Left.Path().Local.Addr().Is6() {
		headers = 48
	}
	var want tunnel.Counters
	for _, size := range []int{pair.Left.Path().MTU, pair.Left.Path().MTU - 1, 100} {
		exchange(t, left, right, size-headers)
		exchange(t, right, left, size-headers)
		want.OutPackets++
		want.OutInnerBytes += uint64(size)
	}
	want.InPackets, want.InInnerBytes = want.OutPackets, want.OutInnerBytes
	for _, half := range []*tunneltest.Half{pair.Left, pair.Right} {
		got, err := half.Counters()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("counters (-want +got):\n%s", diff)
		}
		_ = half.Close()
	}
}

// exchange sends one datagram of that many bytes and expects it to arrive.
func exchange(t *testing.T, from, to *net.UDPConn, length int) {
	t.Helper()
	if _, err := from.Write(make([]byte, length)); err != nil {
		t.Fatalf("send %d bytes: %v", length, err)
	}
	if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, err := to.Read(make([]byte, length+1))
	if err != nil || n != length {
		t.Fatalf("receive %d bytes: got %d, %v", length, n, err)
	}
}

// patience is for what takes milliseconds in the guest.
const patience = 10 * time.Second

// eventually calls done until it is true or patience ends.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
