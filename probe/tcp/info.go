package tcp

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/probe/wire"
)

// tally sums up what TCP_INFO says of one flow, from begin on. Times in TCP_INFO
// are in microseconds (include/uapi/linux/tcp.h).
type tally struct {
	first, last unix.TCPInfo
	segments    counter
	retransmits counter
	rtt, maxRTT time.Duration // rtt is the sum of so many samples.
	samples     int
	maxCwnd     uint64 // Bytes.
	maxRate     uint64 // Bytes per second.
}

// opening is what was acknowledged before the load: the SYN and two hellos.
const opening = 1 + 2*wire.HelloSize

func (t *tally) begin(info *unix.TCPInfo) {
	*t = tally{first: *info, last: *info}
	t.segments.last, t.retransmits.last = info.Data_segs_out, info.Total_retrans
}

func (t *tally) observe(info *unix.TCPInfo) {
	t.last = *info
	t.segments.to(info.Data_segs_out)
	t.retransmits.to(info.Total_retrans)
	t.rtt += micros(info.Rtt)
	t.maxRTT = max(t.maxRTT, micros(info.Rtt))
	t.samples++
	t.maxCwnd = max(t.maxCwnd, cwndBytes(info))
	t.maxRate = max(t.maxRate, info.Delivery_rate)
}

// acked is how many bytes of the load were acknowledged, of so many written: the
// end of the flow counts as another one in TCP_INFO.
func acked(info *unix.TCPInfo, written uint64) uint64 {
	if info.Bytes_acked < opening {
		return 0
	}
	return min(info.Bytes_acked-opening, written)
}

// summarize adds what was tallied to the flow's summary.
func (t *tally) summarize(f *FlowSent) {
	f.MSS = int(t.last.Snd_mss)
	f.TransmittedBytes = t.last.Bytes_sent - t.first.Bytes_sent
	f.RetransmittedBytes = t.last.Bytes_retrans - t.first.Bytes_retrans
	f.Segments, f.Retransmits = t.segments.total, t.retransmits.total
	f.MeanRTT, f.MaxRTT = t.meanRTT(), t.maxRTT
	f.MinRTT, f.RTTVariation = minRTT(&t.last), micros(t.last.Rttvar)
	f.MaxCwndBytes = t.maxCwnd
	f.MaxDeliveredBitsPerSecond = float64(t.maxRate) * 8
	f.Busy = micros(t.last.Busy_time - t.first.Busy_time)
	f.RwndLimited = micros(t.last.Rwnd_limited - t.first.Rwnd_limited)
	f.SndbufLimited = micros(t.last.Sndbuf_limited - t.first.Sndbuf_limited)
}

func (t *tally) meanRTT() time.Duration {
	if t.samples == 0 {
		return 0
	}
	return t.rtt / time.Duration(t.samples)
}

func cwndBytes(info *unix.TCPInfo) uint64 { return uint64(info.Snd_cwnd) * uint64(info.Snd_mss) }

// minRTT is zero where TCP does not know it yet.
func minRTT(info *unix.TCPInfo) time.Duration {
	if info.Min_rtt == math.MaxUint32 {
		return 0
	}
	return micros(info.Min_rtt)
}

func micros[T uint32 | uint64](n T) time.Duration { return time.Duration(n) * time.Microsecond }

// counter goes on where one of the kernel's 32 bits begins again.
type counter struct {
	last  uint32
	total uint64
}

func (c *counter) to(n uint32) {
	c.total += uint64(n - c.last) // Modulo 2^32, like the kernel's.
	c.last = n
}
