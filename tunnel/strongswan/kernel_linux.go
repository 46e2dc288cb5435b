package strongswan

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/inner"
)

// kernelSide is an xfrm interface whose clear side is in the inner namespace and
// whose SAs and policies are in the outer one. Both are charon's: policies of
// ours would let the kernel send by a new SA before the peer has it, which
// charon's do not, since they name the SPI (RFC 7296, Section 2.8). All carry
// the interface's id, so that they meet no packet but the interface's.
type kernelSide struct {
	spec         tunnel.Spec
	outer, inner *tunnel.Namespace
	link         inner.Link
	alone        bool // Nobody else has the interface's id.
}

func newKernelSide(spec tunnel.Spec, place tunnel.Place) *kernelSide {
	id := nl.NewRtAttr(nl.IFLA_XFRM_IF_ID, nl.Uint32Attr(spec.Local.SPI))
	return &kernelSide{
		spec:  spec,
		outer: place.Outer,
		inner: place.Inner,
		link:  inner.Link{Name: fmt.Sprintf("ike-%08x", spec.Local.SPI), Kind: "xfrm", Data: []*nl.RtAttr{id}},
	}
}

// prepare refuses an interface id that is not the session's alone: what carries
// it is removed with the session.
func (k *kernelSide) prepare(*tunnel.Namespace) error {
	own, err := k.find()
	if err != nil {
		return err
	}
	defer own.handle.Close()
	if len(own.states)+len(own.policies) > 0 {
		return fmt.Errorf("interface id %#x: %d SAs and %d policies have it already: %w", k.spec.Local.SPI, len(own.states), len(own.policies), os.ErrExist)
	}
	k.alone = true
	return nil
}

func (k *kernelSide) finish(ctx context.Context, _ *charon) (*interfaceSide, error) {
	if err := k.link.Add(k.outer, k.inner); err != nil {
		return nil, err
	}
	return configureSide(ctx, k.inner, k.link.Name, k.spec)
}

// remove takes the interface away, and whatever a charon that had to be killed
// has left. What prepare refused to stand beside is another's, and stays.
func (k *kernelSide) remove() error {
	if !k.alone {
		return nil
	}
	own, err := k.find()
	if err != nil {
		return errors.Join(err, k.link.Remove(k.inner))
	}
	defer own.handle.Close()
	var errs []error
	for i := range own.policies {
		errs = append(errs, own.handle.XfrmPolicyDel(&own.policies[i]))
	}
	for i := range own.states {
		errs = append(errs, own.handle.XfrmStateDel(&own.states[i]))
	}
	return errors.Join(append(errs, k.link.Remove(k.inner))...)
}

// belongings are the SAs and policies of one interface. SAs hold keys: none is
// ever printed.
type belongings struct {
	handle   *netlink.Handle
	states   []netlink.XfrmState
	policies []netlink.XfrmPolicy
}

// find looks in the outer namespace. The caller closes the handle.
func (k *kernelSide) find() (*belongings, error) {
	handle, err := netlink.NewHandleAt(netns.NsHandle(k.outer.FD()), unix.NETLINK_XFRM)
	if err != nil {
		return nil, fmt.Errorf("reach outer namespace by netlink: %w", err)
	}
	states, statesErr := handle.XfrmStateList(netlink.FAMILY_ALL)
	policies, policiesErr := handle.XfrmPolicyList(netlink.FAMILY_ALL)
	if err := errors.Join(statesErr, policiesErr); err != nil {
		handle.Close()
		return nil, fmt.Errorf("list the kernel's SAs and policies: %w", err)
	}
	own := &belongings{handle: handle}
	for _, state := range states {
		if uint32(state.Ifid) == k.spec.Local.SPI {
			own.states = append(own.states, state)
		}
	}
	for _, policy := range policies {
		if uint32(policy.Ifid) == k.spec.Local.SPI {
			own.policies = append(own.policies, policy)
		}
	}
	return own, nil
}
