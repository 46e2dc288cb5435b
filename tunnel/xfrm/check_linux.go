package xfrm

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// tryPlan says what this kernel lacks for a plan, wrapping
// tunnel.ErrNotSupported. It tries, rather than to look for modules, because the
// kernel loads those when they are asked for.
func tryPlan(form Form, p plan) error {
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		return err
	}
	defer func() { _ = namespace.Close() }()
	if err := tryState(namespace, p); err != nil {
		return err
	}
	if form == Policy || form == Transport {
		return nil
	}
	err = newLink(form, p).Add(namespace, namespace)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return lacking(form.needs(p), err)
	}
	return err
}

// needs names the module of a form's interface.
func (f Form) needs(p plan) string {
	switch {
	case f == Interface:
		return "xfrm interfaces (module xfrm_interface, CONFIG_XFRM_INTERFACE, Linux 4.19; driver xfrm-policy does without)"
	case p.local.Addr().Is4():
		return "VTI over IPv4 (module ip_vti, CONFIG_NET_IPVTI)"
	}
	return "VTI over IPv6 (module ip6_vti, CONFIG_IPV6_VTI)"
}

// tryState adds both SAs, with a key that protects nothing.
func tryState(namespace *tunnel.Namespace, p plan) error {
	k, err := openKernel(namespace, unix.NETLINK_XFRM)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return lacking("SAs and policies by netlink (module xfrm_user, CONFIG_XFRM_USER)", err)
	}
	if err != nil {
		return err
	}
	defer k.close()
	lengths, err := p.suite.Transform()
	if err != nil {
		return err
	}
	for _, direction := range []tunnel.Direction{tunnel.Send, tunnel.Receive} {
		if err := k.addState(association{p, direction}, make([]byte, lengths.KeyMaterial())); err != nil {
			return p.explain(err)
		}
	}
	return nil
}

// explain translates what the kernel answers where it cannot add an SA
// (xfrm_state_construct and xfrm_init_state of net/xfrm, esp_init_state).
func (p plan) explain(err error) error {
	v6 := p.local.Addr().Is6()
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT) && v6:
		return lacking("ESP over IPv6 (module esp6, CONFIG_INET6_ESP)", err)
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return lacking("ESP over IPv4 (module esp4, CONFIG_INET_ESP)", err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return lacking("IPv6 (CONFIG_IPV6)", err)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOENT):
		return lacking(fmt.Sprintf("%s for suite %q (%s)", strings.Join(p.names(), " with "), p.suite, p.options), err)
	case errors.Is(err, unix.EINVAL) && v6 && p.udp:
		return lacking("UDP encapsulation over IPv6 (Linux 5.8)", err)
	}
	return err
}

func lacking(what string, err error) error {
	return fmt.Errorf("this kernel has no %s: %w (%w); driver esp needs no ESP of the kernel", what, tunnel.ErrNotSupported, err)
}
