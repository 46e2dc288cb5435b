package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

const (
	// priority is of no weight: no policy of ours overlaps another.
	priority = 1000
	// policyGrace is how much longer policies live than SAs and addresses: as long
	// as anything can be sent from an address of ours, a policy stands in its way.
	policyGrace = 2 * time.Second
)

// policy is one entry of the security policy database (RFC 4301, Section 4.4.1).
type policy struct {
	direction netlink.Dir
	selector  selector
	scope     scope
	index     uint32 // The kernel's number.
}

// overlaps says whether some packet is for both.
func (p policy) overlaps(other policy) bool {
	return p.direction == other.direction && p.scope.overlaps(other.scope) && p.selector.overlaps(other.selector)
}

// policies are those of a plan: one for each selector and direction.
func (p plan) policies() []policy {
	var all []policy
	for _, s := range p.selectors {
		all = append(all,
			policy{direction: netlink.XFRM_DIR_OUT, selector: s, scope: p.scope},
			policy{direction: netlink.XFRM_DIR_IN, selector: s.reverse(), scope: p.scope})
	}
	return all
}

// refuseOverlaps refuses a plan whose policies would take packets from others,
// or lose packets to them.
func (k *kernel) refuseOverlaps(p plan) error {
	present, err := k.listPolicies()
	if err != nil {
		return err
	}
	for _, ours := range p.policies() {
		for _, theirs := range present {
			if ours.overlaps(theirs) {
				return fmt.Errorf("IPsec policy %d of this host (from %s to %s) is for the same packets as ours (from %s to %s): %w; choose other addresses, or remove that policy if nobody needs it",
					theirs.index, theirs.selector.source, theirs.selector.destination,
					ours.selector.source, ours.selector.destination, os.ErrExist)
			}
		}
	}
	return nil
}

// listPolicies leaves those of sockets out: they are for one socket each.
func (k *kernel) listPolicies() ([]policy, error) {
	answers, err := k.request(nl.XFRM_MSG_GETPOLICY, dump, newMessage(nil), nl.XFRM_MSG_NEWPOLICY)
	if err != nil {
		return nil, fmt.Errorf("list IPsec policies: %w", err)
	}
	var all []policy
	for _, answer := range answers {
		p, err := readPolicy(answer)
		if err != nil {
			return nil, fmt.Errorf("list IPsec policies: %w", err)
		}
		if p.direction <= netlink.XFRM_DIR_FWD {
			all = append(all, p)
		}
	}
	return all, nil
}

func readPolicy(answer []byte) (policy, error) {
	if len(answer) < nl.SizeofXfrmUserpolicyInfo {
		return policy{}, errors.New("the kernel's answer is too short")
	}
	head := nl.DeserializeXfrmUserpolicyInfo(answer)
	p := policy{direction: netlink.Dir(head.Dir), selector: readSelector(&head.Sel), index: head.Index}
	attributes, err := nl.ParseRouteAttr(answer[nl.SizeofXfrmUserpolicyInfo:])
	if err != nil {
		return policy{}, err
	}
	for _, attribute := range attributes {
		switch value := attribute.Value; {
		case attribute.Attr.Type == nl.XFRMA_MARK && len(value) >= nl.SizeofXfrmMark:
			mark := nl.DeserializeXfrmMark(value)
			p.scope.mark, p.scope.mask = mark.Value, mark.Mask
		case attribute.Attr.Type == nl.XFRMA_IF_ID && len(value) >= 4:
			p.scope.ifID = nl.NativeEndian().Uint32(value)
		}
	}
	return p, nil
}

func readSelector(s *nl.XfrmSelector) selector {
	prefix := func(address nl.XfrmAddress, bits uint8) netip.Prefix {
		if s.Family == unix.AF_INET {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte(address[:4])), int(bits))
		}
		return netip.PrefixFrom(netip.AddrFrom16(address), int(bits))
	}
	return selector{
		source:          prefix(s.Saddr, s.PrefixlenS),
		destination:     prefix(s.Daddr, s.PrefixlenD),
		protocol:        s.Proto,
		sourcePort:      port{big16(s.Sport), big16(s.SportMask)},
		destinationPort: port{big16(s.Dport), big16(s.DportMask)},
	}
}

