package esp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
	"tunnelmark/tunnel/offload"
	"tunnelmark/tunnel/overhead"
	"tunnelmark/tunnel/tunneltest"
)

// fakeClear is a clear side that always has the same batch to read, packet by packet,
// and takes what is written.
type fakeClear struct {
	read     [][]byte
	at       int
	writeErr error
	written  [][]byte // Kept only where keep is set.
	keep     bool
}

func (f *fakeClear) next(into []byte, _ bool) (int, error) {
	if f.at == len(f.read) {
		f.at = 0
		return 0, nil
	}
	packet := f.read[f.at]
	f.at++
	clear(into[:offload.HeaderLength])
	return offload.HeaderLength + copy(into[offload.HeaderLength:], packet), nil
}

func (f *fakeClear) put(parts [][]byte) error {
	if f.keep {
		f.written = append(f.written, bytes.Join(parts[1:], nil))
	}
	return f.writeErr
}

// loops are both directions of one way through a pair of loopback sockets: what
// the sender reads comes out of the receiver.
type loops struct {
	sender    *sendWorker
	receiver  *receiveWorker
	from, to  *fakeClear
	near, far *net.UDPConn
	farPort   *port
	path      overhead.PathMTU // What the outer interface is said to take.
	out, in   ledger
}

// udp4 is the carrier of most tests.
var udp4 = carrier{version: overhead.IPv4}

func newLoops(t testing.TB, suite tunnel.Suite, mtu int) *loops {
	t.Helper()
	near, far := listenPair(t)
	from, to := newEnds(t, suite, true, tunnel.Lifetime{}, time.Now)
	return newLoopsOf(t, near, far, from, to, mtu)
}

// newLoopsOf are those between two sockets that are connected, of two ends.
func newLoopsOf(t testing.TB, near, far *net.UDPConn, from, to *generations, mtu int) *loops {
	t.Helper()
	l := &loops{from: &fakeClear{}, to: &fakeClear{}, near: near, far: far, farPort: mustPort(t, far), path: 65535}
	if err := udp4.setReceive(l.farPort.fd); err != nil {
		t.Fatal(err)
	}
	outbox := newOutbox(mustPort(t, near), udp4)
	l.sender = newSender(l.from, l.from, outbox, from, 1, newSelectors(left, right), newTestCeiling(t, from.out.suite.name, mtu, &l.path), &l.out).workers[0]
	l.receiver = newReceiver(l.to, []*inbox{newInbox(l.farPort, udp4)}, to, true, true, &l.in).workers[0]
	return l
}

// listenPair opens two sockets that are connected to each other.
func listenPair(t testing.TB) (near, far *net.UDPConn) {
	t.Helper()
	near, far = listen(t), listen(t)
	mustConnect(t, near, far)
	mustConnect(t, far, near)
	return near, far
}

func listen(t testing.TB) *net.UDPConn {
	t.Helper()
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket
}

