package lab_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// wanToward returns what the WAN of the only link counted in one direction.
func wanToward(t *testing.T, l *lab.Lab, site string) lab.WANCounters {
	t.Helper()
	all, err := l.WANCounters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Toward == site {
			return c
		}
	}
	t.Fatalf("no WAN toward %s in %+v", site, all)
	return lab.WANCounters{}
}

// wanAtRest returns the counters once they account for so many packets.
func wanAtRest(t *testing.T, l *lab.Lab, site string, packets uint64) lab.WANCounters {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		c := wanToward(t, l, site)
		if c.Forwarded+c.Dropped+c.Overrun == packets {
			return c
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("want %d packets accounted for toward %s, got %+v", packets, site, c)
		}
	}
}

// seen is what a receiver saw of numbered packets, in the order of arrival.
type seen struct {
	numbers []uint32
	delays  []time.Duration
}

// The receiver's own account of the numbers 0 to sent-1.
func (s seen) lost(sent int) (numbers []uint32) {
	arrived := make([]bool, sent)
	for _, n := range s.numbers {
		arrived[n] = true
	}
	for n, here := range arrived {
		if !here {
			numbers = append(numbers, uint32(n))
		}
	}
	return numbers
}

func (s seen) duplicated(sent int) int { return len(s.numbers) + len(s.lost(sent)) - sent }

// reordered counts as RFC 4737, Section 3.3: a packet whose number is less than one
// that came before, copies not counted.
func (s seen) reordered() (count int) {
	before := make(map[uint32]bool)
	var next uint32
	for _, n := range s.numbers {
		if before[n] {
			continue
		}
		before[n] = true
		if n < next {
			count++
		} else {
			next = n + 1
		}
	}
	return count
}

func (s seen) meanDelay() time.Duration {
	var sum time.Duration
	for _, delay := range s.delays {
		sum += delay
	}
	return sum / time.Duration(max(1, len(s.delays)))
}

// numbered sends so many numbered packets, one in each gap, and returns what arrived
// until the WAN was at rest, and what it counted.
func numbered(t *testing.T, l *lab.Lab, e ends, packets int, gap time.Duration) (seen, lab.WANCounters) {
	t.Helper()
	setOption(t, e.b, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	setOption(t, e.b, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	before := wanToward(t, l, "b")
	received := make(chan seen)
	if err := e.b.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // It would stop the WAN, too.
	go func() { received <- receive(e.b) }()
	sendNumbered(t, e.a, peerOf(e.b), packets, gap)
	c := wanAtRest(t, l, "b", before.Forwarded+before.Dropped+before.Overrun+uint64(packets))
	if err := e.b.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	return <-received, c
}

// sendNumbered puts into each packet its number and when it was sent.
func sendNumbered(t *testing.T, from *net.UDPConn, to netip.AddrPort, packets int, gap time.Duration) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	next := time.Now()
	for n := range packets {
		for time.Now().Before(next) {
			if wait := time.Until(next); wait > time.Millisecond {
				time.Sleep(wait - time.Millisecond)
			}
		}
		next = next.Add(gap)
		data := make([]byte, 12, 200)
		binary.NativeEndian.PutUint32(data, uint32(n))
		binary.NativeEndian.PutUint64(data[4:], uint64(time.Now().UnixNano()))
		if _, err := from.WriteToUDPAddrPort(data[:200], to); err != nil {
			t.Fatal(err)
		}
	}
}

// receive reads until the socket's deadline. What it takes for the time of an arrival
// is the kernel's.
func receive(at *net.UDPConn) (s seen) {
	data, control := make([]byte, 2000), make([]byte, 100)
	for {
		n, controls, _, _, err := at.ReadMsgUDPAddrPort(data, control)
		if err != nil || n < 12 {
			return s
		}
		messages, err := unix.ParseSocketControlMessage(control[:controls])
		if err != nil || len(messages) == 0 {
			return s
		}
		arrival := int64(binary.NativeEndian.Uint64(messages[0].Data))*1e9 + int64(binary.NativeEndian.Uint64(messages[0].Data[8:]))
		s.numbers = append(s.numbers, binary.NativeEndian.Uint32(data))
		s.delays = append(s.delays, time.Duration(arrival-int64(binary.NativeEndian.Uint64(data[4:]))))
	}
}

// Delay of 40 ms, with and without 2 ms of jitter, which keeps the order, too.
func TestWANDelays(t *testing.T) {
	const delay = 40 * time.Millisecond
	for _, tt := range []struct {
		name    string
		address func(lab.Addresses) netip.Addr
		jitter  time.Duration
	}{
		{"IPv4", v4, 0},
		{"IPv6", v6, 0},
		{"IPv4 with jitter", v4, 2 * time.Millisecond},
		{"IPv6 with jitter", v6, 2 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			l := labtest.Build(t, joined(lab.Link{WAN: lab.WAN{Delay: delay, Jitter: tt.jitter}}))
			e := openEnds(t, l, tt.address)
			onQuietHost(t, func() error {
				const packets = 2000
				got, c := numbered(t, l, e, packets, 500*time.Microsecond)
				if len(got.numbers) != packets || got.reordered() != 0 || c.Overrun != 0 {
					t.Errorf("want %d packets in order, got %d, %d of them reordered: %+v", packets, len(got.numbers), got.reordered(), c)
				}
				if c.Delay.Least < delay-tt.jitter-100*time.Microsecond {
					t.Errorf("want no delay below %v, the WAN counted %+v", delay-tt.jitter, c.Delay)
				}
				const tolerance = 500 * time.Microsecond
				if off := got.meanDelay() - delay; off.Abs() > tolerance {
					return fmt.Errorf("want a delay of %v within %v, got %v", delay, tolerance, got.meanDelay())
				}
				return nil
			})
		})
	}
}

