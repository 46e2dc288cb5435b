package analysis

import (
	"math"
	"time"
)

// TCPPath is what a transfer is held against: what the path can carry, as trials
// without TCP have found it (RFC 6349, Section 3).
type TCPPath struct {
	// InnerBitsPerSecond is the bottleneck's rate, counted in IP packets of MTU
	// bytes.
	InnerBitsPerSecond float64
	MTU                int
	// HeaderBytes is how much of each packet is IP and TCP header. Optional: zero
	// means the RFC's 40; IPv6 adds 20, timestamps (RFC 7323) add 12.
	HeaderBytes int
	// BaselineRTT is the path's round trip without load (Section 3.2).
	BaselineRTT time.Duration
}

// TCPTransfer is what one TCP trial moved, on all of its flows together.
type TCPTransfer struct {
	// GoodputBytes are payload that arrived, in Elapsed.
	GoodputBytes uint64
	Elapsed      time.Duration
	// TransmittedBytes are payload that left, each time that it left;
	// RetransmittedBytes are the part of them that left again.
	TransmittedBytes   uint64
	RetransmittedBytes uint64
	MeanRTT            time.Duration
}

// rfc6349Headers is the IPv4 header and the TCP header, without options.
const rfc6349Headers = 20 + 20

// GoodputBitsPerSecond is the most that TCP can carry over the path when its
// window is as large as it likes (RFC 6349, Section 4.1.1).
func (p TCPPath) GoodputBitsPerSecond() float64 {
	header := p.HeaderBytes
	if header == 0 {
		header = rfc6349Headers
	}
	if p.MTU <= header {
		return 0
	}
	packetsPerSecond := p.InnerBitsPerSecond / float64(p.MTU*8)
	return packetsPerSecond * float64(p.MTU-header) * 8
}

// WindowGoodputBitsPerSecond is the most that TCP can carry with a window of so
// many bytes on each of its flows (RFC 6349, Section 3.3.1).
func (p TCPPath) WindowGoodputBitsPerSecond(window, flows int) float64 {
	if p.BaselineRTT <= 0 {
		return p.GoodputBitsPerSecond()
	}
	perFlow := float64(window) * 8 / p.BaselineRTT.Seconds()
	return min(perFlow*float64(flows), p.GoodputBitsPerSecond())
}

// WindowBytes is the least window, of all flows together, that fills the path:
// its bandwidth-delay product (RFC 6349, Section 3.3.1).
func (p TCPPath) WindowBytes() int {
	return int(math.Ceil(p.InnerBitsPerSecond * p.BaselineRTT.Seconds() / 8))
}

// Judge holds a transfer against the path (RFC 6349, Section 4). A figure for which
// something was not measured is zero.
func (p TCPPath) Judge(t TCPTransfer) TCPQuality {
	return TCPQuality{
		TransferTime: ratio(t.Elapsed.Seconds(), p.idealSeconds(t.GoodputBytes)),
		Efficiency:   t.efficiency(),
		BufferDelay:  p.bufferDelay(t.MeanRTT),
		Baseline:     p.BaselineRTT, BottleneckGoodputBitsPerSecond: p.GoodputBitsPerSecond(),
	}
}

// idealSeconds is the Ideal TCP Transfer Time (RFC 6349, Section 4.1.2).
func (p TCPPath) idealSeconds(goodputBytes uint64) float64 {
	return ratio(float64(goodputBytes)*8, p.GoodputBitsPerSecond())
}

func (t TCPTransfer) efficiency() float64 {
	if t.RetransmittedBytes > t.TransmittedBytes {
		return 0
	}
	return ratio(float64(t.TransmittedBytes-t.RetransmittedBytes), float64(t.TransmittedBytes))
}

func (p TCPPath) bufferDelay(mean time.Duration) float64 {
	if mean == 0 {
		return 0
	}
	return ratio((mean - p.BaselineRTT).Seconds(), p.BaselineRTT.Seconds())
}

// ratio is a/b, and zero where b was not measured.
func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}
