package strongswan

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// checkKernel tries, in a namespace that is gone at once, what the kernel's ESP
// is made of. That loads its modules, where it has them.
func checkKernel() error {
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		return fmt.Errorf("try the kernel's ESP: %w", err)
	}
	defer func() { _ = namespace.Close() }()
	handle, err := netlink.NewHandleAt(netns.NsHandle(namespace.FD()), unix.NETLINK_ROUTE, unix.NETLINK_XFRM)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return kernelLacks("IPsec (CONFIG_XFRM_USER)", err)
	}
	if err != nil {
		return fmt.Errorf("try the kernel's ESP: %w", err)
	}
	defer handle.Close()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "try"
	if err := handle.LinkAdd(&netlink.Xfrmi{LinkAttrs: attributes, Ifid: 1}); err != nil {
		return kernelLacks("xfrm interfaces (CONFIG_XFRM_INTERFACE, module xfrm_interface)", err)
	}
	if err := handle.XfrmStateAdd(trialState()); err != nil {
		return kernelLacks("ESP (CONFIG_INET_ESP, module esp4)", err)
	}
	return nil
}

// trialState is an SA without encryption between two addresses of
// documentation, whose key is no secret.
func trialState() *netlink.XfrmState {
	return &netlink.XfrmState{
		Src:   net.IPv4(192, 0, 2, 1),
		Dst:   net.IPv4(192, 0, 2, 2),
		Proto: netlink.XFRM_PROTO_ESP,
		Mode:  netlink.XFRM_MODE_TUNNEL,
		Spi:   0x1000,
		Crypt: &netlink.XfrmStateAlgo{Name: "ecb(cipher_null)"},
		Auth:  &netlink.XfrmStateAlgo{Name: "hmac(sha256)", Key: make([]byte, 32), TruncateLen: 128},
	}
}

func kernelLacks(what string, err error) error {
	return fmt.Errorf("the kernel lacks %s: %w (%w); use driver strongswan-user or esp, whose ESP is in user space", what, err, tunnel.ErrNotSupported)
}
