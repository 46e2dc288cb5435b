package tcp

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The kernel counts segments in 32 bits, which a fast flow wraps within minutes.
func TestTallyBeyond32Bits(t *testing.T) {
	var got tally
	got.begin(&unix.TCPInfo{Data_segs_out: 2, Total_retrans: math.MaxUint32})
	for _, segments := range []uint32{3_000_000_000, 1_700_000_000, 1_000_000_000} {
		got.observe(&unix.TCPInfo{Data_segs_out: segments, Total_retrans: 5})
	}
	var flow FlowSent
	got.summarize(&flow)
	if want := uint64(1_000_000_000 + 2<<32 - 2); flow.Segments != want || flow.Retransmits != 6 {
		t.Errorf("got %d segments, %d retransmitted, want %d and 6", flow.Segments, flow.Retransmits, want)
	}
}

func TestTally(t *testing.T) {
	var got tally
	got.begin(&unix.TCPInfo{Bytes_sent: 160, Busy_time: 1000, Rwnd_limited: 10, Sndbuf_limited: 1, Rtt: 99000})
	got.observe(&unix.TCPInfo{
		Snd_mss: 1448, Snd_cwnd: 20, Rtt: 10000, Rttvar: 300, Min_rtt: 9000, Delivery_rate: 1000,
		Bytes_sent: 10160, Bytes_retrans: 100, Busy_time: 2000, Rwnd_limited: 30, Sndbuf_limited: 2,
	})
	got.observe(&unix.TCPInfo{
		Snd_mss: 1448, Snd_cwnd: 10, Rtt: 20000, Rttvar: 500, Min_rtt: 9500, Delivery_rate: 900,
		Bytes_sent: 20160, Bytes_retrans: 200, Busy_time: 3000, Rwnd_limited: 40, Sndbuf_limited: 3,
	})
	want := FlowSent{
		MSS: 1448, TransmittedBytes: 20000, RetransmittedBytes: 200,
		MeanRTT: 15 * ms, MaxRTT: 20 * ms, MinRTT: 9500 * time.Microsecond, RTTVariation: 500 * time.Microsecond,
		MaxCwndBytes: 20 * 1448, MaxDeliveredBitsPerSecond: 8000,
		Busy: 2 * ms, RwndLimited: 30 * time.Microsecond, SndbufLimited: 2 * time.Microsecond,
	}
	var flow FlowSent
	got.summarize(&flow)
	if diff := cmp.Diff(want, flow); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// A flow of which nothing was sampled has no means, and a path whose round trip is
// not known yet no least one.
func TestTallyOfNothing(t *testing.T) {
	var got tally
	got.begin(&unix.TCPInfo{Min_rtt: math.MaxUint32})
	var flow FlowSent
	got.summarize(&flow)
	if diff := cmp.Diff(FlowSent{}, flow); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestAcked(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		bytes, written, want uint64
	}{
		{"nothing but the hellos", 161, 1000, 0},
		{"not even those", 81, 1000, 0},
		{"a part", 162, 1000, 1},
		{"all, and the end", 161 + 1000 + 1, 1000, 1000},
	} {
		if got := acked(&unix.TCPInfo{Bytes_acked: tt.bytes}, tt.written); got != tt.want {
			t.Errorf("%s: got %d bytes, want %d", tt.name, got, tt.want)
		}
	}
}
