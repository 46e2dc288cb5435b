package lab_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sent is one segmented send: count packets, handed to the kernel between two
// times of CLOCK_MONOTONIC in ns, the clock that the token bucket reads.
type sent struct {
	start, end int64
	count      int
}

const ipv4UDPHeader = 20 + 8

// pace sends packets of outerBytes at a rate for a time, in trains of 8 by
// UDP_SEGMENT, and returns when each went. It does not make up for lost time.
func pace(t *testing.T, from *net.UDPConn, to netip.AddrPort, outerBytes int, packetsPerSecond float64, total time.Duration) []sent {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const train = 8
	payload := make([]byte, train*(outerBytes-ipv4UDPHeader))
	control := segmentControl(outerBytes - ipv4UDPHeader)
	gap := int64(train / packetsPerSecond * 1e9)
	var log []sent
	begin := monotonic()
	for next := begin; next < begin+total.Nanoseconds(); next = max(next+gap, monotonic()-gap) {
		for monotonic() < next {
		}
		start := monotonic()
		if _, _, err := from.WriteMsgUDPAddrPort(payload, control, to); err != nil {
			t.Error(err)
			return log
		}
		log = append(log, sent{start: start, end: monotonic(), count: train})
	}
	return log
}

// segmentControl asks the kernel to cut a send into datagrams of that payload.
func segmentControl(payload int) []byte {
	control := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint64(control, uint64(unix.CmsgLen(2)))
	binary.NativeEndian.PutUint32(control[8:], unix.IPPROTO_UDP)
	binary.NativeEndian.PutUint32(control[12:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(control[16:], uint16(payload))
	return control
}

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("internal error: " + err.Error())
	}
	return ts.Nano()
}

func packetsIn(log []sent) (n uint64) {
	for _, s := range log {
		n += uint64(s.count)
	}
	return n
}

// model says what an exact token bucket passes of the packets, in packets: each
// costs, the bucket holds capacity and gains perNanosecond. Late says whether
// packets come when their train's send ends, instead of when it starts: the truth
// lies between, since the sender may be kept off the CPU within.
func model(log []sent, cost, capacity, perNanosecond float64, late bool) (passed int) {
	var times []int64
	for _, s := range log {
		at := s.start
		if late {
			at = s.end
		}
		times = append(times, slices.Repeat([]int64{at}, s.count)...)
	}
	slices.Sort(times)
	credit, last := capacity, times[0]
	for _, now := range times {
		credit = min(capacity, credit+float64(now-last)*perNanosecond)
		last = now
		if credit >= cost {
			credit -= cost
			passed++
		}
	}
	return passed
}
