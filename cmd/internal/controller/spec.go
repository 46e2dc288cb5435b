package controller

import (
	"fmt"
	"strings"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// Spec is the tunnel that is asked of both agents. The words are those of
// package kind.
type Spec struct {
	Driver        string
	Suite         string // Empty: the driver's first, or none.
	Encapsulation string // Likewise.
	InnerMTU      int    // In bytes. Zero: the largest that needs no fragments.
	Tunnels       int    // Side by side. Zero: one.
	NoESN         bool   // 32-bit sequence numbers instead of extended ones.
	ReplayWindow  int    // In packets. Zero: the driver's own.
	Rekey         tunnel.Lifetime
	Insecure      bool // A suite that protects nothing is meant.
	// FromLocal and ToLocal are addresses or interfaces of the ends' hosts from
	// which a tunnel that is already there is used. Empty: the agent's own.
	FromLocal, ToLocal string
	// Hold names the sessions' namespaces, "tm-HOLD-AGENT", for other programs.
	// Empty: they have no name.
	Hold string
}

// leastMTU is IPv4's, in bytes (RFC 791, Section 3.2).
const leastMTU = 68

// DefaultSpec is the embedded ESP tunnel.
func DefaultSpec() Spec {
	return Spec{Driver: kind.ESP, Suite: string(tunnel.AES128GCM), Encapsulation: string(tunnel.UDP), Tunnels: 1}
}

// ClearSpec is the path without a tunnel.
func ClearSpec() Spec { return Spec{Driver: kind.Clear, Tunnels: 1} }

// IsExisting says that the tunnel is not ours, and may carry production.
func (s Spec) IsExisting() bool { return s.Driver == kind.Existing }

// Builds says that there is a tunnel of ours, and so a path without it to compare
// with.
func (s Spec) Builds() bool { return !s.IsExisting() && s.Driver != kind.Clear }

// Complete fills in what is empty, and refuses what no agent could build.
func (s Spec) Complete() (Spec, error) {
	k, err := kind.Find(s.Driver)
	if err != nil {
		return s, err
	}
	suite, encapsulation, err := k.Choose(tunnel.Suite(s.Suite), tunnel.Encapsulation(s.Encapsulation))
	if err != nil {
		return s, err
	}
	s.Suite, s.Encapsulation = string(suite), string(encapsulation)
	s.Tunnels, s.NoESN = max(s.Tunnels, 1), s.NoESN || k.NoESN
	return s, s.check(k)
}

func (s Spec) check(k kind.Kind) error {
	switch {
	case !tunnel.Suite(s.Suite).Protects() && !s.Insecure:
		return fmt.Errorf("suite %q neither encrypts nor authenticates: it measures the path without crypto, and is refused without --insecure", s.Suite)
	case s.InnerMTU != 0 && (s.InnerMTU < leastMTU || s.InnerMTU > 65535):
		return fmt.Errorf("MTU of %d bytes: allowed are %d to 65535", s.InnerMTU, leastMTU)
	case s.Tunnels > control.MaxTunnels:
		return fmt.Errorf("%d tunnels: allowed are 1 to %d", s.Tunnels, control.MaxTunnels)
	case s.Tunnels > 1 && !k.Many:
		return fmt.Errorf("%d tunnels: driver %s builds one; several at once can: %s", s.Tunnels, k.Name, strings.Join(kind.SideBySide(), ", "))
	case s.ReplayWindow < 0 || s.ReplayWindow > control.MaxReplayWindow:
		return fmt.Errorf("replay window of %d packets: allowed are 0 (the driver's own) to %d", s.ReplayWindow, control.MaxReplayWindow)
	case (s.NoESN || s.ReplayWindow != 0) && len(k.Suites) == 0:
		return fmt.Errorf("sequence numbers and replay window: driver %s has no choice of them", k.Name)
	case s.Rekey != (tunnel.Lifetime{}) && !k.Lifetime:
		return fmt.Errorf("rekeying after %v: driver %s cannot by itself; drivers that can: %s", s.Rekey, k.Name, strings.Join(kind.WithLifetime(), ", "))
	case s.Rekey != (tunnel.Lifetime{}) && !tunnel.Suite(s.Suite).Protects():
		return fmt.Errorf("rekeying after %v: suite %q has no keys to replace", s.Rekey, s.Suite)
	case (s.FromLocal != "" || s.ToLocal != "") && !k.Foreign:
		return fmt.Errorf("local addresses: driver %s builds its tunnel between the agents' outer addresses; they are for driver %s", k.Name, kind.Existing)
	}
	return s.Rekey.Check()
}

// overhead is what the tunnel adds to each packet.
func (s Spec) overhead(outer overhead.IPVersion) (overhead.Encapsulation, error) {
	k, err := kind.Find(s.Driver)
	if err != nil {
		return overhead.Encapsulation{}, err
	}
	return k.Overhead(tunnel.Suite(s.Suite), tunnel.Encapsulation(s.Encapsulation), outer)
}