// onQuietHost gives a measurement of times, which a host that stops for a while
// spoils, three chances.
func onQuietHost(t *testing.T, measure func() error) {
	t.Helper()
	var errs []error
	for range 3 {
		err := measure()
		if err == nil {
			return
		}
		errs = append(errs, err)
	}
	t.Error(errors.Join(errs...))
}

// What the WAN says it did is what a receiver sees, and as much as asked for.
func TestWANCounts(t *testing.T) {
	const packets = 20_000
	tests := []struct {
		name    string
		wan     lab.WAN
		address func(lab.Addresses) netip.Addr
	}{
		{"loss", lab.WAN{LossRatio: 0.05, Seed: 1}, v4},
		{"duplicates", lab.WAN{Delay: time.Millisecond, DuplicateRatio: 0.05, Seed: 2}, v6},
		{"reordering", lab.WAN{ReorderRatio: 0.05, Seed: 3}, v4},
		{"all", lab.WAN{Delay: 10 * time.Millisecond, Jitter: time.Millisecond, LossRatio: 0.05, ReorderRatio: 0.05, DuplicateRatio: 0.05, Seed: 4}, v4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			l := labtest.Build(t, joined(lab.Link{WAN: tt.wan}))
			got, c := numbered(t, l, openEnds(t, l, tt.address), packets, 50*time.Microsecond)
			checkCounts(t, tt.wan, packets, got, c)
		})
	}
}

// checkCounts holds what the WAN counted against what a receiver saw, and against
// what was asked for.
func checkCounts(t *testing.T, w lab.WAN, packets int, got seen, c lab.WANCounters) {
	t.Helper()
	t.Logf("WAN %+v", c)
	reordered := got.reordered()
	if c.Netem { // Cores that take turns with its queue may let packets pass one another.
		reordered = 0
	}
	for _, count := range []struct {
		what      string
		wan, seen int
		ratio     float64
	}{
		{"lost", int(c.Dropped), len(got.lost(packets)), w.LossRatio},
		{"duplicated", int(c.Duplicated), got.duplicated(packets), w.DuplicateRatio * (1 - w.LossRatio)},
		{"reordered", int(c.Reordered), reordered, w.ReorderRatio * (1 - w.LossRatio)},
	} {
		if count.wan != count.seen {
			t.Errorf("want %d %s packets as the WAN counted, the receiver saw %d", count.wan, count.what, count.seen)
		}
		expected := count.ratio * float64(packets)
		if math.Abs(float64(count.wan)-expected) > 5*math.Sqrt(expected) {
			t.Errorf("want about %.0f %s packets, got %d", expected, count.what, count.wan)
		}
	}
}