func writeSelector(s selector) nl.XfrmSelector {
	return nl.XfrmSelector{
		Daddr: kernelAddress(s.destination.Addr()), PrefixlenD: uint8(s.destination.Bits()),
		Saddr: kernelAddress(s.source.Addr()), PrefixlenS: uint8(s.source.Bits()),
		Dport: big16(s.destinationPort.number), DportMask: big16(s.destinationPort.mask),
		Sport: big16(s.sourcePort.number), SportMask: big16(s.sourcePort.mask),
		Family: family(s.source.Addr()), Proto: s.protocol,
	}
}

// addPolicy installs one policy of a plan and returns it with its index.
func (k *kernel) addPolicy(plan plan, p policy) (policy, error) {
	head := &nl.XfrmUserpolicyInfo{
		Sel:      writeSelector(p.selector),
		Lft:      lifetime(plan.lifetime + policyGrace),
		Priority: priority,
		Dir:      uint8(p.direction),
		Action:   uint8(netlink.XFRM_POLICY_ALLOW),
	}
	m := newMessage(head.Serialize())
	m.attribute(nl.XFRMA_TMPL, plan.template(p.direction).Serialize())
	p.scope.add(m)
	if _, err := k.request(nl.XFRM_MSG_NEWPOLICY, create, m, 0); err != nil {
		return policy{}, fmt.Errorf("add IPsec policy from %s to %s: %w", p.selector.source, p.selector.destination, err)
	}
	added, err := k.getPolicy(p)
	if err != nil {
		return policy{}, errors.Join(err, k.deletePolicy(p))
	}
	return added, nil
}

// template names the SA that a policy demands, by its SPI too: no other SA
// between the same addresses will do.
func (p plan) template(direction netlink.Dir) *nl.XfrmUserTmpl {
	sa := association{p, tunnel.Send}
	if direction == netlink.XFRM_DIR_IN {
		sa.direction = tunnel.Receive
	}
	source, destination, spi := sa.ends()
	return &nl.XfrmUserTmpl{
		XfrmId: nl.XfrmId{Daddr: kernelAddress(destination.Addr()), Spi: big32(spi), Proto: unix.IPPROTO_ESP},
		Family: family(destination.Addr()),
		Saddr:  kernelAddress(source.Addr()),
		Reqid:  p.request(),
		Mode:   p.mode(),
		Aalgos: ^uint32(0), Ealgos: ^uint32(0), Calgos: ^uint32(0), // The SA decides.
	}
}

// getPolicy reads the index of what was just added: by it alone the policy is
// removed, so never another's that came after ours had expired.
func (k *kernel) getPolicy(p policy) (policy, error) {
	answers, err := k.request(nl.XFRM_MSG_GETPOLICY, act, p.id(), nl.XFRM_MSG_NEWPOLICY)
	if err == nil && len(answers) == 0 {
		err = errors.New("the kernel gives no answer")
	}
	if err != nil {
		return policy{}, fmt.Errorf("read IPsec policy: %w", err)
	}
	return readPolicy(answers[0])
}

// deletePolicy does nothing where the policy has expired.
func (k *kernel) deletePolicy(p policy) error {
	_, err := k.request(nl.XFRM_MSG_DELPOLICY, act, p.id(), 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("remove IPsec policy: %w", err)
}

// id is by index where that is known, else by selector.
func (p policy) id() *message {
	m := newMessage((&nl.XfrmUserpolicyId{Sel: writeSelector(p.selector), Index: p.index, Dir: uint8(p.direction)}).Serialize())
	p.scope.add(m)
	return m
}
