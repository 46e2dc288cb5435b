package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// kernelSide is an xfrm interface whose clear side is in the inner namespace and
// whose SAs and policies are in the outer one. The SAs are charon's. The policies
// are ours, since charon's would have no lifetime; like the SAs they carry the
// interface's id, so that they meet no packet but the interface's.
type kernelSide struct {
	spec         tunnel.Spec
	outer, inner *tunnel.Namespace
	name         string
	policies     []*nl.XfrmUserpolicyInfo // Installed.
}

func newKernelSide(spec tunnel.Spec, place tunnel.Place) *kernelSide {
	return &kernelSide{spec: spec, outer: place.Outer, inner: place.Inner, name: fmt.Sprintf("ike-%08x", spec.Local.SPI)}
}

func (k *kernelSide) finish(ctx context.Context, _ *charon) (*interfaceSide, error) {
	if err := addInterface(k.outer, k.inner, k.name, k.spec.Local.SPI); err != nil {
		return nil, fmt.Errorf("make xfrm interface %s: %w", k.name, err)
	}
	return configureSide(ctx, k.inner, k.name, k.spec)
}

// remove takes the policies away, and the interface, where there is one.
func (k *kernelSide) remove() error {
	var errs []error
	for _, policy := range k.policies {
		errs = append(errs, k.deletePolicy(policy))
	}
	return errors.Join(append(errs, k.removeInterface())...)
}

func (k *kernelSide) removeInterface() error {
	handle, err := netlink.NewHandleAt(netns.NsHandle(k.inner.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("reach inner namespace by netlink: %w", err)
	}
	defer handle.Close()
	link, err := handle.LinkByName(k.name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = handle.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove interface %s: %w", k.name, err)
	}
	return nil
}

// addInterface makes an xfrm interface that looks SAs up in outer and stands in
// inner from its first moment: nothing is left in outer, whenever the agent dies.
func addInterface(outer, clear *tunnel.Namespace, name string, id uint32) error {
	handle, err := netlink.NewHandleAt(netns.NsHandle(clear.FD()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("reach inner namespace by netlink: %w", err)
	}
	defer handle.Close()
	// The kernel draws the number by which inner knows outer, where it has none.
	if err := handle.SetNetNsIdByFd(outer.FD(), -1); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("number outer namespace: %w", err)
	}
	number, err := handle.GetNetNsIdByFd(outer.FD())
	if err != nil {
		return fmt.Errorf("number outer namespace: %w", err)
	}
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	request.AddData(nl.NewRtAttr(unix.IFLA_LINK_NETNSID, nl.Uint32Attr(uint32(number))))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("xfrm"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_XFRM_IF_ID, nl.Uint32Attr(id))
	request.AddData(info)
	_, err = inner.Execute(clear, unix.NETLINK_ROUTE, request, 0)
	return err
}

// addPolicies lets through the inner addresses only, both ways; what arrives for
// the inner namespace is forwarded in the kernel's eyes.
func (k *kernelSide) addPolicies() error {
	local, remote := innerPrefixes(k.spec.Local), innerPrefixes(k.spec.Remote)
	for i := range local {
		for _, direction := range []netlink.Dir{netlink.XFRM_DIR_OUT, netlink.XFRM_DIR_IN, netlink.XFRM_DIR_FWD} {
			from, to := remote[i], local[i]
			if direction == netlink.XFRM_DIR_OUT {
				from, to = to, from
			}
			if err := k.addPolicy(direction, from, to); err != nil {
				return fmt.Errorf("add policy %s from %s to %s: %w", direction, from, to, err)
			}
		}
	}
	return nil
}

func (k *kernelSide) addPolicy(direction netlink.Dir, from, to netip.Prefix) error {
	policy := &nl.XfrmUserpolicyInfo{Sel: selector(from, to), Dir: uint8(direction)}
	policy.Lft.SoftByteLimit, policy.Lft.HardByteLimit = nl.XFRM_INF, nl.XFRM_INF
	policy.Lft.SoftPacketLimit, policy.Lft.HardPacketLimit = nl.XFRM_INF, nl.XFRM_INF
	policy.Lft.HardAddExpiresSeconds = uint64(k.spec.Lifetime.Round(time.Second) / time.Second) // 0: no end.
	request := nl.NewNetlinkRequest(nl.XFRM_MSG_NEWPOLICY, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	request.AddData(policy)
	request.AddData(nl.NewRtAttr(nl.XFRMA_TMPL, k.template(direction).Serialize()))
	request.AddData(nl.NewRtAttr(nl.XFRMA_IF_ID, nl.Uint32Attr(k.spec.Local.SPI)))
	if _, err := inner.Execute(k.outer, unix.NETLINK_XFRM, request, 0); err != nil {
		return err
	}
	k.policies = append(k.policies, policy)
	return nil
}

// template names the SAs that serve the policies, by charon's request id.
func (k *kernelSide) template(direction netlink.Dir) *nl.XfrmUserTmpl {
	from, to := k.spec.Remote.Outer.Addr().Unmap(), k.spec.Local.Outer.Addr().Unmap()
	if direction == netlink.XFRM_DIR_OUT {
		from, to = to, from
	}
	t := &nl.XfrmUserTmpl{
		Family: family(from),
		Reqid:  k.spec.Local.SPI,
		Mode:   uint8(netlink.XFRM_MODE_TUNNEL),
		Aalgos: ^uint32(0),
		Ealgos: ^uint32(0),
		Calgos: ^uint32(0),
	}
	t.XfrmId.Proto = unix.IPPROTO_ESP
	t.XfrmId.Daddr.FromIP(to.AsSlice())
	t.Saddr.FromIP(from.AsSlice())
	return t
}

func (k *kernelSide) deletePolicy(policy *nl.XfrmUserpolicyInfo) error {
	request := nl.NewNetlinkRequest(nl.XFRM_MSG_DELPOLICY, unix.NLM_F_ACK)
	request.AddData(&nl.XfrmUserpolicyId{Sel: policy.Sel, Dir: policy.Dir})
	request.AddData(nl.NewRtAttr(nl.XFRMA_IF_ID, nl.Uint32Attr(k.spec.Local.SPI)))
	_, err := inner.Execute(k.outer, unix.NETLINK_XFRM, request, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) { // Its lifetime may be over.
		return fmt.Errorf("remove policy: %w", err)
	}
	return nil
}

func selector(from, to netip.Prefix) nl.XfrmSelector {
	s := nl.XfrmSelector{Family: family(from.Addr()), PrefixlenS: uint8(from.Bits()), PrefixlenD: uint8(to.Bits())}
	s.Saddr.FromIP(from.Addr().AsSlice())
	s.Daddr.FromIP(to.Addr().AsSlice())
	return s
}

func family(address netip.Addr) uint16 {
	if address.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
