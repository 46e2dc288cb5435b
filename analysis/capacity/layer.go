package capacity

import (
	"cmp"
	"math"
	"slices"

	"tunnelmark/analysis"
)

const (
	// frame is what interfaces count beside the outer IP packet: Ethernet's header and
	// its frame check sequence (RFC 2863, Section 3.1.4; IEEE 802.3, Section 3.1.1).
	frame = 14 + 4
	// busiest is the share of the bins, those that carry most, whose packets count for
	// the mean size: at night others may pass.
	busiest = 0.1
	// leastIP and mostIP are the lengths that an IP packet can have, in bytes: of a bare
	// header (RFC 791, Section 3.1), and of what its length field holds.
	leastIP = 20
	mostIP  = 65535
)

// layers knows what a tunnel adds to a packet, and so what a rate in one layer is in
// another.
type layers struct {
	overhead int  // In bytes.
	known    bool // A tunnel that adds nothing is known, too.
}

// layers are those of today's tunnel, in which the demand was counted: a remedy that
// adds more to each packet carries the same inner demand.
func (q Question) layers() layers {
	c := q.Measured[0].Ceiling
	switch {
	case c.OuterSize > 0:
		return layers{c.OuterSize - c.InnerSize, true}
	case q.Overhead > 0:
		return layers{q.Overhead, true}
	}
	return layers{}
}

// converts says whether a rate in one layer can be told in the other.
func (l layers) converts(from, to analysis.Layer) bool { return l.known || from == to }

// above is how many bytes a packet has in a layer beside those of the inner one.
func (l layers) above(layer analysis.Layer) float64 {
	switch layer {
	case analysis.OuterLayer:
		return float64(l.overhead)
	case analysis.EthernetLayer:
		return float64(l.overhead + frame)
	}
	return 0
}

// convert tells a rate of packets of that mean inner size, in bytes, in another layer.
// Whether it can was checked with the question.
func (l layers) convert(bitsPerSecond, innerSize float64, from, to analysis.Layer) float64 {
	return bitsPerSecond * ((innerSize + l.above(to)) / (innerSize + l.above(from)))
}

// capacity tells an inner capacity in a layer.
func (l layers) capacity(c analysis.Capacity, in analysis.Layer) analysis.Capacity {
	return c.Scaled(l.convert(1, c.InnerSize, analysis.InnerLayer, in))
}

// meanInnerSize is that of a demand's packets in its busiest bins, in bytes. It is zero
// where they were not counted, and ok is false where what was counted cannot be packets.
func (l layers) meanInnerSize(d analysis.Demand) (size float64, ok bool) {
	counted := meanSize(d)
	if counted == 0 {
		return 0, true
	}
	size = counted - l.above(d.Layer)
	if !(size >= leastIP && size <= mostIP) {
		return 0, false
	}
	return size, true
}

// meanSize is the mean length of the packets in the busiest bins, in bytes of the
// demand's layer; zero where they were not counted.
func meanSize(d analysis.Demand) float64 {
	var counted []int
	for bin, packets := range d.PacketsPerSecond {
		if d.Known(bin) && packets > 0 {
			counted = append(counted, bin)
		}
	}
	slices.SortStableFunc(counted, func(a, b int) int { return cmp.Compare(d.BitsPerSecond[b], d.BitsPerSecond[a]) })
	bits, packets := 0.0, 0.0
	for _, bin := range counted[:int(math.Ceil(busiest*float64(len(counted))))] {
		bits += d.BitsPerSecond[bin]
		packets += d.PacketsPerSecond[bin]
	}
	if packets == 0 {
		return 0
	}
	return bits / 8 / packets
}
