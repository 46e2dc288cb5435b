//go:build kernel

package tunneltest

import (
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
)

func init() { runtime.LockOSThread() }

// TestKernelFeatures shows that the guest of scripts/test-kernel has what the
// kernel drivers are made of, so that a driver's failure is the driver's.
func TestKernelFeatures(t *testing.T) {
	labtest.NeedRoot(t)
	local, remote := net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2)
	tests := []struct {
		name string
		make func(*netlink.Handle) error
	}{
		{"xfrm interface", add(&netlink.Xfrmi{LinkAttrs: named("xfrm1"), Ifid: 1})},
		{"vti", add(&netlink.Vti{LinkAttrs: named("vti1"), Local: local, Remote: remote, IKey: 1, OKey: 1})},
		{"gre", add(&netlink.Gretun{LinkAttrs: named("gre1"), Local: local, Remote: remote})},
		{"gre over IPv6", add(&netlink.Gretun{LinkAttrs: named("gre6"), Local: net.ParseIP("2001:db8::1"), Remote: net.ParseIP("2001:db8::2")})},
		{"wireguard", add(&netlink.Wireguard{LinkAttrs: named("wg1")})},
		{"tun", add(&netlink.Tuntap{LinkAttrs: named("tun1"), Mode: netlink.TUNTAP_MODE_TUN})},
		{"netem", addNetem},
		{"rfc4106(gcm(aes))", addState(local, remote, netlink.XfrmState{
			Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 20), ICVLen: 128},
		})},
		{"rfc7539esp(chacha20,poly1305)", addState(local, remote, netlink.XfrmState{
			Aead: &netlink.XfrmStateAlgo{Name: "rfc7539esp(chacha20,poly1305)", Key: make([]byte, 36), ICVLen: 128},
		})},
		{"cbc(aes) with hmac(sha256)", addState(local, remote, netlink.XfrmState{
			Crypt: &netlink.XfrmStateAlgo{Name: "cbc(aes)", Key: make([]byte, 16)},
			Auth:  &netlink.XfrmStateAlgo{Name: "hmac(sha256)", Key: make([]byte, 32), TruncateLen: 128},
		})},
		{"ESP over IPv6 with UDP encapsulation", addState(net.ParseIP("2001:db8::1"), net.ParseIP("2001:db8::2"), netlink.XfrmState{
			Aead:  &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 36), ICVLen: 128},
			Encap: &netlink.XfrmStateEncap{Type: netlink.XFRM_ENCAP_ESPINUDP, SrcPort: 4500, DstPort: 4500},
		})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := emptyNamespace(t)
			if err := test.make(h); err != nil {
				t.Errorf("the guest's kernel refuses: %v", err)
			}
		})
	}
}

// emptyNamespace speaks to a namespace that is gone when the test ends.
func emptyNamespace(t *testing.T) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandleAt(netns.NsHandle(newNamespace(t).FD()), unix.NETLINK_ROUTE, unix.NETLINK_XFRM)
	if err != nil {
		t.Fatalf("reach namespace by netlink: %v", err)
	}
	t.Cleanup(h.Close)
	return h
}

func named(name string) netlink.LinkAttrs {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	return attributes
}

func add(link netlink.Link) func(*netlink.Handle) error {
	return func(h *netlink.Handle) error { return h.LinkAdd(link) }
}

func addNetem(h *netlink.Handle) error {
	pair := &netlink.Veth{LinkAttrs: named("left"), PeerName: "right"}
	if err := h.LinkAdd(pair); err != nil {
		return err
	}
	end, err := h.LinkByName("left")
	if err != nil {
		return err
	}
	root := netlink.QdiscAttrs{LinkIndex: end.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	return h.QdiscAdd(netlink.NewNetem(root, netlink.NetemQdiscAttrs{Latency: 1000}))
}

// addState completes a security association in tunnel mode and installs it.
func addState(local, remote net.IP, state netlink.XfrmState) func(*netlink.Handle) error {
	state.Src, state.Dst = local, remote
	state.Proto = netlink.XFRM_PROTO_ESP
	state.Mode = netlink.XFRM_MODE_TUNNEL
	state.Spi = 0x1001
	state.ReplayWindow = 32
	state.Limits.TimeHard = 60
	return func(h *netlink.Handle) error { return h.XfrmStateAdd(&state) }
}
