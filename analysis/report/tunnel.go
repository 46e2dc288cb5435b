package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tunnel is what was measured.
type Tunnel struct {
	Driver        string `json:"driver"`
	Suite         string `json:"suite,omitempty"`         // "aes-128-gcm".
	Encapsulation string `json:"encapsulation,omitempty"` // "udp" or "raw".
	Count         int    `json:"count"`                   // Tunnels side by side.
	InnerMTU      int    `json:"inner_mtu_bytes"`
	OuterFamily   string `json:"outer_family"` // "ipv4" or "ipv6".
	// Setup is how long both ends took until packets could pass. Optional.
	Setup time.Duration `json:"setup_ns,omitempty"`
	// Rekeys is how long each replacement of the keys under load took. Optional.
	Rekeys []time.Duration `json:"rekeys_ns,omitempty"`
	// PerTunnel is how the load was spread, where there are several. Optional.
	PerTunnel []TunnelCount `json:"per_tunnel,omitempty"`
	// Most is what a link could carry through such a tunnel. Optional.
	Most *Most `json:"most,omitempty"`
}

// TunnelCount is what one of several tunnels carried in the direction of the
// load. Bytes are of inner packets.
type TunnelCount struct {
	Number             int    `json:"number"`       // From 0.
	SentPackets        uint64 `json:"sent_packets"` // By the sender's half.
	SentInnerBytes     uint64 `json:"sent_inner_bytes"`
	ReceivedPackets    uint64 `json:"received_packets"` // By the receiver's half.
	ReceivedInnerBytes uint64 `json:"received_inner_bytes"`
}

// Most is what a link of that rate and MTU can carry at most through a tunnel one
// way, with packets of full size and no gap between them.
type Most struct {
	LinkBitsPerSecond float64 `json:"link_bits_per_second"` // On its wire.
	// LinkAssumed says that neither end knows its link's rate.
	LinkAssumed bool `json:"link_assumed,omitempty"`
	LinkMTU     int  `json:"link_mtu_bytes"`
	// InnerSize is the largest inner packet that needs no fragment.
	InnerSize            int     `json:"inner_size_bytes"`
	InnerBitsPerSecond   float64 `json:"inner_bits_per_second"`
	GoodputBitsPerSecond float64 `json:"goodput_bits_per_second"` // Of UDP payload.
}

// Evidence is what one end knows about whether the load really passed through a
// tunnel that was there before, and how.
type Evidence struct {
	Site   string `json:"site"`
	Proven bool   `json:"proven"`
	How    string `json:"how"` // Or what is missing.
}

// Detail is one fact that a tunnel's driver tells, such as {"charon", "5.9.8"}.
type Detail struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// foreign is the driver of tunnels that were there before and may be shared.
const foreign = "existing"

// pathEvidence is what is known about the path of a tunnel that was there before;
// empty for one that was built for the measurement.
func (r Result) pathEvidence() (proven bool, text string) {
	if len(r.Evidence) == 0 {
		if r.Tunnel.Driver != foreign {
			return true, ""
		}
		return false, "path not proven: neither end could tell"
	}
	proven = !slices.ContainsFunc(r.Evidence, func(e Evidence) bool { return !e.Proven })
	var told []string
	for _, e := range r.Evidence {
		if e.Proven == proven { // What is missing tells more than what is not.
			told = append(told, Clean(e.Site)+": "+Clean(e.How))
		}
	}
	if proven {
		return true, "path proven: " + strings.Join(told, "; ")
	}
	return false, "path not proven: " + strings.Join(told, "; ")
}

// describe is "esp, aes-128-gcm, udp over ipv4, 1 tunnel, inner MTU 1436 B".
func (t Tunnel) describe() string {
	carrier := Clean(t.Encapsulation)
	if family := familyName(t.OuterFamily); family != "" {
		carrier = strings.TrimSpace(carrierName(t.Encapsulation) + " over " + family)
		carrier = strings.TrimPrefix(carrier, "over ")
	}
	tunnels := fmt.Sprintf("%d tunnels", t.Count)
	if t.Count == 1 {
		tunnels = "1 tunnel"
	}
	mtu, setup := "", ""
	if t.InnerMTU > 0 {
		mtu = fmt.Sprintf("inner MTU %d"+nbsp+"B", t.InnerMTU)
	}
	if t.Setup > 0 {
		setup = "up within " + formatDuration(t.Setup)
	}
	rekeys := ""
	if len(t.Rekeys) > 0 {
		rekeys = fmt.Sprintf("rekeyed %d times under load, each within %s", len(t.Rekeys), formatDuration(slices.Max(t.Rekeys)))
	}
	return listed(Clean(t.Driver), Clean(t.Suite), carrier, tunnels, mtu, setup, rekeys)
}

func carrierName(encapsulation string) string {
	if encapsulation == "udp" {
		return "UDP"
	}
	return Clean(encapsulation)
}

func familyName(family string) string {
	switch family {
	case "ipv4":
		return "IPv4"
	case "ipv6":
		return "IPv6"
	}
	return Clean(family)
}

// describe says what the link allows.
func (m *Most) describe() string {
	if m == nil {
		return ""
	}
	link := "the link"
	if m.LinkAssumed {
		link = "neither end knows its link; one"
	}
	return fmt.Sprintf("%s of %s and MTU %d"+nbsp+"B carries at most %s goodput (%s inner); the largest inner packet without fragments has %d"+nbsp+"B",
		link, formatRate(m.LinkBitsPerSecond), m.LinkMTU, formatRate(m.GoodputBitsPerSecond), formatRate(m.InnerBitsPerSecond), m.InnerSize)
}

// countRow is one of several tunnels in a table.
type countRow struct{ Number, Sent, Received, Bytes, Share string }

// countRows says how the load was spread over the tunnels.
func (t Tunnel) countRows() []countRow {
	var all float64
	for _, c := range t.PerTunnel {
		all += float64(c.SentPackets)
	}
	var rows []countRow
	for _, c := range t.PerTunnel {
		row := countRow{
			Number: formatCount(c.Number + 1), Sent: formatCount(c.SentPackets), Received: formatCount(c.ReceivedPackets),
			Bytes: formatBytes(float64(c.ReceivedInnerBytes)), Share: none,
		}
		if all > 0 {
			row.Share = formatShare(float64(c.SentPackets) / all)
		}
		rows = append(rows, row)
	}
	return rows
}

// describeDetails is what a driver told of its half, in one line.
func describeDetails(details []Detail) string {
	var told []string
	for _, d := range details {
		told = append(told, Clean(d.Name)+" "+Clean(d.Value))
	}
	return strings.Join(told, ", ")
}
