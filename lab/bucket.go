package lab

import "math"

// bucket is a token bucket whose tokens are time: a full bucket holds the time in
// which it fills, a packet takes the time that it takes at the bucket's rate, and
// time itself fills it. Policer and packet limit differ in what a packet costs.
//
// All figures are nanoseconds in fixed point. 20 bits of fraction keep a byte's
// cost exact to 1e-5 at 100 Gbit/s and 1e-6 at 10; the bounds of Validate keep
// the capacity, an hour, below 2^62, and so a full bucket plus a refill below
// 2^64.
type bucket struct {
	perByte, perPacket, capacity uint64
}

const fractionBits = 20

// fixed converts nanoseconds to fixed point.
func fixed(nanoseconds float64) uint64 {
	return uint64(math.Round(nanoseconds * (1 << fractionBits)))
}

// newBucket returns the bucket of a policer or a packet limit; that of any other
// device costs nothing and so passes everything.
func newBucket(d Device) bucket {
	switch d.Kind {
	case Policer:
		perByte := fixed(8e9 / d.OuterBitsPerSecond)
		return bucket{perByte: perByte, capacity: perByte * uint64(d.BurstBytes)}
	case PacketLimit:
		perPacket := fixed(1e9 / d.PacketsPerSecond)
		return bucket{perPacket: perPacket, capacity: perPacket * uint64(burstPackets(d))}
	default:
		return bucket{}
	}
}

// burstPackets fills in a packet limit's default: 10 ms' worth, at least one.
func burstPackets(d Device) int {
	if d.BurstPackets > 0 {
		return d.BurstPackets
	}
	return max(1, int(d.PacketsPerSecond/100))
}

// shaping is what a token bucket filter is told.
type shaping struct {
	bytesPerSecond uint64
	burstBytes     uint32
	queueBytes     uint32
}

// newShaping returns the parameters of a shaper on a link of that MTU. Its queue
// holds 50 ms at its rate, and at least ten packets.
func newShaping(d Device, mtu int) shaping {
	bytesPerSecond := d.OuterBitsPerSecond / 8
	burst := float64(d.BurstBytes)
	if d.BurstBytes == 0 {
		burst = max(bytesPerSecond/1000, float64(2*mtu))
	}
	return shaping{
		bytesPerSecond: uint64(math.Round(bytesPerSecond)),
		burstBytes:     uint32(burst),
		queueBytes:     uint32(max(bytesPerSecond/20, float64(10*mtu))),
	}
}

// widen returns the counter whose low 32 bits are given and which is at most near:
// the kernel's queue counts packets in 32 bits, the meter before it in 64.
func widen(low uint32, near uint64) uint64 {
	return near - uint64(uint32(near)-low)
}