func mustConnect(t testing.TB, socket, peer *net.UDPConn) {
	t.Helper()
	p, err := portOf(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := connect(p.fd, peer.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
}

func mustPort(t testing.TB, socket *net.UDPConn) *port {
	t.Helper()
	p, err := portOf(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// carry takes one batch through both loops.
func (l *loops) carry(t testing.TB) {
	if err := l.sender.step(); err != nil {
		t.Fatal(err)
	}
	want := l.out.read().OutPackets
	for l.in.read().InPackets < want {
		if err := l.receiver.step(); err != nil {
			t.Fatal(err)
		}
	}
}

func batchOf(count, length int) [][]byte {
	packets := make([][]byte, count)
	for i := range packets {
		packets[i] = ipv4(length)
	}
	return packets
}

func TestLoopsCarry(t *testing.T) {
	mixed := [][]byte{ipv4(1400), ipv4(1400), ipv4(900), ipv4(60), ipv6(1400), ipv4(1400), ipv4(1401), ipv4(20)}
	tests := []struct {
		name  string
		batch [][]byte
	}{
		{"one packet", batchOf(1, 1400)},
		{"equal packets", batchOf(mostSingles, 1400)},
		{"more than one message holds", batchOf(mostSingles, 64)},
		{"mixed", mixed},
	}
	for _, segmentation := range []bool{true, false} {
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s, segmentation %t", test.name, segmentation), func(t *testing.T) {
				l := newLoops(t, tunnel.AES128GCM, 1438)
				l.sender.outer.segmentation = segmentation
				l.from.read, l.to.keep = test.batch, true
				l.carry(t)
				if diff := cmp.Diff(test.batch, l.to.written); diff != "" {
					t.Errorf("packets (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Every suite through both loops, and no packet more than there are sequence
// numbers: what is left over is refused and counted.
func TestLoopsEndWithSequenceNumbers(t *testing.T) {
	for _, suite := range suites {
		t.Run(string(suite.name), func(t *testing.T) {
			l := newLoops(t, suite.name, 1400)
			from, to := newEnds(t, suite.name, false, tunnel.Lifetime{}, time.Now)
			l.sender.generations, l.receiver.generations = from, to
			from.sending.sequence = from.sending.last - 5
			to.receiving.Load().current.window.accept(from.sending.sequence)
			l.from.read, l.to.keep = batchOf(7, 1400), true
			l.carry(t)
			if diff := cmp.Diff(batchOf(5, 1400), l.to.written); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
			want := tunnel.Counters{OutPackets: 5, OutInnerBytes: 5 * 1400, SendRefused: 2}
			if diff := cmp.Diff(want, l.out.read()); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
		})
	}
}

// The whole way through both loops, system calls included, allocates nothing.
func TestLoopsDoNotAllocate(t *testing.T) {
	for _, suite := range suites {
		for _, segmentation := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, segmentation %t", suite.name, segmentation), func(t *testing.T) {
				l := newLoops(t, suite.name, 1438)
				l.sender.outer.segmentation = segmentation
				l.from.read = batchOf(44, 1400)
				if got := testing.AllocsPerRun(100, func() { l.carry(t) }); got != 0 {
					t.Errorf("got %v allocations for a batch, want 0", got)
				}
			})
		}
	}
}

func TestCodecDoesNotAllocate(t *testing.T) {
	for _, suite := range suites {
		t.Run(string(suite.name), func(t *testing.T) {
			out, in := newSAs(t, suite.name)
			inner := ipv4(1400)
			buffer := make([]byte, out.headroom+len(inner)+out.tailroom())
			into := make([]byte, len(buffer))
			got := testing.AllocsPerRun(100, func() {
				copy(buffer[out.headroom:], inner)
				n, _ := seal(out, buffer, len(inner))
				if _, v := open(in, buffer[:n], into); v != delivered {
					t.Fatalf("got verdict %d, want delivered", v)
				}
			})
			if got != 0 {
				t.Errorf("got %v allocations for a packet, want 0", got)
			}
		})
	}
}

// What the sender drops, and under which name.
func TestSenderCounts(t *testing.T) {
	stranger := ipv4(100)
	stranger[19]++
	l := newLoops(t, tunnel.AES128GCM, 1438)
	l.from.read = [][]byte{ipv4(100), stranger, ipv6(200), {0x45}}
	l.carry(t)
	want := tunnel.Counters{OutPackets: 2, OutInnerBytes: 300, WrongSelectors: 2}
	if diff := cmp.Diff(want, l.out.read()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// What the receiver drops, and under which name.
func TestReceiverCounts(t *testing.T) {
	l := newLoops(t, tunnel.AES128GCM, 1438)
	sa := l.sender.generations.sending
	good := sealed(sa, ipv4(100))
	forged := sealed(sa, ipv4(100))
	forged[len(forged)-1] ^= 1
	another := append([]byte(nil), good...)
	another[2]++ // Not one of the SPIs to come.
	stranger := ipv4(100)
	stranger[12]++
	for _, datagram := range [][]byte{
		good, good, forged, another, sealed(sa, stranger), {}, {1, 2}, {0xff}, {0, 0, 0, 0, 9},
	} {
		if _, err := l.near.Write(datagram); err != nil {
			t.Fatal(err)
		}
	}
	want := tunnel.Counters{
		InPackets: 1, InInnerBytes: 100,
		Replayed: 1, BadICV: 1, UnknownSPI: 1, WrongSelectors: 1, Malformed: 2,
	}
	for l.in.read().Malformed < want.Malformed {
		if err := l.receiver.step(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, l.in.read()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// A packet that met congestion outside: its sender is told if it knows ECN, and by
// loss if not.
func TestReceiverKnowsCongestion(t *testing.T) {
	l := newLoops(t, tunnel.AES128GCM, 1438)
	l.to.keep = true
	deaf, able := withClass(ipv4(100), notECT), withClass(ipv4(100), ect0)
	for _, class := range []byte{ect0, congestionMarked} {
		for _, packet := range [][]byte{deaf, able} {
			if refused := l.sender.outer.send([][]byte{sealed(l.sender.generations.sending, packet)}, class); len(refused) > 0 {
				t.Fatalf("refused %v", refused)
			}
		}
	}
	want := tunnel.Counters{InPackets: 3, InInnerBytes: 300, Congested: 1}
	for l.in.read().InPackets < want.InPackets {
		if err := l.receiver.step(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, l.in.read()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]byte{deaf, able, withClass(able, congestionMarked)}, l.to.written); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

// Packets of several classes in one batch keep their order.
func TestSenderGroupsByClass(t *testing.T) {
	l := newLoops(t, tunnel.AES128GCM, 1438)
	for i, class := range []byte{0, 0, 0xb8, 0xb8, 0xba, 0, 0xb8} {
		l.from.read = append(l.from.read, withClass(ipv4(1400-i), class))
	}
	l.to.keep = true
	l.carry(t)
	if diff := cmp.Diff(l.from.read, l.to.written); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

// A clear side that refuses costs the batch, not the loop.
func TestReceiverGoesOnWhenRefused(t *testing.T) {
	l := newLoops(t, tunnel.AES128GCM, 1438)
	l.to.writeErr = unix.EIO
	l.from.read = batchOf(3, 100)
	if err := l.sender.step(); err != nil {
		t.Fatal(err)
	}
	for l.in.read().DeliverRefused < 3 {
		if err := l.receiver.step(); err != nil {
			t.Fatal(err)
		}
	}
	want := tunnel.Counters{DeliverRefused: 3}
	if diff := cmp.Diff(want, l.in.read()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// Datagrams that nobody waits for: ICMP says so, and the loops go on.
func TestLoopsSurviveAbsentPeer(t *testing.T) {
	l := newLoops(t, tunnel.AES128GCM, 1438)
	if err := errors.Join(l.far.Close(), l.farPort.Close()); err != nil {
		t.Fatal(err)
	}
	l.from.read = batchOf(1, 100)
	const batches = 5
	for range batches {
		if err := l.sender.step(); err != nil {
			t.Fatalf("step: %v", err)
		}
	}
	// Each call but the first meets the error of the one before, and sends.
	want := tunnel.Counters{OutPackets: batches, OutInnerBytes: 100 * batches, OuterErrors: batches - 1}
	if diff := cmp.Diff(want, l.out.read()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// A port that is stopped ends who waits, who comes later, and who has enough to read.
func TestPortStops(t *testing.T) {
	l := newLoops(t, tunnel.AES128GCM, 1438)
	waiting := make(chan error)
	go func() { waiting <- l.receiver.step() }()
	if err := l.farPort.stop(0); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who waited: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	l.from.read = batchOf(1, 100)
	if err := l.sender.step(); err != nil {
		t.Fatal(err)
	}
	if err := l.receiver.step(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who comes later: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

func TestSegments(t *testing.T) {
	sized := func(lengths ...int) [][]byte {
		packets := make([][]byte, len(lengths))
		for i, length := range lengths {
			packets[i] = make([]byte, length)
		}
		return packets
	}
	many := func(count, length int) [][]byte {
		lengths := make([]int, count)
		for i := range lengths {
			lengths[i] = length
		}
		return sized(lengths...)
	}
	tests := []struct {
		name    string
		packets [][]byte
		want    int
	}{
		{"one", sized(100), 1},
		{"equal", sized(100, 100, 100), 3},
		{"last is shorter", sized(100, 100, 60), 3},
		{"one behind a shorter one", sized(100, 60, 60), 2},
		{"longer", sized(100, 100, 101), 2},
		{"longer at once", sized(60, 100), 1},
		{"more than the kernel segments", many(100, 100), maxSegments},
		{"just what one datagram holds", many(50, 1310), 50},
		{"more than one datagram holds", many(60, 1464), maxPayload / 1464},
		{"longer than a datagram", sized(70000, 70000), 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := segments(test.packets); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

// A datagram that exceeds the path's MTU is refused and counted; the others of
// its batch go, and segmentation is not given up for it.
func TestOutboxRefusesTooLong(t *testing.T) {
	near, far := listen(t), listen(t)
	mustConnect(t, near, far)
	outbox := newOutbox(mustPort(t, near), udp4)
	tooLong := make([]byte, maxPayload+1)
	packets := [][]byte{make([]byte, 100), tooLong, tooLong, make([]byte, 100)}
	refused := outbox.send(packets, 0)
	if diff := cmp.Diff([]int{1, 2}, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	if !outbox.segmentation {
		t.Error("segmentation was given up for a packet that is too long")
	}
}

// Of equal packets and a shorter last one, which go in one message, only the last
// fits an interface whose MTU has fallen. That is no reason to give segmentation up.
func TestOutboxRefusesLongSegments(t *testing.T) {
	link := tunneltest.NewLink(t, tunneltest.PathMTU)
	near := netip.AddrPortFrom(link.Left.Addr4, 4500)
	far := netip.AddrPortFrom(link.Right.Addr4, 4500)
	socket := mustPort(t, tunneltest.Dial(t, link.Left.Outer, near, far))
	if err := connect(socket.fd, far); err != nil {
		t.Fatal(err)
	}
	outbox := newOutbox(socket, udp4)
	link.Left.SetMTU(t, 1400)
	packets := [][]byte{make([]byte, 1400), make([]byte, 1400), make([]byte, 100)}
	refused := outbox.send(packets, 0)
	if diff := cmp.Diff([]int{0, 1}, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	if !outbox.segmentation {
		t.Error("segmentation was given up for packets that are too long")
	}
	if !outbox.takeTooLong() || outbox.takeTooLong() {
		t.Error("want to be told once that packets were too long")
	}
}

func TestRefusesSegments(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		unix.EIO: true, unix.EINVAL: true, unix.EMSGSIZE: true, unix.ENOBUFS: false, unix.ECONNREFUSED: false,
	} {
		if got := refusesSegments(errno); got != want {
			t.Errorf("refusesSegments(%v): got %t, want %t", errno, got, want)
		}
	}
}

// What the kernel drops because nobody reads is counted, not only missed.
func TestSocketDrops(t *testing.T) {
	near, far := listen(t), listen(t)
	mustConnect(t, near, far)
	if err := far.SetReadBuffer(1); err != nil { // The kernel makes it its least.
		t.Fatal(err)
	}
	for range 100 {
		if _, err := near.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	drops, err := socketDrops(mustPort(t, far).fd)
	if err != nil {
		t.Fatal(err)
	}
	if drops == 0 || drops >= 100 {
		t.Errorf("got %d drops of 100 datagrams, want some", drops)
	}
}
