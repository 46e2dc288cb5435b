package existing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// policy is what this host does with packets that match (RFC 4301, Section
// 4.4.1): it protects them, lets them by, or blocks them.
type policy struct {
	local, remote         netip.Prefix
	localPort, remotePort ports
	protocol              uint8 // 0: any.
	interfaceIndex        int   // 0: any.
	interfaceID           uint32
	mark                  uint32 // That packets must carry.
	priority              uint32 // The least wins.
	blocks                bool
	transforms            []transform
}

// ports matches those whose bits under the mask are value's.
type ports struct{ value, mask uint16 }

// transform is one that the policy demands of its packets.
type transform struct {
	protocol netlink.Proto
	mode     netlink.Mode
	peer     netip.Addr // In tunnel mode; unspecified otherwise.
	optional bool
}

// decisive is the policy that the kernel obeys for a flow that leaves by an
// interface: of those that match, the first of least priority value
// (xfrm_policy_lookup_bytype of net/xfrm/xfrm_policy.c).
func decisive(policies []policy, f flow, interfaceIndex int) *policy {
	var found *policy
	for i := range policies {
		p := &policies[i]
		if p.matches(f, interfaceIndex) && (found == nil || p.priority < found.priority) {
			found = p
		}
	}
	return found
}

// matches says whether the policy is for the flow's UDP packets. They carry no
// mark, and an interface ID only where they leave by the xfrm interface of that
// ID, which is a tunnel anyway.
func (p *policy) matches(f flow, interfaceIndex int) bool {
	return p.local.Contains(f.local.Addr()) && p.remote.Contains(f.remote.Addr()) &&
		p.localPort.contain(f.local.Port()) && p.remotePort.contain(f.remote.Port()) &&
		(p.protocol == 0 || p.protocol == unix.IPPROTO_UDP) &&
		(p.interfaceIndex == 0 || p.interfaceIndex == interfaceIndex) &&
		p.interfaceID == 0 && p.mark == 0
}

func (p ports) contain(port uint16) bool { return (port^p.value)&p.mask == 0 }

// protects says that matching packets leave in IPsec or not at all.
func (p *policy) protects() bool {
	if p.blocks {
		return false
	}
	for _, t := range p.transforms {
		if !t.optional && (t.protocol == netlink.XFRM_PROTO_ESP || t.protocol == netlink.XFRM_PROTO_AH) {
			return true
		}
	}
	return false
}

// String names the transforms, such as "esp tunnel to 203.0.113.1".
func (p *policy) String() string {
	texts := make([]string, len(p.transforms))
	for i, t := range p.transforms {
		texts[i] = fmt.Sprintf("%s %s", t.protocol, t.mode)
		if t.peer.IsValid() && !t.peer.IsUnspecified() {
			texts[i] += " to " + t.peer.String()
		}
	}
	return strings.Join(texts, ", ")
}

// outboundPolicies lists the namespace's policies for packets of the flow's IP
// version that leave it. A kernel without xfrm has none.
func outboundPolicies(namespace *tunnel.Namespace, f flow) ([]policy, error) {
	request := nl.NewNetlinkRequest(nl.XFRM_MSG_GETPOLICY, unix.NLM_F_DUMP)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	messages, err := inner.Execute(namespace, unix.NETLINK_XFRM, request, nl.XFRM_MSG_NEWPOLICY)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list xfrm policies: %w", err)
	}
	var policies []policy
	for _, message := range messages {
		p, direction, err := parsePolicy(message)
		if err != nil {
			return nil, fmt.Errorf("list xfrm policies: %w", err)
		}
		if direction == netlink.XFRM_DIR_OUT && p.remote.Addr().Is4() == f.remote.Addr().Is4() {
			policies = append(policies, p)
		}
	}
	return policies, nil
}

// parsePolicy reads a struct xfrm_userpolicy_info with its attributes
// (include/uapi/linux/xfrm.h). The library's own reading takes an IPv6 prefix
// that ends in zeros, such as 2001:db8::/64, for an IPv4 one.
func parsePolicy(message []byte) (policy, netlink.Dir, error) {
	if len(message) < nl.SizeofXfrmUserpolicyInfo {
		return policy{}, 0, fmt.Errorf("read policy: %d bytes are too few", len(message))
	}
	info := nl.DeserializeXfrmUserpolicyInfo(message)
	selector := info.Sel
	p := policy{
		local:          netip.PrefixFrom(address(selector.Saddr, selector.Family), int(selector.PrefixlenS)),
		remote:         netip.PrefixFrom(address(selector.Daddr, selector.Family), int(selector.PrefixlenD)),
		localPort:      ports{nl.Swap16(selector.Sport), nl.Swap16(selector.SportMask)},
		remotePort:     ports{nl.Swap16(selector.Dport), nl.Swap16(selector.DportMask)},
		protocol:       selector.Proto,
		interfaceIndex: int(selector.Ifindex),
		priority:       info.Priority,
		blocks:         info.Action == uint8(netlink.XFRM_POLICY_BLOCK),
	}
	attributes := message[nl.SizeofXfrmUserpolicyInfo:]
	parsed, err := nl.ParseRouteAttr(attributes[:len(attributes)&^3]) // They are padded to 4 bytes.
	if err != nil {
		return policy{}, 0, fmt.Errorf("read policy: %w", err)
	}
	for _, attribute := range parsed {
		p.apply(attribute.Attr.Type, attribute.Value)
	}
	return p, netlink.Dir(info.Dir), nil
}

func (p *policy) apply(kind uint16, value []byte) {
	switch {
	case kind == nl.XFRMA_TMPL:
		for ; len(value) >= nl.SizeofXfrmUserTmpl; value = value[nl.SizeofXfrmUserTmpl:] {
			t := nl.DeserializeXfrmUserTmpl(value)
			p.transforms = append(p.transforms, transform{
				protocol: netlink.Proto(t.XfrmId.Proto),
				mode:     netlink.Mode(t.Mode),
				peer:     address(t.XfrmId.Daddr, t.Family),
				optional: t.Optional != 0,
			})
		}
	case kind == nl.XFRMA_MARK && len(value) >= nl.SizeofXfrmMark:
		p.mark = nl.DeserializeXfrmMark(value).Value
	case kind == nl.XFRMA_IF_ID && len(value) >= 4:
		p.interfaceID = binary.NativeEndian.Uint32(value)
	}
}

// address reads an xfrm_address_t, which does not know its own IP version.
func address(bytes nl.XfrmAddress, family uint16) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(bytes[:4]))
	}
	return netip.AddrFrom16(bytes)
}
