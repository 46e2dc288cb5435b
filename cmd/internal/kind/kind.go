// Package kind is the bridge's table of the kinds of tunnels: their names, the
// words that each takes, and what it adds to a packet. Controllers reckon with
// it wherever they run; whether an agent's machine can build a kind is the
// agent's driver to say.
package kind

import (
	"fmt"
	"slices"
	"strings"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// Kind is one kind of tunnel.
type Kind struct {
	Name  string
	About string
	// Suites and Encapsulations are those that it takes, the default first;
	// none where it does not encrypt, or does it in its own way.
	Suites         []tunnel.Suite
	Encapsulations []tunnel.Encapsulation
	// Unprotected: it takes tunnel.NullNull as well, which is listed nowhere.
	Unprotected bool
	// Inner: it has inner addresses of its own. Otherwise load goes from outer
	// address to outer address.
	Inner bool
	// Kernel: the kernel builds it; trying whether it can may load modules.
	Kernel bool
	// Many: several of it can stand side by side in one session.
	Many bool
	// OneFlow: it is for the one flow of UDP that a load is; no probe can go beside.
	OneFlow bool
	// NoESN: it has 32-bit sequence numbers only (RFC 4303, Section 2.2).
	NoESN bool
	// MaxMTU is the largest inner packet that it takes on any path, in bytes; 0:
	// whatever the path leaves.
	MaxMTU int
	// Rekeys: its keys can be replaced on demand.
	Rekeys bool
	// Lifetime: it replaces its keys by itself, by time, packets or bytes.
	Lifetime bool
	// Foreign: it is not ours, and may carry others' traffic.
	Foreign bool
	// InKernel is the kind by which the kernel does what this one does in a program.
	// Empty where it is none.
	InKernel string

	added func(tunnel.Suite, tunnel.Encapsulation, overhead.IPVersion) (overhead.Encapsulation, error)
}

// Names of the kinds to which code refers.
const (
	Clear    = "clear"
	ESP      = "esp"
	Existing = "existing"
)

var (
	udpOrRaw  = []tunnel.Encapsulation{tunnel.UDP, tunnel.Raw}
	onlyInUDP = []tunnel.Encapsulation{tunnel.UDP}
)

// All lists the kinds: the default first, the ones that are no tunnel of ours
// last.
func All() []Kind {
	return []Kind{
		{Name: ESP, About: "ESP in user space: needs TUN only", Suites: tunnel.Suites(), Encapsulations: udpOrRaw, Unprotected: true, Inner: true, Many: true, Rekeys: true, Lifetime: true, InKernel: "xfrm", added: overhead.ESP},
		{Name: "xfrm", Kernel: true, About: "kernel ESP, route-based (xfrm interface)", Suites: tunnel.Suites(), Encapsulations: udpOrRaw, Inner: true, Many: true, added: overhead.ESP},
		{Name: "xfrm-vti", Kernel: true, About: "kernel ESP, route-based (VTI)", Suites: tunnel.Suites(), Encapsulations: udpOrRaw, Inner: true, added: overhead.ESP},
		{Name: "xfrm-policy", Kernel: true, About: "kernel ESP, policy-based", Suites: tunnel.Suites(), Encapsulations: udpOrRaw, Inner: true, added: overhead.ESP},
		{Name: "xfrm-transport", Kernel: true, OneFlow: true, About: "kernel ESP in transport mode", Suites: tunnel.Suites(), Encapsulations: udpOrRaw, added: overhead.ESPTransport},
		{Name: "wireguard", Kernel: true, About: "kernel WireGuard", Inner: true, Many: true, added: wireGuard},
		{Name: "wireguard-user", About: "WireGuard in user space (wireguard-go): needs TUN only", Inner: true, Many: true, InKernel: "wireguard", added: wireGuard},
		{Name: "strongswan", Kernel: true, Rekeys: true, About: "IKEv2 by strongSwan, kernel ESP", Suites: tunnel.Suites(), Encapsulations: udpOrRaw, Inner: true, added: overhead.ESP},
		{Name: "strongswan-user", Rekeys: true, About: "IKEv2 by strongSwan, ESP in user space (kernel-libipsec)", Suites: tunnel.Suites(), Encapsulations: onlyInUDP, Inner: true, NoESN: true, MaxMTU: 1400, InKernel: "strongswan", added: overhead.ESP},
		{Name: "gre", Kernel: true, About: "GRE, in clear", Inner: true, Many: true, added: keyedGRE},
		{Name: "gre-esp", Kernel: true, About: "GRE over kernel ESP in transport mode", Suites: tunnel.Suites(), Encapsulations: udpOrRaw, Inner: true, added: overhead.GREOverESP},
		{Name: Existing, About: "a tunnel that is already there: nothing is built", Foreign: true, added: nothing},
		{Name: Clear, About: "no tunnel: the same path in clear", added: nothing},
	}
}

func wireGuard(_ tunnel.Suite, _ tunnel.Encapsulation, outer overhead.IPVersion) (overhead.Encapsulation, error) {
	return overhead.WireGuard(outer)
}

// keyedGRE: keys tell the session's tunnel from any other between the two hosts.
func keyedGRE(_ tunnel.Suite, _ tunnel.Encapsulation, outer overhead.IPVersion) (overhead.Encapsulation, error) {
	return overhead.GRE(outer, true)
}

func nothing(tunnel.Suite, tunnel.Encapsulation, overhead.IPVersion) (overhead.Encapsulation, error) {
	return overhead.Clear(), nil
}

// Names lists the kinds' names in the order of All.
func Names() []string { return Where(func(Kind) bool { return true }) }

// Harmless lists the kinds that can be tried without any trace in the kernel.
func Harmless() []string { return Where(func(k Kind) bool { return !k.Kernel }) }

// SideBySide lists the kinds of which several can stand in one session.
func SideBySide() []string { return Where(func(k Kind) bool { return k.Many }) }

// Rekeyed lists the kinds whose keys can be replaced on demand.
func Rekeyed() []string { return Where(func(k Kind) bool { return k.Rekeys }) }

// WithLifetime lists the kinds that replace their keys by themselves.
func WithLifetime() []string { return Where(func(k Kind) bool { return k.Lifetime }) }

// Where lists the names of the kinds of which something holds.
func Where(holds func(Kind) bool) []string {
	var names []string
	for _, k := range All() {
		if holds(k) {
			names = append(names, k.Name)
		}
	}
	return names
}

// Find returns the kind of that name; the error lists those that there are.
func Find(name string) (Kind, error) {
	for _, k := range All() {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("driver %q: allowed are %s", name, strings.Join(Names(), ", "))
}

// Caveat is what rates through tunnels of these kinds do not say, and what would: one
// sentence for a report. It is empty where they are what their user will have. Names that
// are not known, as a newer tunnelmark's, are passed over.
func Caveat(names ...string) string {
	var programs, kernels []string
	for _, k := range All() {
		if k.InKernel != "" && slices.Contains(names, k.Name) {
			programs, kernels = append(programs, k.Name), append(kernels, "--driver "+k.InKernel)
		}
	}
	if len(programs) == 0 {
		return ""
	}
	subject := "Driver " + programs[0] + " is"
	if len(programs) > 1 {
		subject = "Drivers " + strings.Join(programs, " and ") + " are"
	}
	return fmt.Sprintf("%s in user space: where the tunnel itself is the limit, its rate predicts neither an appliance nor the kernel; "+
		"--driver %s measures an appliance's tunnel, %s the kernel's on the machines in question.", subject, Existing, strings.Join(kernels, " or "))
}

// Choose fills in the suite and encapsulation that are empty, and refuses what
// the kind does not take.
func (k Kind) Choose(suite tunnel.Suite, encapsulation tunnel.Encapsulation) (tunnel.Suite, tunnel.Encapsulation, error) {
	var err error
	if suite.Protects() || !k.Unprotected {
		suite, err = choose(k.Name, "suite", suite, k.Suites)
	}
	if err != nil {
		return "", "", err
	}
	encapsulation, err = choose(k.Name, "encapsulation", encapsulation, k.Encapsulations)
	return suite, encapsulation, err
}

func choose[T ~string](kind, what string, word T, allowed []T) (T, error) {
	switch {
	case word == "" && len(allowed) > 0:
		return allowed[0], nil
	case word == "" || slices.Contains(allowed, word):
		return word, nil
	case len(allowed) == 0:
		return "", fmt.Errorf("%s %q: driver %s has none to choose", what, word, kind)
	}
	return "", fmt.Errorf("%s %q: allowed with driver %s are %s", what, word, kind, strings.Join(Words(allowed), ", "))
}

// Words are those of a list as plain text.
func Words[T ~string](list []T) []string {
	var all []string
	for _, word := range list {
		all = append(all, string(word))
	}
	return all
}

// InnerMTU is the largest inner packet that needs no fragment on a path.
func (k Kind) InnerMTU(added overhead.Encapsulation, path overhead.PathMTU) int {
	mtu := int(added.TunnelMTU(path))
	if k.MaxMTU > 0 {
		mtu = min(mtu, k.MaxMTU)
	}
	return mtu
}

// Overhead is what a tunnel of this kind adds to each packet.
func (k Kind) Overhead(suite tunnel.Suite, encapsulation tunnel.Encapsulation, outer overhead.IPVersion) (overhead.Encapsulation, error) {
	return k.added(suite, encapsulation, outer)
}
