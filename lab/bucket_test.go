package lab

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewBucket(t *testing.T) {
	const ns = 1 << fractionBits
	tests := []struct {
		name   string
		device Device
		want   bucket
	}{
		{"no device", Device{}, bucket{}},
		{"shaper", Device{Kind: Shaper, OuterBitsPerSecond: 1e6}, bucket{}},
		{"1 Mbps", Device{Kind: Policer, OuterBitsPerSecond: 1e6, BurstBytes: 1500}, bucket{perByte: 8000 * ns, capacity: 1500 * 8000 * ns}},
		{"10 Gbps", Device{Kind: Policer, OuterBitsPerSecond: 10e9, BurstBytes: 1}, bucket{perByte: 838861, capacity: 838861}},
		{"packets", Device{Kind: PacketLimit, PacketsPerSecond: 1e6, BurstPackets: 64}, bucket{perPacket: 1000 * ns, capacity: 64_000 * ns}},
		{"packets by default", Device{Kind: PacketLimit, PacketsPerSecond: 50_000}, bucket{perPacket: 20_000 * ns, capacity: 500 * 20_000 * ns}},
		{"few packets by default", Device{Kind: PacketLimit, PacketsPerSecond: 10}, bucket{perPacket: 100_000_000 * ns, capacity: 100_000_000 * ns}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := newBucket(tt.device)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(bucket{})); diff != "" {
				t.Errorf("bucket (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever Validate lets pass must be exact in the program's 64-bit arithmetic.
func FuzzBucketFits(f *testing.F) {
	f.Add(350e6, 64<<10, 1400)
	f.Add(minBitsPerSecond, 4_500_000, maxMTU)
	f.Add(maxBitsPerSecond, maxBurstBytes, minMTU)
	f.Fuzz(func(t *testing.T, bitsPerSecond float64, burstBytes, mtu int) {
		device := Device{Kind: Policer, OuterBitsPerSecond: bitsPerSecond, BurstBytes: burstBytes}
		link := Link{Between: [2]string{"a", "b"}, MTU: mtu, Device: device}
		if (Topology{Name: "t", Sites: []string{"a", "b"}, Links: []Link{link}}).Validate() != nil {
			return // not a device that can be asked for
		}
		b := newBucket(device)
		if b.capacity >= 1<<62 {
			t.Errorf("want a capacity below 2^62, got %d", b.capacity)
		}
		if rate := 8e9 * (1 << fractionBits) / float64(b.perByte); math.Abs(rate/bitsPerSecond-1) > 1e-5 {
			t.Errorf("want %g bit/s within 1e-5, got %g", bitsPerSecond, rate)
		}
	})
}

func TestNewShaping(t *testing.T) {
	tests := []struct {
		name   string
		device Device
		mtu    int
		want   shaping
	}{
		{"burst by default", Device{OuterBitsPerSecond: 80e6}, 1500, shaping{bytesPerSecond: 10e6, burstBytes: 10_000, queueBytes: 500_000}},
		{"slow", Device{OuterBitsPerSecond: 80e3}, 1500, shaping{bytesPerSecond: 10e3, burstBytes: 3000, queueBytes: 15_000}},
		{"burst given", Device{OuterBitsPerSecond: 80e6, BurstBytes: 64 << 10}, 9000, shaping{bytesPerSecond: 10e6, burstBytes: 64 << 10, queueBytes: 500_000}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := newShaping(tt.device, tt.mtu)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(shaping{})); diff != "" {
				t.Errorf("shaping (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWiden(t *testing.T) {
	tests := []struct {
		name       string
		low        uint32
		near, want uint64
	}{
		{"equal", 7, 7, 7},
		{"behind", 7, 9, 7},
		{"far beyond 32 bits", 5, 3<<32 + 9, 3<<32 + 5},
		{"across a wrap", math.MaxUint32, 3<<32 + 9, 3<<32 - 1},
	}
	for _, tt := range tests {
		if got := widen(tt.low, tt.near); got != tt.want {
			t.Errorf("%s: want %d, got %d", tt.name, tt.want, got)
		}
	}
}
