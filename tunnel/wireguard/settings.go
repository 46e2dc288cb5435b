package wireguard

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"tunnelmark/tunnel"
)

// settings is what wgctrl is told of one half. It holds keys until clear, and is
// never printed: wgtypes.Key shows itself.
type settings struct {
	private   wgtypes.Key
	preshared wgtypes.Key
	peer      wgtypes.Key // Public.
	port      int
	endpoint  *net.UDPAddr
	allowed   []net.IPNet
}

// newSettings asks for the session's keys.
func newSettings(spec tunnel.Spec, keys tunnel.Keys) (*settings, error) {
	private, peer, err := keys.KeyPair()
	if err != nil {
		return nil, fmt.Errorf("take key pair: %w", err)
	}
	shared, err := keys.Shared(wgtypes.KeyLen)
	if err != nil {
		return nil, fmt.Errorf("take preshared key: %w", err)
	}
	defer clear(shared)
	mine := private.Bytes()
	defer clear(mine)

	remote := netip.AddrPortFrom(spec.Remote.Outer.Addr().Unmap(), spec.Remote.Outer.Port())
	return &settings{
		private:   wgtypes.Key(mine),
		preshared: wgtypes.Key(shared),
		peer:      wgtypes.Key(peer.Bytes()),
		port:      int(spec.Local.Outer.Port()),
		endpoint:  net.UDPAddrFromAddrPort(remote),
		allowed:   hosts(spec.Remote.Inner4, spec.Remote.Inner6),
	}, nil
}

// clear forgets the secrets.
func (s *settings) clear() { s.private, s.preshared = wgtypes.Key{}, wgtypes.Key{} }

// hosts are the addresses there are, as networks of one.
func hosts(addresses ...netip.Addr) []net.IPNet {
	var networks []net.IPNet
	for _, address := range addresses {
		if !address.IsValid() {
			continue
		}
		bits := address.BitLen()
		networks = append(networks, net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, bits)})
	}
	return networks
}

// config is all of it in wgctrl's words; it shares the keys.
func (s *settings) config() wgtypes.Config {
	return wgtypes.Config{
		PrivateKey:   &s.private,
		ListenPort:   &s.port,
		ReplacePeers: true,
		Peers: []wgtypes.PeerConfig{{
			PublicKey:         s.peer,
			PresharedKey:      &s.preshared,
			Endpoint:          s.endpoint,
			ReplaceAllowedIPs: true,
			AllowedIPs:        s.allowed,
		}},
	}
}

// keepalive sets how often the peer is sent a packet without need; 0 is never.
func keepalive(peer wgtypes.Key, every time.Duration) wgtypes.Config {
	return wgtypes.Config{Peers: []wgtypes.PeerConfig{{
		PublicKey:                   peer,
		UpdateOnly:                  true,
		PersistentKeepaliveInterval: &every,
	}}}
}
