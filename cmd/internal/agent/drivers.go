package agent

import (
	"net/netip"
	"slices"

	"tunnelmark/cmd/internal/control/controlv1"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/clear"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/existing"
	"tunnelmark/tunnel/gre"
	"tunnelmark/tunnel/strongswan"
	"tunnelmark/tunnel/wireguard"
	"tunnelmark/tunnel/xfrm"
)

// Drivers is the one table of drivers, by the names of package kind.
func Drivers(policy Policy) map[string]tunnel.Driver {
	return map[string]tunnel.Driver{
		kind.ESP:          esp.Driver{},
		"xfrm":            xfrm.Driver{Form: xfrm.Interface},
		"xfrm-vti":        xfrm.Driver{Form: xfrm.VTI},
		"xfrm-policy":     xfrm.Driver{Form: xfrm.Policy},
		"xfrm-transport":  xfrm.Driver{Form: xfrm.Transport},
		"wireguard":       wireguard.Kernel{},
		"wireguard-user":  wireguard.User{},
		"strongswan":      strongswan.Driver{Credentials: policy.Credentials},
		"strongswan-user": strongswan.Driver{UserSpace: true, Credentials: policy.Credentials},
		"gre":             gre.Driver{},
		"gre-esp":         gre.Driver{Guard: xfrm.Guard{}},
		kind.Existing:     existing.Driver{},
		kind.Clear:        clear.Driver{},
	}
}

// describeDrivers says of each driver whether it works here. Only those that are
// to be tried are asked to check a spec that any machine of its kind could build:
// the kernel may load modules for that.
func (a *Agent) describeDrivers(try []string) []*controlv1.Driver {
	var all []*controlv1.Driver
	for _, k := range kind.All() {
		if a.drivers[k.Name] == nil {
			continue
		}
		driver := &controlv1.Driver{Name: k.Name, Supported: a.policy.allows(k.Name), Reason: "the policy does not allow it"}
		if driver.Supported {
			driver.Reason, driver.Tried = "", slices.Contains(try, k.Name)
		}
		if driver.Tried {
			if err := a.checkExample(k); err != nil {
				driver.Supported, driver.Reason = false, err.Error()
			}
		}
		all = append(all, driver)
	}
	return all
}

func (a *Agent) checkExample(k kind.Kind) error {
	spec, err := exampleSpec(k)
	if err != nil {
		return err
	}
	spec.Lifetime = a.policy.MaxSession
	return a.drivers[k.Name].Check(spec)
}

func exampleSpec(k kind.Kind) (tunnel.Spec, error) {
	suite, encapsulation, err := k.Choose("", "")
	if err != nil {
		return tunnel.Spec{}, err
	}
	end := func(outer, inner4, inner6 string, spi uint32) tunnel.End {
		return tunnel.End{
			Outer: netip.MustParseAddrPort(outer), SPI: spi,
			Inner4: netip.MustParseAddr(inner4), Inner6: netip.MustParseAddr(inner6),
		}
	}
	return tunnel.Spec{
		Suite: suite, Encapsulation: encapsulation, NoESN: k.NoESN, MTU: 1400,
		Local:  end("192.0.2.1:4500", "198.18.0.1", "2001:2::1", firstSPI),
		Remote: end("192.0.2.2:4500", "198.18.0.2", "2001:2::2", firstSPI+1),
	}, nil
}
