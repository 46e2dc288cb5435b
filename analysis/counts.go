package analysis

import "maps"

// TunnelCounts is what one end's half of a tunnel counted while a trial ran, the
// peer's answers and other trials' packets included. All is zero where nobody could
// count. Bytes are of inner packets.
type TunnelCounts struct {
	OutPackets    uint64 `json:"out_packets"` // Sealed and sent.
	OutInnerBytes uint64 `json:"out_inner_bytes"`
	InPackets     uint64 `json:"in_packets"` // Received, opened and delivered.
	InInnerBytes  uint64 `json:"in_inner_bytes"`
	// Dropped are the packets that ended there, by the one reason of each, such as
	// "bad_icv". Reasons that no packet met are left out.
	Dropped map[string]uint64 `json:"dropped_packets,omitempty"`
	// OuterErrors are what the outer network reported about packets sent before.
	OuterErrors uint64 `json:"outer_errors,omitempty"`
}

// Drops is how many packets ended there, for whatever reason: also what its queues
// overran with, which is loss of our own making. Errors that the outer network
// reported are of packets that are counted elsewhere.
func (c TunnelCounts) Drops() (sum uint64) {
	for _, packets := range c.Dropped {
		sum += packets
	}
	return sum
}

// IsZero says that nothing was counted. JSON leaves that out.
func (c TunnelCounts) IsZero() bool {
	return c.OutPackets+c.OutInnerBytes+c.InPackets+c.InInnerBytes+c.OuterErrors == 0 && len(c.Dropped) == 0
}

// Add is the sum of both.
func (c TunnelCounts) Add(other TunnelCounts) TunnelCounts {
	sum := TunnelCounts{
		OutPackets:    c.OutPackets + other.OutPackets,
		OutInnerBytes: c.OutInnerBytes + other.OutInnerBytes,
		InPackets:     c.InPackets + other.InPackets,
		InInnerBytes:  c.InInnerBytes + other.InInnerBytes,
		Dropped:       maps.Clone(c.Dropped),
		OuterErrors:   c.OuterErrors + other.OuterErrors,
	}
	if sum.Dropped == nil {
		sum.Dropped = maps.Clone(other.Dropped)
		return sum
	}
	for reason, packets := range other.Dropped {
		sum.Dropped[reason] += packets
	}
	return sum
}
