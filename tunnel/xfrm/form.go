package xfrm

import (
	"fmt"
	"net/netip"

	"tunnelmark/tunnel"
)

// Form is how packets come to kernel ESP.
type Form int

// The forms; Interface is the zero value.
const (
	Interface Form = iota // Route-based, by an xfrm interface.
	VTI                   // Route-based, by a virtual tunnel interface.
	Policy                // Policy-based: selectors, and no interface.
	Transport             // Transport mode between the outer addresses.
)

// String is the name of the form's driver.
func (f Form) String() string {
	return [...]string{"xfrm", "xfrm-vti", "xfrm-policy", "xfrm-transport"}[f]
}

// plan is what a half of this form consists of.
func (f Form) plan(spec tunnel.Spec) (plan, error) {
	if f != Interface && spec.Number > 0 {
		return plan{}, fmt.Errorf("tunnel %d beside others: %w by driver %s, whose tunnels would be for the same packets; use driver xfrm",
			spec.Number, tunnel.ErrNotSupported, f)
	}
	p, err := newPlan(spec, f == Transport)
	if err != nil {
		return plan{}, err
	}
	p.selectors, err = f.selectors(spec)
	switch f {
	case Interface:
		p.scope.ifID = p.localSPI
	case VTI:
		p.scope.mark, p.scope.mask = p.localSPI, ^uint32(0)
		p.alone = true
	}
	return p, err
}

// selectors are those of a tunnel's inner addresses, or of the one flow that
// transport mode protects: nothing else between the same hosts is touched.
func (f Form) selectors(spec tunnel.Spec) (all []selector, err error) {
	local, remote := spec.Local, spec.Remote
	if f == Transport {
		from, to := transportPorts(spec)
		return []selector{flow(from, to)}, nil
	}
	if err := spec.CheckInner(); err != nil {
		return nil, err
	}
	if local.Inner4.IsValid() {
		all = append(all, hosts(local.Inner4, remote.Inner4))
	}
	if local.Inner6.IsValid() {
		all = append(all, hosts(local.Inner6, remote.Inner6))
	}
	return all, nil
}

// transportPorts are where probes send. With UDP encapsulation the spec's ports
// belong to the kernel, which takes ESP from them.
func transportPorts(spec tunnel.Spec) (local, remote netip.AddrPort) {
	local, remote = unmap(spec.Local.Outer), unmap(spec.Remote.Outer)
	if spec.Encapsulation == tunnel.UDP {
		local = netip.AddrPortFrom(local.Addr(), tunnel.ProbePort)
		remote = netip.AddrPortFrom(remote.Addr(), tunnel.ProbePort)
	}
	return local, remote
}
