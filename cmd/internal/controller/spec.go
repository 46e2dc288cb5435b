package controller

import (
	"fmt"
	"slices"
	"strings"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/overhead"
)

// Spec is the tunnel that is asked of both agents.
type Spec struct {
	Driver        string
	Suite         string // Empty without encryption.
	Encapsulation string // Likewise.
	InnerMTU      int    // In bytes. Zero: the largest that needs no fragments.
}

const (
	driverESP   = "esp"
	driverClear = "clear"
)

// Drivers are the kinds of tunnel that a controller can reckon with, Suites and
// Encapsulations those of ESP. Whether an agent can build one is the agent's to say.
func Drivers() []string { return []string{driverESP, driverClear} }

// Suites is documented with Drivers.
func Suites() []string {
	return []string{string(tunnel.AES128GCM), string(tunnel.AES256GCM), string(tunnel.ChaCha20Poly1305)}
}

// Encapsulations is documented with Drivers.
func Encapsulations() []string { return []string{string(tunnel.UDP), string(tunnel.Raw)} }

// leastMTU is IPv4's, in bytes (RFC 791, Section 3.2).
const leastMTU = 68

// DefaultSpec is the embedded ESP tunnel.
func DefaultSpec() Spec {
	return Spec{Driver: driverESP, Suite: string(tunnel.AES128GCM), Encapsulation: string(tunnel.UDP)}
}

// ClearSpec is the path without a tunnel.
func ClearSpec() Spec { return Spec{Driver: driverClear} }

// IsClear says that there is no tunnel.
func (s Spec) IsClear() bool { return s.Driver == driverClear }

// Check says what no agent could build, and what is allowed.
func (s Spec) Check() error {
	if s.InnerMTU != 0 && (s.InnerMTU < leastMTU || s.InnerMTU > 65535) {
		return fmt.Errorf("MTU of %d bytes: allowed are %d to 65535", s.InnerMTU, leastMTU)
	}
	if err := oneOf("driver", s.Driver, Drivers()); err != nil || s.IsClear() {
		return err
	}
	if err := oneOf("suite", s.Suite, Suites()); err != nil {
		return err
	}
	return oneOf("encapsulation", s.Encapsulation, Encapsulations())
}

func oneOf(what, word string, allowed []string) error {
	if slices.Contains(allowed, word) {
		return nil
	}
	return fmt.Errorf("%s %q: allowed are %s", what, word, strings.Join(allowed, ", "))
}

// overhead is what the tunnel adds to each packet.
func (s Spec) overhead(outer overhead.IPVersion) (overhead.Encapsulation, error) {
	if s.IsClear() {
		return overhead.Clear(), nil
	}
	return overhead.ESP(tunnel.Suite(s.Suite), tunnel.Encapsulation(s.Encapsulation), outer)
}
