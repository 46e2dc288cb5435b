//go:build kernel

package xfrm_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
	"tunnelmark/tunnel/xfrm"
)

func handle(t *testing.T, namespace *tunnel.Namespace) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE, unix.NETLINK_XFRM)
	if err != nil {
		t.Fatalf("reach namespace by netlink: %v", err)
	}
	t.Cleanup(h.Close)
	return h
}

// inventory is what a namespace holds of IPsec, and on its loopback interface.
func inventory(t *testing.T, namespace *tunnel.Namespace) (lines []string) {
	t.Helper()
	h := handle(t, namespace)
	states, err := h.XfrmStateList(netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		lines = append(lines, fmt.Sprintf("SA %#x to %s", s.Spi, s.Dst))
	}
	policies, err := h.XfrmPolicyList(netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range policies {
		lines = append(lines, fmt.Sprintf("policy %d from %s to %s", p.Index, p.Src, p.Dst))
	}
	addresses, err := h.AddrList(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: 1}}, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		lines = append(lines, fmt.Sprintf("address %s of lo", a.IPNet))
	}
	routes, err := h.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		lines = append(lines, fmt.Sprintf("route to %s", r.Dst))
	}
	return lines
}

// addStranger sets up what is somebody else's on the left host: an SA from the peer, and
// a policy for the address range that our inner addresses are of.
func addStranger(t *testing.T, link *tunneltest.Link) {
	t.Helper()
	h := handle(t, link.Left.Outer)
	state := &netlink.XfrmState{
		Src: link.Right.Addr4.AsSlice(), Dst: link.Left.Addr4.AsSlice(), Proto: netlink.XFRM_PROTO_ESP,
		Mode: netlink.XFRM_MODE_TUNNEL, Spi: 0x1001, Reqid: 1, ReplayWindow: 32,
		Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 20), ICVLen: 128},
	}
	if err := h.XfrmStateAdd(state); err != nil {
		t.Fatalf("add stranger's SA: %v", err)
	}
	_, everything, _ := net.ParseCIDR("198.18.0.0/15")
	policy := &netlink.XfrmPolicy{
		Src: everything, Dst: everything, Dir: netlink.XFRM_DIR_IN,
		Tmpls: []netlink.XfrmPolicyTmpl{{Src: state.Src, Dst: state.Dst, Proto: state.Proto, Mode: state.Mode, Reqid: 1}},
	}
	if err := h.XfrmPolicyAdd(policy); err != nil {
		t.Fatalf("add stranger's policy: %v", err)
	}
}

// Whatever another program has set up is refused by name where it would be in the
// way, and is as it was afterwards.
func TestKernelBesideStranger(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	addStranger(t, link)
	before := inventory(t, link.Left.Outer)
	tests := []struct {
		form  xfrm.Form
		alter func(*tunnel.Spec)
		want  string // Part of the error; empty: no error.
	}{
		{xfrm.Policy, nil, "from 198.18.0.0/15 to 198.18.0.0/15) is for the same packets as ours"},
		{xfrm.VTI, func(s *tunnel.Spec) { otherSPI(s); ipv6Only(s) }, "1 SAs from 192.0.2.2 to 192.0.2.1, whose packets a VTI would take"},
		{xfrm.Interface, nil, "SPI 0x1001 is in use on this host"},
		{xfrm.Interface, otherSPI, ""},
		{xfrm.Transport, otherSPI, ""},
		{xfrm.Policy, func(s *tunnel.Spec) { otherSPI(s); ipv6Only(s) }, ""},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %s", test.form, test.want), func(t *testing.T) {
			v := variant{test.form, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4, false}
			spec, _ := link.Specs(v.spec(t), false)
			if test.alter != nil {
				test.alter(&spec)
			}
			expectOpen(t, link, test.form, spec, test.want)
			if diff := cmp.Diff(before, inventory(t, link.Left.Outer)); diff != "" {
				t.Errorf("namespace (-before +after):\n%s", diff)
			}
		})
	}
}

func otherSPI(s *tunnel.Spec) { s.Local.SPI++ }

func ipv6Only(s *tunnel.Spec) { s.Local.Inner4, s.Remote.Inner4 = netip.Addr{}, netip.Addr{} }

