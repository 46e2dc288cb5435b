package strongswan

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

const (
	// The names of the one connection of each charon, and of its one child.
	ikeName   = "ike"
	childName = "tunnel"

	mostText = 8 << 10 // Bytes of a swanctl.conf.
)

// plugins are what charon loads. The order decides who encrypts: strongSwan's
// own AES in C, before OpenSSL's, makes user-space ESP ten times slower.
const plugins = "random nonce openssl drbg aes gcm ctr ccm chapoly sha1 sha2 hmac kdf curve25519 pem pkcs1 pkcs8 x509 pubkey constraints"

// daemon is what strongswan.conf says. It holds no secret.
type daemon struct {
	userSpace bool
	port      uint16 // For UDP encapsulation; the other of IKE's two is drawn by the kernel.
	ipv6      bool   // Of the outer network.
	routes    bool   // Charon keeps routes to the peer's networks, in a table of its own.
	vici      string // Path of the control socket.
	// acquireExpires is the namespace's net.core.xfrm_acq_expires, in seconds, which
	// charon sets: to what it was, here. Empty: the kernel has none.
	acquireExpires string
}

// String is strongswan.conf(5). Peers are asked quickly and often, so that a
// half that opens later is met at once. Log level 1 tells the course of things
// and no key.
func (d daemon) String() string {
	kernel := "kernel-netlink"
	if d.userSpace {
		kernel = "kernel-libipsec kernel-netlink" // The first one does the ESP.
	}
	table := 220 // charon's default, which rules lead to.
	if !d.routes {
		table = 0
	}
	var b strings.Builder
	fmt.Fprintf(&b, "charon {\n")
	fmt.Fprintf(&b, "  load = %s %s socket-default vici\n", plugins, kernel)
	fmt.Fprintf(&b, "  port = 0\n  port_nat_t = %d\n", d.port)
	fmt.Fprintf(&b, "  install_routes = %s\n  routing_table = %d\n", yes(d.routes), table)
	fmt.Fprintf(&b, "  install_virtual_ip = no\n  dos_protection = no\n")
	fmt.Fprintf(&b, "  retransmit_timeout = 0.5\n  retransmit_base = 1\n  retransmit_tries = 4\n")
	fmt.Fprintf(&b, "  filelog {\n    stderr {\n      default = 1\n      enc = 0\n      esp = 0\n      flush_line = yes\n    }\n  }\n")
	fmt.Fprintf(&b, "  plugins {\n    vici {\n      socket = unix://%s\n    }\n", d.vici)
	fmt.Fprintf(&b, "    socket-default {\n      use_ipv4 = %s\n      use_ipv6 = %s\n    }\n", yes(!d.ipv6), yes(d.ipv6))
	fmt.Fprintf(&b, "    kernel-netlink {\n      roam_events = no\n")
	if d.acquireExpires != "" {
		fmt.Fprintf(&b, "      xfrm_acq_expires = %s\n", d.acquireExpires)
	}
	fmt.Fprintf(&b, "    }\n  }\n}\n")
	fmt.Fprintf(&b, "swanctl {\n  load = random openssl pem pkcs1 pkcs8 x509 pubkey\n}\n")
	return b.String()
}

// connection is what swanctl.conf says.
type connection struct {
	local, remote  netip.AddrPort
	secret         []byte // Preshared key; empty where there are certificates.
	localNetworks  []netip.Prefix
	remoteNetworks []netip.Prefix
	proposal       string
	forceUDP       bool          // Encapsulate though no NAT is met.
	replayWindow   int           // 0: charon's.
	lifetime       time.Duration // Of each kernel SA. 0: no end.
	interfaceID    uint32        // Of the xfrm interface. 0: none.
}

// text is swanctl.conf(5). It holds the preshared key: the caller clears it.
// Nothing happens by itself while traffic is measured: no rekeying, no reauthentication,
// no liveness checks, which an overload would fail.
func (c connection) text() []byte {
	var b bytes.Buffer
	b.Grow(mostText) // No copy of the key is left where a buffer grew.
	fmt.Fprintf(&b, "connections {\n  %s {\n", ikeName)
	fmt.Fprintf(&b, "    version = 2\n    proposals = %s\n", ikeProposal)
	fmt.Fprintf(&b, "    local_addrs = %s\n    local_port = %d\n", c.local.Addr().Unmap(), c.local.Port())
	fmt.Fprintf(&b, "    remote_addrs = %s\n    remote_port = %d\n", c.remote.Addr().Unmap(), c.remote.Port())
	fmt.Fprintf(&b, "    encap = %s\n    mobike = no\n    unique = replace\n    keyingtries = 1\n", yes(c.forceUDP))
	fmt.Fprintf(&b, "    rekey_time = 0\n    reauth_time = 0\n    dpd_delay = 0\n")
	c.writeAuthentication(&b)
	fmt.Fprintf(&b, "    children {\n      %s {\n", childName)
	c.writeChild(&b)
	fmt.Fprintf(&b, "      }\n    }\n  }\n}\n")
	if len(c.secret) > 0 {
		b.WriteString("secrets {\n  ike-session {\n    secret = 0x")
		b.Write(hex.AppendEncode(b.AvailableBuffer(), c.secret))
		b.WriteString("\n  }\n}\n")
	}
	return b.Bytes()
}

// writeAuthentication names the ends by their outer addresses, or, with
// certificates, by those.
func (c connection) writeAuthentication(b *bytes.Buffer) {
	if len(c.secret) == 0 {
		fmt.Fprintf(b, "    local {\n      auth = pubkey\n      certs = %s\n    }\n", certificateFile)
		fmt.Fprintf(b, "    remote {\n      auth = pubkey\n      cacerts = %s\n    }\n", authorityFile)
		return
	}
	fmt.Fprintf(b, "    local {\n      auth = psk\n      id = \"keyid:%s\"\n    }\n", c.local)
	fmt.Fprintf(b, "    remote {\n      auth = psk\n      id = \"keyid:%s\"\n    }\n", c.remote)
}

// writeChild sets rand_time, too: without, charon computes a time of rekeying
// from the lifetime that is long past.
func (c connection) writeChild(b *bytes.Buffer) {
	fmt.Fprintf(b, "        local_ts = %s\n        remote_ts = %s\n", list(c.localNetworks), list(c.remoteNetworks))
	fmt.Fprintf(b, "        esp_proposals = %s\n", c.proposal)
	fmt.Fprintf(b, "        rekey_time = 0\n        rand_time = 0\n        life_time = %d\n", (c.lifetime+time.Second-1)/time.Second)
	if c.replayWindow > 0 {
		fmt.Fprintf(b, "        replay_window = %d\n", c.replayWindow)
	}
	if c.interfaceID != 0 {
		fmt.Fprintf(b, "        if_id_in = %d\n        if_id_out = %d\n", c.interfaceID, c.interfaceID)
	}
}

func list(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, prefix := range prefixes {
		words[i] = prefix.String()
	}
	return strings.Join(words, ",")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
