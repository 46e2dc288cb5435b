//go:build kernel

package existing_test

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/tunneltest"
)

// TestKernelEvidence tells every kind of tunnel interface that the kernel makes.
func TestKernelEvidence(t *testing.T) {
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MTU = "st0", 1400
	local, remote := net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2)
	local6, remote6 := net.ParseIP("2001:db8::1"), net.ParseIP("2001:db8::2")
	tests := []struct {
		kind string // In the sentence.
		link netlink.Link
	}{
		{"xfrm interface", &netlink.Xfrmi{LinkAttrs: attributes, Ifid: 1}},
		{"VTI", &netlink.Vti{LinkAttrs: attributes, Local: local, Remote: remote, IKey: 1, OKey: 1}},
		{"VTI over IPv6", &netlink.Vti{LinkAttrs: attributes, Local: local6, Remote: remote6, IKey: 1, OKey: 1}},
		{"GRE", &netlink.Gretun{LinkAttrs: attributes, Local: local, Remote: remote}},
		{"GRE over IPv6", &netlink.Gretun{LinkAttrs: attributes, Local: local6, Remote: remote6}},
		{"GRE, Ethernet inside", &netlink.Gretap{LinkAttrs: attributes, Local: local, Remote: remote}},
		{"IP in IP", &netlink.Iptun{LinkAttrs: attributes, Local: local, Remote: remote}},
		{"WireGuard", &netlink.Wireguard{LinkAttrs: attributes}},
	}
	h := newHost(t)
	for _, test := range tests {
		t.Run(test.kind, func(t *testing.T) {
			if err := h.LinkAdd(test.link); err != nil {
				t.Fatalf("add interface: %v", err)
			}
			link, err := h.LinkByName(attributes.Name)
			if err == nil {
				err = h.LinkSetUp(link)
			}
			if err != nil {
				t.Fatalf("bring interface up: %v", err)
			}
			h.route(t, "198.51.100.0/24", netlink.Route{LinkIndex: link.Attrs().Index})
			got := h.witness(t, "st0", "198.51.100.5").Evidence()
			want := tunnel.Evidence{Proven: true, How: "to 198.51.100.5 dev st0 (" + test.kind + ") src 192.0.2.1, PMTU 1400"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("evidence (-want +got):\n%s", diff)
			}
			if err := h.LinkDel(link); err != nil {
				t.Fatalf("remove interface: %v", err)
			}
		})
	}
}

// TestKernelEvidenceOfPolicy has an SA for the policy: the kernel then knows
// what ESP takes from the path.
func TestKernelEvidenceOfPolicy(t *testing.T) {
	h := newHost(t)
	h.route(t, "198.51.100.0/24", netlink.Route{Gw: net.ParseIP("192.0.2.2")})
	h.protect(t, "192.0.2.1/32", "198.51.100.0/24", "192.0.2.2")
	state := &netlink.XfrmState{
		Src: h.site.Addr4.AsSlice(), Dst: net.ParseIP("192.0.2.2"), Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL, Spi: 0x1001,
		Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 20), ICVLen: 128},
	}
	if err := h.XfrmStateAdd(state); err != nil {
		t.Fatalf("add SA: %v", err)
	}
	got := h.witness(t, tunneltest.Interface, "198.51.100.5").Evidence()
	want := tunnel.Evidence{Proven: true, How: "to 198.51.100.5 via 192.0.2.2 dev wan0 (xfrm policy: esp tunnel to 192.0.2.2) src 192.0.2.1, PMTU 1446"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
}