// expectOpen opens a half at the left and closes it.
func expectOpen(t *testing.T, link *tunneltest.Link, form xfrm.Form, spec tunnel.Spec, want string) {
	t.Helper()
	keys, _ := tunneltest.Keys("beside")
	half, err := xfrm.Driver{Form: form}.Open(context.Background(), spec, keys, place(t, link.Left, spec))
	switch {
	case err == nil && want != "":
		t.Errorf("opened, want %q", want)
	case err != nil && (want == "" || !strings.Contains(err.Error(), want) || !errors.Is(err, os.ErrExist)):
		t.Errorf("got %v, want %q, wrapping %v", err, want, os.ErrExist)
	}
	if err == nil {
		if err := half.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func place(t *testing.T, site *tunneltest.Site, spec tunnel.Spec) tunnel.Place {
	t.Helper()
	p := tunnel.Place{Outer: site.Outer, Inner: site.Inner}
	err := site.Outer.Do(func() (err error) {
		p.Socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(spec.Local.Outer))
		return err
	})
	if err != nil {
		t.Fatalf("reserve outer socket: %v", err)
	}
	return p
}

// A VTI of somebody else's takes ESP by addresses, ours too.
func TestKernelRefusesStrangersVTI(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	h := handle(t, link.Left.Outer)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "production"
	vti := &netlink.Vti{LinkAttrs: attributes, Local: link.Left.Addr4.AsSlice(), Remote: link.Right.Addr4.AsSlice(), IKey: 7, OKey: 7}
	if err := errors.Join(h.LinkAdd(vti), h.LinkSetUp(vti)); err != nil {
		t.Fatalf("add VTI: %v", err)
	}
	v := variant{xfrm.Interface, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4, false}
	spec, _ := link.Specs(v.spec(t), false)
	expectOpen(t, link, xfrm.Interface, spec, "interface production of this host takes all ESP from 192.0.2.2")
}

// Sessions beside one another between the same hosts do not meet: one goes on
// without a loss while others come and go.
func TestKernelSessionsSideBySide(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	first := variant{xfrm.Policy, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4, false}.open(t, link)
	left, right := first.DialPath(t)
	exchange(t, left, right, 100)
	for _, form := range []xfrm.Form{xfrm.Interface, xfrm.Transport} {
		v := variant{form, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4, false}
		pair := openAt(t, link, v, 1)
		a, b := pair.dial(t)
		for range 3 {
			exchange(t, left, right, 100)
			exchange(t, a, b, 100)
		}
		pair.close(t)
		exchange(t, right, left, 100)
	}
	got, err := first.Left.Counters()
	if want := uint64(1 + 2*3); err != nil || got.OutPackets != want {
		t.Errorf("first session sent %d packets, %v; want %d", got.OutPackets, err, want)
	}
}

// Tunnels of one session stand in one inner namespace with the same addresses:
// the second carries the load when the first is gone.
func TestKernelTunnelsSideBySide(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	v := variant{xfrm.Interface, tunnel.AES128GCM, tunnel.Raw, overhead.IPv6, false}
	first, second := openAt(t, link, v, 0), openAt(t, link, v, 1)
	left, right := first.dial(t)
	exchange(t, left, right, 100)
	first.close(t)
	exchange(t, left, right, 200)
	exchange(t, right, left, 200)
	got, err := second.left.Counters()
	if want := (tunnel.Counters{OutPackets: 1, OutInnerBytes: 228, InPackets: 1, InInnerBytes: 228}); err != nil || got != want {
		t.Errorf("second tunnel (-want +got), %v:\n%s", err, cmp.Diff(want, got))
	}
}

// halves are both ends of one of several tunnels over a link.
type halves struct {
	left, right tunnel.Tunnel
}

// openAt opens a pair with ports and SPIs of its own.
func openAt(t *testing.T, link *tunneltest.Link, v variant, number int) halves {
	t.Helper()
	template := v.spec(t)
	leftSpec, rightSpec := link.Specs(template, v.outer == overhead.IPv6)
	leftSpec, rightSpec = numbered(v, leftSpec, number), numbered(v, rightSpec, number)
	leftKeys, rightKeys := tunneltest.Keys(fmt.Sprint("side by side ", number))
	open := func(site *tunneltest.Site, spec tunnel.Spec, keys tunnel.Keys) tunnel.Tunnel {
		half, err := xfrm.Driver{Form: v.form}.Open(context.Background(), spec, keys, place(t, site, spec))
		if err != nil {
			t.Fatalf("open half: %v", err)
		}
		t.Cleanup(func() { _ = half.Close() })
		return half
	}
	return halves{open(link.Left, leftSpec, leftKeys), open(link.Right, rightSpec, rightKeys)}
}

// numbered gives a spec ports and SPIs of its own.
func numbered(v variant, spec tunnel.Spec, number int) tunnel.Spec {
	if v.form == xfrm.Interface {
		spec.Number = number
	}
	for _, end := range []*tunnel.End{&spec.Local, &spec.Remote} {
		end.SPI += uint32(number)
		end.Outer = netip.AddrPortFrom(end.Outer.Addr(), end.Outer.Port()+uint16(number))
	}
	return spec
}

func (h halves) dial(t *testing.T) (left, right *net.UDPConn) {
	t.Helper()
	l, r := h.left.Path(), h.right.Path()
	return tunneltest.Dial(t, l.Namespace, l.Local, l.Remote), tunneltest.Dial(t, r.Namespace, r.Local, r.Remote)
}

func (h halves) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(h.left.Close(), h.right.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// An address of ours that is taken is refused, and nothing remains of the SAs and
// policies that were there already.
func TestKernelRefusesTakenAddress(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	v := variant{xfrm.Policy, tunnel.AES128GCM, tunnel.UDP, overhead.IPv4, false}
	spec, _ := link.Specs(v.spec(t), false)
	h := handle(t, link.Left.Outer)
	loopback, err := h.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.AddrAdd(loopback, &netlink.Addr{IPNet: one(spec.Local.Inner6), Flags: unix.IFA_F_NODAD}); err != nil {
		t.Fatal(err)
	}
	before := inventory(t, link.Left.Outer)
	expectOpen(t, link, xfrm.Policy, spec, "add address 2001:2::1 to lo")
	if diff := cmp.Diff(before, inventory(t, link.Left.Outer)); diff != "" {
		t.Errorf("namespace (-before +after):\n%s", diff)
	}
}