// The same seed loses the same packets.
func TestWANSeed(t *testing.T) {
	labtest.CheckLeaks(t)
	lost := func(seed uint64) []uint32 {
		// With jitter it is never netem.
		l := labtest.Build(t, joined(lab.Link{WAN: lab.WAN{Delay: time.Millisecond, Jitter: 1, LossRatio: 0.1, Seed: seed}}))
		const packets = 1000
		got, _ := numbered(t, l, openEnds(t, l, v4), packets, 20*time.Microsecond)
		return got.lost(packets)
	}
	first := lost(7)
	if again := lost(7); !slices.Equal(first, again) {
		t.Errorf("want the packets %d lost again, got %d", first, again)
	}
	if other := lost(8); slices.Equal(first, other) {
		t.Errorf("want others lost with another seed, got the same %d", other)
	}
}

// A lone packet is not held back for ever, for want of one that passes it.
func TestWANHoldsLonePacketsBack(t *testing.T) {
	labtest.CheckLeaks(t)
	l := labtest.Build(t, joined(lab.Link{WAN: lab.WAN{ReorderRatio: 0.5}}))
	e := openEnds(t, l, v4)
	const packets = 10
	for n := range packets {
		sendNumbered(t, e.a, peerOf(e.b), 1, 0)
		wanAtRest(t, l, "b", uint64(n+1))
	}
	if c := wanToward(t, l, "b"); c.Reordered != 0 || c.Forwarded != packets {
		t.Errorf("want all forwarded in order, got %+v", c)
	}
}

