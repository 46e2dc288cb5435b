//go:build kernel

package gre_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/gre"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/xfrm"
)

// template is the spec with the largest MTU that the suite's link takes.
func template(t *testing.T, outer overhead.IPVersion) tunnel.Spec {
	t.Helper()
	added, err := overhead.GRE(outer, true)
	if err != nil {
		t.Fatal(err)
	}
	return tunnel.Spec{MTU: int(added.TunnelMTU(tunneltest.PathMTU))}
}

func guardedTemplate(t *testing.T, encapsulation tunnel.Encapsulation, outer overhead.IPVersion) tunnel.Spec {
	t.Helper()
	spec := tunnel.Spec{Suite: tunnel.AES128GCM, Encapsulation: encapsulation, Lifetime: time.Hour}
	added, err := overhead.GREOverESP(spec.Suite, encapsulation, outer)
	if err != nil {
		t.Fatal(err)
	}
	spec.MTU = int(added.TunnelMTU(tunneltest.PathMTU))
	return spec
}

// loadModules loads the kernel's modules, which give every namespace an unused
// interface of their own (gre0, ip6gre0): a test that compares lists of
// interfaces must not be the first to need them. Where the suite runs this test
// again without capabilities, they are there.
func loadModules(t *testing.T) {
	t.Helper()
	for _, spec := range []tunnel.Spec{goodSpec(), over6(goodSpec())} {
		if err := (gre.Driver{}).Check(spec); err != nil && !errors.Is(err, os.ErrPermission) {
			t.Fatal(err)
		}
	}
}

func TestKernelConformance(t *testing.T) {
	loadModules(t)
	for _, outer := range []overhead.IPVersion{overhead.IPv4, overhead.IPv6} {
		t.Run(fmt.Sprintf("over IPv%d", outer), func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver: gre.Driver{},
				Spec:   template(t, outer),
				Outer6: outer == overhead.IPv6,
			})
		})
	}
}

// TestKernelGuardedConformance has ESP of package xfrm, as the agent has.
func TestKernelGuardedConformance(t *testing.T) {
	loadModules(t)
	tests := []struct {
		encapsulation tunnel.Encapsulation
		outer         overhead.IPVersion
	}{
		{tunnel.Raw, overhead.IPv4},
		{tunnel.UDP, overhead.IPv6},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s over IPv%d", test.encapsulation, test.outer), func(t *testing.T) {
			tunneltest.Run(t, tunneltest.Subject{
				Driver:   gre.Driver{Guard: xfrm.Guard{}},
				Spec:     guardedTemplate(t, test.encapsulation, test.outer),
				Outer6:   test.outer == overhead.IPv6,
				Encrypts: true,
			})
		})
	}
}

