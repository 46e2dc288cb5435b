package doctor

import (
	"strconv"
	"strings"

	"tunnelmark/cmd/internal/kind"
	"tunnelmark/cmd/internal/unit"
	"tunnelmark/tunnel/overhead"
)

// Carry is the most that a link can carry through some kinds of tunnel one way,
// whatever encrypts: the arithmetic of their headers.
type Carry struct {
	Drivers       []string `json:"drivers"` // All that add the same to a packet.
	Suite         string   `json:"suite,omitempty"`
	Encapsulation string   `json:"encapsulation,omitempty"`
	PathMTU       int      `json:"path_mtu_bytes"`
	InnerMTU      int      `json:"inner_mtu_bytes"` // The largest inner packet that needs no fragment.
	// Rates are zero where the link's rate is not known.
	WireBitsPerSecond    float64 `json:"wire_bits_per_second,omitempty"`
	InnerBitsPerSecond   float64 `json:"inner_bits_per_second,omitempty"`
	GoodputBitsPerSecond float64 `json:"udp_goodput_bits_per_second,omitempty"`
}

// Carries reckons for each kind of tunnel with the suite and encapsulation that it
// takes when none is asked for. wireBitsPerSecond is zero where it is not known.
func Carries(wireBitsPerSecond float64, path overhead.PathMTU, outer overhead.IPVersion) []Carry {
	var all []Carry
	for _, k := range kind.All() {
		if k.Foreign {
			continue // What it adds nobody knows here.
		}
		suite, encapsulation, err := k.Choose("", "")
		if err != nil {
			continue
		}
		added, err := k.Overhead(suite, encapsulation, outer)
		if err != nil {
			continue // Not over that version of IP.
		}
		most := added.Most(wireBitsPerSecond, path)
		if most.InnerSize <= 0 {
			continue
		}
		all = join(all, Carry{
			Drivers: []string{k.Name}, Suite: string(suite), Encapsulation: string(encapsulation),
			PathMTU: int(path), InnerMTU: most.InnerSize, WireBitsPerSecond: wireBitsPerSecond,
			InnerBitsPerSecond: most.InnerBitsPerSecond, GoodputBitsPerSecond: most.UDPGoodputBitsPerSecond,
		})
	}
	return all
}

// join adds a kind to those that carry the same, or as one of its own.
func join(all []Carry, one Carry) []Carry {
	for i, c := range all {
		if c.InnerMTU == one.InnerMTU && c.InnerBitsPerSecond == one.InnerBitsPerSecond && c.Suite == one.Suite && c.Encapsulation == one.Encapsulation {
			all[i].Drivers = append(c.Drivers, one.Drivers...)
			return all
		}
	}
	return append(all, one)
}

// Own is what an end's own link could carry, as its findings tell of it; none
// where they do not.
func Own(r Report) []Carry {
	mtu, known := mtuOf(r.Findings)
	if !known {
		return nil
	}
	return Carries(linkRateOf(r.Findings), overhead.PathMTU(mtu), versionOf(r.Outer))
}

// mtuOf reads the MTU towards the peer, or else that of the interface.
func mtuOf(findings []Finding) (bytes int, known bool) {
	for _, topic := range []string{topicPath, topicNIC} {
		digits, _, _ := strings.Cut(figureOf(findings, topic, subjectMTU), " ")
		if bytes, err := strconv.Atoi(digits); err == nil && bytes > 0 && bytes <= 65535 {
			return bytes, true
		}
	}
	return 0, false
}

// linkRateOf is zero where it is not known.
func linkRateOf(findings []Finding) (wireBitsPerSecond float64) {
	rate, err := unit.BitRate(figureOf(findings, topicNIC, subjectSpeed))
	if err != nil {
		return 0
	}
	return rate
}

func versionOf(outer string) overhead.IPVersion {
	return choose(strings.Contains(outer, ":"), overhead.IPv6, overhead.IPv4)
}
