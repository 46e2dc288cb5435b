package existing

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// way is how a flow leaves this host.
type way struct {
	flow    flow
	table   int // Of the route.
	hops    []hop
	pathMTU int // In bytes; what the kernel knows of the whole path.
}

// hop is an interface that the flow may leave by.
type hop struct {
	index   int
	name    string
	kind    string     // The kernel's word.
	mtu     int        // In bytes.
	gateway netip.Addr // Invalid where the peer is on the link.
	policy  *policy    // That decides on the flow here; nil: none does.
}

// tunnelKinds are the kinds of interfaces that are this host's end of a tunnel,
// in people's words.
var tunnelKinds = map[string]string{
	"xfrm":      "xfrm interface",
	"vti":       "VTI",
	"vti6":      "VTI over IPv6",
	"gre":       "GRE",
	"gretap":    "GRE, Ethernet inside",
	"ip6gre":    "GRE over IPv6",
	"ip6gretap": "GRE over IPv6, Ethernet inside",
	"ipip":      "IP in IP",
	"ip6tnl":    "IP in IPv6",
	"sit":       "IPv6 in IPv4",
	"wireguard": "WireGuard",
	"tun":       "TUN device",
}

// evidence is a proof where this host itself is the tunnel's end, whichever
// interface a flow leaves by.
func (w way) evidence() tunnel.Evidence {
	if !slices.ContainsFunc(w.hops, func(h hop) bool { return !h.intoTunnel() }) {
		return tunnel.Evidence{Proven: true, How: w.String()}
	}
	const missing = ": this host sees no tunnel on the way; the gateway's counter of encrypted packets would prove it (--gateway-counter)"
	return tunnel.Evidence{How: w.String() + w.narrowing() + missing}
}

func (h hop) intoTunnel() bool {
	return tunnelKinds[h.kind] != "" || h.policy != nil && h.policy.protects()
}

// String tells the way in the words of ip route, such as "to 10.2.0.5 via
// 10.1.0.1 dev eth0 src 10.1.0.5, PMTU 1500".
func (w way) String() string {
	hops := make([]string, len(w.hops))
	for i, h := range w.hops {
		hops[i] = h.String()
	}
	table := ""
	if w.table != unix.RT_TABLE_MAIN && w.table != unix.RT_TABLE_UNSPEC {
		table = fmt.Sprintf(" table %d", w.table)
	}
	return fmt.Sprintf("to %s %s src %s%s, PMTU %d", w.flow.remote.Addr(), strings.Join(hops, " or "), w.flow.local.Addr(), table, w.pathMTU)
}

func (h hop) String() string {
	text := "dev " + h.name
	if h.gateway.IsValid() {
		text = "via " + h.gateway.String() + " " + text
	}
	if kind := tunnelKinds[h.kind]; kind != "" {
		text += " (" + kind + ")"
	}
	if h.policy != nil && h.policy.protects() {
		text += " (xfrm policy: " + h.policy.String() + ")"
	}
	return text
}

// narrowing says that the path takes less than the interface: a hint at a
// tunnel, or at a narrow link.
func (w way) narrowing() string {
	narrowest := w.narrowest()
	if w.pathMTU >= narrowest {
		return ""
	}
	return fmt.Sprintf(" (%d below the interface's, as a tunnel on the way would make it)", narrowest-w.pathMTU)
}

// narrowest is the least MTU of the interfaces, in bytes.
func (w way) narrowest() int {
	least := w.hops[0].mtu
	for _, h := range w.hops {
		least = min(least, h.mtu)
	}
	return least
}
