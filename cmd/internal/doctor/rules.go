package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tunnelmark/cmd/internal/kind"
	"tunnelmark/tunnel"
)

// Rule is one thing that a firewall at or before an end must let in. What one end
// lets in, the other's side must let out.
type Rule struct {
	End      string `json:"end"`
	About    string `json:"about"` // In plain words.
	IPTables string `json:"iptables"`
	NFTables string `json:"nftables"`
}

// Rules are what a pair needs, at both ends. Of one that could not be asked only
// its control is known.
func Rules(a, b Report) []Rule {
	return append(incoming(a, b), incoming(b, a)...)
}

func incoming(here, there Report) []Rule {
	rules := controlRule(here)
	to, errTo := netip.ParseAddr(here.Outer)
	from, errFrom := netip.ParseAddr(there.Outer)
	if errTo != nil || errFrom != nil {
		return rules
	}
	between := direction{here.Name, from, to}
	return append(rules,
		between.udp(here, there),
		between.protocol(50, "esp", fmt.Sprintf("ESP without UDP from %s, only for --encapsulation raw: %s", there.Name, strings.Join(rawKinds(), ", "))),
		between.protocol(47, "gre", fmt.Sprintf("GRE from %s, only for: gre", there.Name)),
		between.decrypted(),
		between.behind(here),
		between.tooBig(),
	)
}

// controlRule lets controllers in. There is none for a Unix socket.
func controlRule(here Report) []Rule {
	host, text, err := net.SplitHostPort(here.Address)
	port, notNumber := strconv.ParseUint(text, 10, 16)
	if err != nil || notNumber != nil {
		return nil
	}
	return []Rule{{
		End: here.Name, About: "control, from wherever tunnelmark runs",
		IPTables: fmt.Sprintf("%s -I INPUT -p tcp --dport %d -j ACCEPT", choose(strings.Contains(host, ":"), "ip6tables", "iptables"), port),
		NFTables: fmt.Sprintf("nft insert rule inet filter input tcp dport %d accept", port),
	}}
}

// direction leads from one outer address to another of the same IP version.
type direction struct {
	end      string
	from, to netip.Addr
}

// rule adds the addresses, in the words of each tool.
func (d direction) rule(about, iptables, nftables string) Rule {
	return Rule{
		End: d.end, About: about,
		IPTables: fmt.Sprintf("%s -I INPUT -s %s -d %s %s -j ACCEPT", choose(d.to.Is4(), "iptables", "ip6tables"), d.from, d.to, iptables),
		NFTables: fmt.Sprintf("nft insert rule inet filter input %[1]s saddr %[2]s %[1]s daddr %[3]s %[4]s accept", choose(d.to.Is4(), "ip", "ip6"), d.from, d.to, nftables),
	}
}

// udp is all that rides on the ports that both agents take, load in clear too.
func (d direction) udp(here, there Report) Rule {
	return d.rule(
		fmt.Sprintf("tunnels over UDP from %s, and its load without a tunnel: %s", there.Name, strings.Join(udpKinds(), ", ")),
		fmt.Sprintf("-p udp --sport %d:%d --dport %d:%d", there.FirstPort, there.LastPort, here.FirstPort, here.LastPort),
		fmt.Sprintf("udp sport %d-%d udp dport %d-%d", there.FirstPort, there.LastPort, here.FirstPort, here.LastPort))
}

func (d direction) protocol(number int, name, about string) Rule {
	return d.rule(about,
		fmt.Sprintf("-p %d", number),
		fmt.Sprintf("%s %s", choose(d.to.Is4(), "ip protocol", "meta l4proto"), name))
}

// decrypted is the load of drivers whose clear side is the host's own namespace: it
// passes the firewall a second time, without the tunnel around it.
func (d direction) decrypted() Rule {
	return Rule{
		End: d.end, About: "load that kernel ESP has decrypted, only for: " + strings.Join(openKinds(), ", "),
		IPTables: fmt.Sprintf("%s -I INPUT -m policy --dir in --pol ipsec -p udp --dport %d -j ACCEPT", choose(d.to.Is4(), "iptables", "ip6tables"), tunnel.ProbePort),
		NFTables: fmt.Sprintf("nft insert rule inet filter input meta ipsec exists udp dport %d accept", tunnel.ProbePort),
	}
}

// openKinds have no namespace of their own for what they have decrypted.
func openKinds() []string {
	return kind.Where(func(k kind.Kind) bool { return k.Name == "xfrm-policy" || k.Name == "xfrm-transport" })
}

// behind is load from and to addresses that only the user knows.
func (d direction) behind(here Report) Rule {
	return Rule{
		End: d.end, About: "load out of a tunnel that is already there, from and to the addresses behind it, only for: " + kind.Existing,
		IPTables: fmt.Sprintf("%s -I INPUT -p udp --dport %d:%d -j ACCEPT", choose(d.to.Is4(), "iptables", "ip6tables"), here.FirstPort, here.LastPort),
		NFTables: fmt.Sprintf("nft insert rule inet filter input udp dport %d-%d accept", here.FirstPort, here.LastPort),
	}
}

// tooBig comes from any router between the ends (RFC 1191, Section 3; RFC 4443,
// Section 3.2).
func (d direction) tooBig() Rule {
	r := Rule{End: d.end, About: `ICMP "fragmentation needed" from any router, or packets that are too large vanish without a word`,
		IPTables: "iptables -I INPUT -p icmp --icmp-type fragmentation-needed -j ACCEPT",
		NFTables: "nft insert rule inet filter input icmp type destination-unreachable icmp code frag-needed accept"}
	if d.to.Is6() {
		r.About = `ICMPv6 "packet too big" from any router, or packets that are too large vanish without a word`
		r.IPTables = "ip6tables -I INPUT -p icmpv6 --icmpv6-type packet-too-big -j ACCEPT"
		r.NFTables = "nft insert rule inet filter input icmpv6 type packet-too-big accept"
	}
	return r
}

// udpKinds are the kinds that use UDP between the outer addresses: all that do not
// insist on a protocol of their own, or on addresses of others.
func udpKinds() []string {
	return kind.Where(func(k kind.Kind) bool {
		return k.Name != kindGRE && !k.Foreign && (len(k.Encapsulations) == 0 || slices.Contains(k.Encapsulations, tunnel.UDP))
	})
}

// rawKinds can carry ESP as IP protocol 50.
func rawKinds() []string {
	return kind.Where(func(k kind.Kind) bool { return slices.Contains(k.Encapsulations, tunnel.Raw) })
}

// kindGRE alone is neither ESP nor UDP.
const kindGRE = "gre"
