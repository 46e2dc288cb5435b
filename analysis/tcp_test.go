package analysis

import (
	"math"
	"testing"
	"time"
)

const ms = time.Millisecond

// t3 is the RFC's T3 of 44.21 Mbps, whose frames have 1508 bytes: 1500 of IP, 4
// of PPP, 2 of flags, 2 of CRC16 (RFC 6349, Section 4.1.1).
func t3(rtt time.Duration) TCPPath {
	return TCPPath{InnerBitsPerSecond: 44.21e6 * 1500 / 1508, MTU: 1500, BaselineRTT: rtt}
}

// ethernet is a path of that wire rate; each packet takes 14 + 4 + 12 + 7 + 1
// bytes more than IP's there.
func ethernet(wireBitsPerSecond float64, rtt time.Duration) TCPPath {
	return TCPPath{InnerBitsPerSecond: wireBitsPerSecond * 1500 / 1538, MTU: 1500, BaselineRTT: rtt}
}

func TestTCPGoodput(t *testing.T) {
	for _, tt := range []struct {
		name     string
		got      float64
		wantMbps float64 // Rounded like the RFC's.
	}{
		// RFC 6349, Section 4.1.1: 3664, 8127, 81274 and 812743 frames per second of 1460 bytes.
		{"T3", t3(0).GoodputBitsPerSecond(), 42.8},
		{"100 Mbps Ethernet", ethernet(100e6, 0).GoodputBitsPerSecond(), 94.9},
		{"1 Gbps Ethernet", ethernet(1e9, 0).GoodputBitsPerSecond(), 949.3},
		{"10 Gbps Ethernet", ethernet(10e9, 0).GoodputBitsPerSecond(), 9492.8},
		// RFC 6349, Section 3.3.1.
		{"window of 16 KB, 100 Mbps, 5 ms", ethernet(100e6, 5*ms).WindowGoodputBitsPerSecond(16_000, 1), 25.6},
		{"window of 16 KB, T3, 10 ms", t3(10*ms).WindowGoodputBitsPerSecond(16_000, 1), 12.8},
		{"window of 64 KB, T3, 10 ms", t3(10*ms).WindowGoodputBitsPerSecond(64_000, 1), 42.8},
		{"two windows of 16 KB, T3, 10 ms", t3(10*ms).WindowGoodputBitsPerSecond(16_000, 2), 25.6},
		{"round trip not measured", t3(0).WindowGoodputBitsPerSecond(16_000, 1), 42.8},
		{"IPv6 with timestamps", TCPPath{InnerBitsPerSecond: 1500e6, MTU: 1500, HeaderBytes: 72}.GoodputBitsPerSecond(), 1428},
		{"no room for payload", TCPPath{InnerBitsPerSecond: 1e9, MTU: 40}.GoodputBitsPerSecond(), 0},
		{"nothing measured", TCPPath{}.GoodputBitsPerSecond(), 0},
	} {
		if math.Abs(tt.got/1e6-tt.wantMbps) > 0.05 {
			t.Errorf("%s: got %.3f Mbps of goodput, want %.1f", tt.name, tt.got/1e6, tt.wantMbps)
		}
	}
}

// The bandwidth-delay products of RFC 6349, Section 3.3.1, in its KB of 1000
// bytes; there the rate is the link's own.
func TestTCPWindow(t *testing.T) {
	for _, tt := range []struct {
		mbps  float64
		rtt   time.Duration
		bytes int
	}{
		{1.536, 20 * ms, 3_840},
		{1.536, 100 * ms, 19_200},
		{44.21, 10 * ms, 55_263},
		{44.21, 25 * ms, 138_157},
		{100, ms, 12_500},
		{100, 5 * ms, 62_500},
		{1000, 100 * time.Microsecond, 12_500},
		{1000, ms, 125_000},
		{10_000, 300 * time.Microsecond, 375_000},
	} {
		p := TCPPath{InnerBitsPerSecond: tt.mbps * 1e6, MTU: 1500, BaselineRTT: tt.rtt}
		if got := p.WindowBytes(); got != tt.bytes {
			t.Errorf("%g Mbps, %v: got a window of %d bytes, want %d", tt.mbps, tt.rtt, got, tt.bytes)
		}
	}
}

func TestTCPJudged(t *testing.T) {
	for _, tt := range []struct {
		name     string
		path     TCPPath
		transfer TCPTransfer
		want     TCPQuality
	}{
		// RFC 6349, Section 4.1.2: five flows of 100 MB each, 500 Mbps of committed rate; "~8 s".
		{"transfer time", TCPPath{InnerBitsPerSecond: 500e6 * 1500 / 1460, MTU: 1500},
			TCPTransfer{GoodputBytes: 500e6, Elapsed: 12 * time.Second}, TCPQuality{TransferTime: 1.5}},
		// RFC 6349, Section 4.2.1: 100,000 bytes, of which 2,000 had to be sent again.
		{"efficiency", TCPPath{}, TCPTransfer{TransmittedBytes: 102_000, RetransmittedBytes: 2_000},
			TCPQuality{Efficiency: 0.9803921}},
		// RFC 6349, Section 4.3.1.
		{"buffer delay", TCPPath{BaselineRTT: 25 * ms}, TCPTransfer{MeanRTT: 32 * ms}, TCPQuality{BufferDelay: 0.28}},
		{"faster than the baseline", TCPPath{BaselineRTT: 25 * ms}, TCPTransfer{MeanRTT: 20 * ms}, TCPQuality{BufferDelay: -0.2}},
		{"all was retransmitted", TCPPath{}, TCPTransfer{TransmittedBytes: 10, RetransmittedBytes: 10}, TCPQuality{}},
		{"counters at odds", TCPPath{}, TCPTransfer{TransmittedBytes: 10, RetransmittedBytes: 11}, TCPQuality{}},
		{"nothing measured", TCPPath{}, TCPTransfer{}, TCPQuality{}},
		{"no round trip under load", TCPPath{BaselineRTT: 25 * ms}, TCPTransfer{}, TCPQuality{}},
	} {
		got := tt.path.Judge(tt.transfer)
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }
		if !near(got.TransferTime, tt.want.TransferTime) || !near(got.Efficiency, tt.want.Efficiency) || !near(got.BufferDelay, tt.want.BufferDelay) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
