package esp_test

import (
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/esp"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
)

// Load of BenchmarkPair.
const (
	payload = 1400 - 20 - 8     // Of one datagram, in bytes.
	burst   = 44 * payload      // Of one call, in bytes.
	flight  = 8                 // Bursts sent and not yet read.
	give    = time.Second / 100 // How long a burst that was lost holds its place.
)

// BenchmarkPair pushes segmented UDP through both halves and a veth pair, all in
// this process. It reports what arrived inside, what was lost on the way, and
// the CPU of everything: both halves, generator and reader. The reader's pace
// holds the generator back, so that they do not starve the tunnel.
func BenchmarkPair(b *testing.B) {
	for _, suite := range append(tunnel.Suites(), tunnel.NullNull) {
		b.Run(string(suite), func(b *testing.B) { benchmarkPair(b, suite) })
	}
}

func benchmarkPair(b *testing.B, suite tunnel.Suite) {
	link := tunneltest.NewLink(b, tunneltest.PathMTU)
	pair := link.OpenPair(b, esp.Driver{}, template(b, suite, tunnel.UDP, overhead.IPv4), false, "benchmark")
	from, to := pair.DialPath(b)
	places := make(chan struct{}, flight)
	var reader sync.WaitGroup
	reader.Go(func() { read(to, places) })

	data, control := make([]byte, burst), segmentMessage(payload)
	cpu := processCPU(b)
	for b.Loop() {
		select {
		case places <- struct{}{}:
		case <-time.After(give): // Lost: its place is free.
		}
		if _, _, err := from.WriteMsgUDP(data, control, nil); err != nil {
			b.Fatal(err)
		}
	}
	elapsed := b.Elapsed()
	got := settled(b, pair.Right)
	cpu = processCPU(b) - cpu
	_ = to.Close()
	reader.Wait()

	gigabits := float64(got.InInnerBytes) * 8 / 1e9
	b.ReportMetric(gigabits/elapsed.Seconds(), "inner-Gbit/s")
	b.ReportMetric(1-float64(got.InPackets)/float64(b.N*burst/payload), "loss-ratio")
	b.ReportMetric(cpu.Seconds()/gigabits, "cores/Gbit/s")
	b.ReportMetric(0, "ns/op")
}

// read frees a place for each burst's worth of bytes.
func read(socket *net.UDPConn, places <-chan struct{}) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1) })
	buffer := make([]byte, 1<<16)
	for bytes := 0; ; {
		n, err := socket.Read(buffer)
		if err != nil {
			return
		}
		for bytes += n; bytes >= burst; bytes -= burst {
			select {
			case <-places:
			default: // The place was given up already.
			}
		}
	}
}

// segmentMessage asks the kernel to cut a datagram into ones of size bytes.
func segmentMessage(size int) []byte {
	message := make([]byte, unix.CmsgSpace(2))
	header := (*unix.Cmsghdr)(unsafe.Pointer(&message[0]))
	header.Level, header.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	header.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(message[unix.CmsgLen(0):], uint16(size))
	return message
}

// settled returns the counters once they no longer grow.
func settled(b *testing.B, half *tunneltest.Half) tunnel.Counters {
	b.Helper()
	var last tunnel.Counters
	for {
		now, err := half.Counters()
		if err != nil {
			b.Fatal(err)
		}
		if now == last {
			return now
		}
		last = now
		time.Sleep(10 * time.Millisecond)
	}
}

func processCPU(b *testing.B) time.Duration {
	b.Helper()
	runtime.GC() // Not on the account of what is measured.
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