// TestKernelHeader looks at the bytes on the wire: they are what package overhead
// reckons with.
func TestKernelHeader(t *testing.T) {
	for _, outer := range []overhead.IPVersion{overhead.IPv4, overhead.IPv6} {
		t.Run(fmt.Sprintf("over IPv%d", outer), func(t *testing.T) {
			link := tunneltest.NewLink(t, tunneltest.PathMTU)
			pair := link.OpenPair(t, gre.Driver{}, template(t, outer), outer == overhead.IPv6, "header")
			left, _ := pair.DialPath(t)
			capture := tunneltest.NewCapture(t, link.Left.Outer)
			if _, err := left.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, frame := range capture.Frames(t) {
				got = append(got, describe(frame))
			}
			want := []string{"Don't Fragment, TTL 64, protocol 47, flags 0x2000, protocol 0x0800, key 0x2002, inner 128 bytes"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
		})
	}
}

// describe reads an Ethernet frame with a GRE packet (RFC 791, Section 3.1; RFC
// 8200, Section 3; RFC 2890, Section 2). IPv6 never lets routers fragment.
func describe(frame []byte) string {
	packet := frame[14:]
	whole, fragment, ttl, protocol := 20, packet[6]&0x40 != 0, packet[8], packet[9]
	if packet[0]>>4 == 6 {
		whole, fragment, ttl, protocol = 40, true, packet[7], packet[6]
	}
	text := fmt.Sprintf("TTL %d, protocol %d, flags 0x%x, protocol 0x%04x, key 0x%x, inner %d bytes", ttl, protocol,
		binary.BigEndian.Uint16(packet[whole:]), binary.BigEndian.Uint16(packet[whole+2:]), binary.BigEndian.Uint32(packet[whole+4:]), len(packet)-whole-8)
	if fragment {
		text = "Don't Fragment, " + text
	}
	return text
}

// TestKernelBesideOthers has a GRE tunnel without keys between the same hosts,
// and two of one session: each gets its own packets only.
func TestKernelBesideOthers(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	addProduction(t, link.Left, link.Right)
	addProduction(t, link.Right, link.Left)
	first := link.OpenPair(t, gre.Driver{}, template(t, overhead.IPv4), false, "first")
	left, right := first.DialPath(t)

	production := [2]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:1000")}
	from := tunneltest.Dial(t, link.Left.Outer, production[0], production[1])
	to := tunneltest.Dial(t, link.Right.Outer, production[1], production[0])
	for range 3 {
		expectArrival(t, left, right)
		expectArrival(t, from, to)
	}
	counters, err := first.Right.Counters()
	if err != nil || counters.InPackets != 3 {
		t.Errorf("ours: got %d packets, %v; want 3", counters.InPackets, err)
	}
	for _, half := range []*tunneltest.Half{first.Left, first.Right} {
		if err := half.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	expectArrival(t, from, to)

	// ESP for all GRE would take production's packets.
	spec, _ := link.Specs(guardedTemplate(t, tunnel.Raw, overhead.IPv4), false)
	_, err = gre.Driver{Guard: xfrm.Guard{}}.Open(context.Background(), spec, nil, place(t, link.Left, link.Left.Inner, spec))
	if !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), "prod0") {
		t.Errorf("guarded: got %v, want an error that wraps %v and names prod0", err, os.ErrExist)
	}
	expectArrival(t, from, to)
}

// addProduction makes a GRE tunnel without keys.
func addProduction(t *testing.T, near, far *tunneltest.Site) {
	t.Helper()
	h := handleAt(t, near.Outer)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "prod0"
	own := &net.IPNet{IP: net.IPv4(10, 0, 0, near.Addr4.As4()[3]), Mask: net.CIDRMask(24, 32)}
	err := h.LinkAdd(&netlink.Gretun{LinkAttrs: attributes, Local: near.Addr4.AsSlice(), Remote: far.Addr4.AsSlice()})
	if err != nil {
		t.Fatalf("add production's tunnel: %v", err)
	}
	link, err := h.LinkByName(attributes.Name)
	if err == nil {
		err = errors.Join(h.AddrAdd(link, &netlink.Addr{IPNet: own}), h.LinkSetUp(link))
	}
	if err != nil {
		t.Fatalf("set up production's tunnel: %v", err)
	}
}

func handleAt(t *testing.T, namespace *tunnel.Namespace) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func expectArrival(t *testing.T, from, to *net.UDPConn) {
	t.Helper()
	if _, err := from.Write([]byte("here")); err != nil {
		t.Fatalf("send: %v", err)
	}
	got := make([]byte, 10)
	n, err := to.Read(got)
	if err != nil || string(got[:n]) != "here" {
		t.Fatalf("receive: got %q, %v", got[:n], err)
	}
}

// TestKernelRefusesTwins: a second tunnel with the same keys is refused, wherever
// its clear side would be, and the first stays.
func TestKernelRefusesTwins(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	pair := link.OpenPair(t, gre.Driver{}, template(t, overhead.IPv4), false, "twins")
	left, right := pair.DialPath(t)
	elsewhere, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = elsewhere.Close() })
	for name, clearSide := range map[string]*tunnel.Namespace{"same namespace": link.Left.Inner, "another namespace": elsewhere} {
		spec := pair.Left.Spec
		spec.Local.Outer = netip.AddrPortFrom(spec.Local.Outer.Addr(), 4501)
		_, err := gre.Driver{}.Open(context.Background(), spec, nil, place(t, link.Left, clearSide, spec))
		if !errors.Is(err, os.ErrExist) {
			t.Errorf("%s: got %v, want an error that wraps %v", name, err, os.ErrExist)
		}
	}
	expectArrival(t, left, right)
}

func place(t *testing.T, site *tunneltest.Site, clearSide *tunnel.Namespace, spec tunnel.Spec) tunnel.Place {
	t.Helper()
	p := tunnel.Place{Outer: site.Outer, Inner: clearSide}
	err := site.Outer.Do(func() (err error) {
		p.Socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(spec.Local.Outer))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