// What a policer drops never comes to the WAN; what a shaper drops has left it.
func TestWANWithDevice(t *testing.T) {
	const packets, outerBytes = 80, 1400
	wan := lab.WAN{Delay: 5 * time.Millisecond, LossRatio: 0.1}
	tests := []struct {
		name    string
		device  lab.Device
		offered func(lab.DeviceCounters) uint64 // to the WAN
	}{
		{"policer", lab.Device{Kind: lab.Policer, OuterBitsPerSecond: 1e6, BurstBytes: 30_000}, func(c lab.DeviceCounters) uint64 { return c.PassedPackets }},
		{"shaper", lab.Device{Kind: lab.Shaper, OuterBitsPerSecond: 1e6, BurstBytes: 3000}, func(lab.DeviceCounters) uint64 { return packets }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			l := labtest.Build(t, joined(lab.Link{Device: tt.device, WAN: wan}))
			e := openEnds(t, l, v4)
			for range packets {
				if _, err := e.a.WriteToUDPAddrPort(make([]byte, outerBytes-ipv4UDPHeader), peerOf(e.b)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.device.Kind == lab.Policer {
				atRest(t, l, "b", packets)
			}
			c := wanAtRest(t, l, "b", tt.offered(toward(t, l, "b")))
			if tt.device.Kind == lab.Shaper {
				atRest(t, l, "b", c.Forwarded)
			}
			if d := toward(t, l, "b"); d.DroppedPackets == 0 || d.PassedPackets == 0 || c.Overrun != 0 {
				t.Errorf("want the device to pass and to drop, and nothing overrun, got %+v and %+v", d, c)
			}
		})
	}
}

// A window of data per round trip, and a round trip of twice the delay.
func TestTCPOverWAN(t *testing.T) {
	labtest.CheckLeaks(t)
	const delay = 20 * time.Millisecond
	l := labtest.Build(t, joined(lab.Link{WAN: lab.WAN{Delay: delay, Jitter: time.Millisecond}}))
	onQuietHost(t, func() error {
		client, server := dialTCP(t, l)
		go io.Copy(io.Discard, server)
		rate, info := sendFor(t, client, 2*time.Second)
		rtt := time.Duration(info.Rtt) * time.Microsecond
		if off := rtt - 2*delay; off < -2*time.Millisecond || off > 5*time.Millisecond {
			return fmt.Errorf("want a round trip of %v, got %v", 2*delay, rtt)
		}
		if want := float64(info.Snd_wnd) / (2 * delay).Seconds(); rate > 1.1*want || rate < 0.5*want {
			return fmt.Errorf("want %.0f B/s, a window in a round trip, got %.0f", want, rate)
		}
		if info.Total_retrans != 0 {
			return fmt.Errorf("want nothing sent again, got %d segments", info.Total_retrans)
		}
		return nil
	})
}

// sendFor sends as fast as the connection takes it, and returns how many bytes were
// acknowledged per second.
func sendFor(t *testing.T, conn *net.TCPConn, total time.Duration) (bytesPerSecond float64, info *unix.TCPInfo) {
	t.Helper()
	begin, chunk := time.Now(), make([]byte, 16<<10)
	for time.Since(begin) < total {
		if _, err := conn.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	info = tcpInfo(t, conn)
	return float64(info.Bytes_acked) / time.Since(begin).Seconds(), info
}

// dialTCP joins the sites by a connection whose receiver, in b, has a small window.
func dialTCP(t *testing.T, l *lab.Lab) (client, server *net.TCPConn) {
	t.Helper()
	at, err := l.Addresses("b", "a")
	if err != nil {
		t.Fatal(err)
	}
	var listener *net.TCPListener
	err = l.Do("b", func() (err error) {
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at.V4, 5201)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	raw, err := listener.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10) })
	if err != nil {
		t.Fatal(err)
	}
	err = l.Do("a", func() (err error) {
		client, err = net.DialTCP("tcp", nil, listener.Addr().(*net.TCPAddr))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = listener.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func tcpInfo(t *testing.T, conn *net.TCPConn) (info *unix.TCPInfo) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var infoErr error
	err = raw.Control(func(fd uintptr) { info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err := errors.Join(err, infoErr); err != nil {
		t.Fatal(err)
	}
	return info
}

// More than it can carry does not get lost unseen.
func TestWANOverrunIsCounted(t *testing.T) {
	labtest.CheckLeaks(t)
	l := labtest.Build(t, joined(lab.Link{WAN: lab.WAN{Delay: 10 * time.Second, Jitter: 1}}))
	e := openEnds(t, l, v4)
	const slots = 64 << 20 / 1500 // or less, in as many bytes as it takes at most
	for sent := uint64(0); sent < 2*slots; {
		sent += packetsIn(pace(t, e.a, peerOf(e.b), 100, 500_000, 50*time.Millisecond))
	}
	if c := wanToward(t, l, "b"); c.Overrun < slots/2 {
		t.Errorf("want more than %d packets overrun, got %+v", slots/2, c)
	}
}

// The thread makes no garbage, which would have to be collected while it works.
func TestWANDoesNotAllocate(t *testing.T) {
	labtest.CheckLeaks(t)
	l := labtest.Build(t, joined(lab.Link{WAN: aWAN}))
	e := openEnds(t, l, v4)
	const packets = 5000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range packets {
		if _, err := e.a.WriteToUDPAddrPort(nil, peerOf(e.b)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(10 * time.Millisecond) // Asking whether all have left allocates.
	runtime.ReadMemStats(&after)
	if allocated := after.Mallocs - before.Mallocs; allocated > packets/10 {
		t.Errorf("want no allocation for each packet, got %d for %d", allocated, packets)
	}
	wanAtRest(t, l, "b", packets)
}

func TestMeasureWAN(t *testing.T) {
	labtest.CheckLeaks(t)
	got, err := lab.MeasureWAN(t.Context(), lab.WAN{Delay: 40 * time.Millisecond, Jitter: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the WAN process carries %.0f packet/s, %.2f Gbit/s", got.PacketsPerSecond, got.OuterBitsPerSecond/1e9)
	if got.PacketsPerSecond <= 0 || got.OuterBitsPerSecond != got.PacketsPerSecond*1400*8 {
		t.Errorf("want a rate of packets of 1400 bytes, got %+v", got)
	}
	long, err := lab.MeasureWAN(t.Context(), lab.WAN{Delay: 10 * time.Second})
	if err != nil || long.PacketsPerSecond > 10_000 {
		t.Errorf("want the ceiling of a ring for a way of 10 s, got %+v, %v", long, err)
	}
}

// A WAN that ends with its program cannot be left up.
func TestUpRefusesWANProcess(t *testing.T) {
	labtest.CheckLeaks(t)
	topology := named()
	topology.Links[0].WAN = lab.WAN{Delay: time.Millisecond, Jitter: time.Millisecond}
	if names, err := lab.Up(t.Context(), topology); err == nil || !strings.Contains(err.Error(), "use tunnelmark lab run") {
		t.Errorf("Up: %q, %v; want a refusal that says what to do", names, err)
	}
	if _, err := os.Stat("/run/netns/tm-" + topology.Name + "-a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want no name left, got %v", err)
	}
}
