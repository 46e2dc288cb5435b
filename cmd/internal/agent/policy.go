package agent

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/cmd/internal/strictyaml"
	"tunnelmark/probe"
	"tunnelmark/tunnel/strongswan"
)

// Policy is what an agent's owner allows. Nothing that comes over the network
// can widen it.
type Policy struct {
	Name  string     // How the agent calls itself.
	Outer netip.Addr // The address on which tunnels arrive.
	Ports PortRange  // Where encapsulated packets may arrive, the first that is free.
	// MaxInnerBitsPerSecond, MaxTrial and MaxSession cap what a controller may ask for.
	MaxInnerBitsPerSecond float64
	MaxTrial              time.Duration
	MaxSession            time.Duration
	Drivers               []string // Those allowed; empty allows all.
	Insecure              bool     // A suite that protects nothing may be used.
	// Peers are the only agents to which tunnels may be built; empty leaves that
	// to what has been paired.
	Peers []control.Fingerprint
	// Credentials authenticate this end to charon at the other, instead of a key
	// made for the session; nil is such a key. Both ends must have some.
	Credentials *strongswan.Credentials
}

// PortRange is a range of UDP ports, both ends included.
type PortRange struct{ First, Last uint16 }

// DefaultPolicy allows what a measurement between two datacenters needs. Port
// 4500 is that of UDP-encapsulated ESP (RFC 3948, Section 2.1).
func DefaultPolicy() Policy {
	return Policy{
		Ports:                 PortRange{4500, 4510},
		MaxInnerBitsPerSecond: 100e9,
		MaxTrial:              time.Minute,
		MaxSession:            time.Hour,
	}
}

// ReadPolicy reads a policy file over the defaults.
func ReadPolicy(path string) (Policy, error) {
	policy := DefaultPolicy()
	file, err := os.Open(path)
	if err != nil {
		return policy, fmt.Errorf("open policy: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, strictyaml.MaxBytes+1))
	if err != nil {
		return policy, fmt.Errorf("read policy: %w", err)
	}
	return policy, strictyaml.Parse(path, text, policy.keys().Read)
}

func (p *Policy) keys() strictyaml.Keys {
	version := 0
	return strictyaml.Keys{
		"version": strictyaml.Int(&version, 1, 1),
		"name":    strictyaml.Name(&p.Name),
		"outer":   strictyaml.Scalar(&p.Outer, ParseOuter),
		"ports":   strictyaml.Scalar(&p.Ports, ParsePorts),
		"limits": strictyaml.Keys{
			"inner":   strictyaml.BitRate(&p.MaxInnerBitsPerSecond),
			"trial":   strictyaml.Duration(&p.MaxTrial),
			"session": strictyaml.Duration(&p.MaxSession),
		}.Read,
		"drivers":  strictyaml.List(16, strictyaml.Append(&p.Drivers)),
		"insecure": strictyaml.Bool(&p.Insecure),
		"peers":    strictyaml.List(1000, p.appendPeer),

		"strongswan": p.readCredentials,
	}
}

func (p *Policy) readCredentials(node *yaml.Node) error {
	c := &strongswan.Credentials{}
	keys := strictyaml.Keys{
		"certificate": strictyaml.Text(&c.Certificate),
		"key":         strictyaml.Text(&c.Key),
		"authority":   strictyaml.Text(&c.Authority),
	}
	if err := keys.Read(node); err != nil {
		return err
	}
	if c.Certificate == "" || c.Key == "" || c.Authority == "" {
		return strictyaml.At(node, "want the paths of all three: certificate, key, authority")
	}
	p.Credentials = c
	return nil
}

func (p *Policy) appendPeer(node *yaml.Node) error {
	var fingerprint control.Fingerprint
	err := strictyaml.Scalar(&fingerprint, control.ParseFingerprint)(node)
	p.Peers = append(p.Peers, fingerprint)
	return err
}

// ParseOuter reads the address on which tunnels arrive: a unicast one.
func ParseOuter(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err != nil || address.IsUnspecified() || address.IsMulticast() {
		return netip.Addr{}, fmt.Errorf("%q is not a unicast IP address of this machine", text)
	}
	return address.Unmap(), nil
}

// ParsePorts reads "4500" or "4500-4510".
func ParsePorts(text string) (PortRange, error) {
	first, last, found := strings.Cut(text, "-")
	if !found {
		last = first
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	if errA != nil || errB != nil || a == 0 || b < a {
		return PortRange{}, fmt.Errorf("%q is not a range of UDP ports such as 4500-4510", text)
	}
	return PortRange{uint16(a), uint16(b)}, nil
}

// String writes a range as ParsePorts reads it.
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// allows says whether a driver may be used.
func (p Policy) allows(driver string) bool {
	return len(p.Drivers) == 0 || slices.Contains(p.Drivers, driver)
}

// limits are what the policy allows in a session.
func (p Policy) limits() control.Limits {
	return control.Limits{
		MaxInnerBitsPerSecond: uint64(p.MaxInnerBitsPerSecond),
		MaxDuration:           min(p.MaxTrial, probe.MaxDuration),
		MaxInnerSize:          65535,
	}
}

// Check says what a policy lacks, and which of its drivers there is not.
func (p Policy) Check() error {
	if !p.Outer.IsValid() {
		return errors.New("the address on which tunnels arrive is not known: give --outer ADDRESS, or outer: in the policy file")
	}
	if p.MaxTrial <= 0 || p.MaxSession <= 0 {
		return errors.New("limits of the policy: trial and session must be above zero")
	}
	known := kind.Names()
	for _, driver := range p.Drivers {
		if !slices.Contains(known, driver) {
			return fmt.Errorf("drivers of the policy: %q is none of %s", driver, strings.Join(known, ", "))
		}
	}
	return nil
}
