package hoststat

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
)

// The first thread never exits, so no namespace may be made on it.
func init() { runtime.LockOSThread() }

var (
	about = cmpopts.EquateApprox(0, 1e-9)
	// What this process used is not a fixture's.
	notOurs = cmpopts.IgnoreFields(Process{}, "CPU", "Voluntary", "Involuntary")
)

func mustRead(t testing.TB, root string, interfaces ...string) Snapshot {
	t.Helper()
	s, err := Reader{Root: root, Interfaces: interfaces}.Read()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Core 2 went offline and core 3 came online; core 1's backlog counters were
// reset, core 0's wrapped, and core 1's idle time went back by two ticks. The
// packets that eth0 sent wrapped at 32 bits, its other counters are beyond that.
// Interface tun9 went away.
func TestSince(t *testing.T) {
	before := mustRead(t, "testdata/before", "tun9", "eth0")
	got := mustRead(t, "testdata/after", "tun9", "eth0").Since(before)
	want := Delta{
		Cores: []Core{
			{ID: 0, User: .10, System: .20, Softirq: .05, Steal: .05, Idle: .60, SoftnetDropped: 3, SoftnetTimeSqueezed: 2},
			{ID: 1, Softirq: 1, SoftnetDropped: 7, SoftnetTimeSqueezed: 6},
		},
		Busy:            350*time.Millisecond + time.Second,
		ContextSwitches: 10_000,
		Process:         Process{ResidentBytes: 30 << 20},
		Memory:          Memory{TotalBytes: 1_000_000 << 10, AvailableBytes: 700_000 << 10},
		Network: Network{
			Interfaces: []Interface{{
				Name: "eth0", ReceivedPackets: 25_705_032_710, ReceivedBytes: 36_000_000_000_000, ReceiveDropped: 2, SentPackets: 586,
			}},
			UDP:  UDP{Received: 2_000_000_100, NoPort: 5, ReceiveErrors: 104, ReceiveBufferErrors: 101, SendBufferErrors: 5, ChecksumErrors: 21},
			TCP:  TCP{Retransmitted: 10},
			XFRM: map[string]uint64{"XfrmInNoStates": 12, "XfrmOutNoQueueSpace": 5},
		},
	}
	if diff := cmp.Diff(want, got, about, notOurs); diff != "" {
		t.Errorf("Since (-want +got):\n%s", diff)
	}
}

func TestSinceItself(t *testing.T) {
	s := mustRead(t, "testdata/after", "lo")
	got := s.Since(s)
	want := Delta{
		Process: Process{ResidentBytes: 30 << 20},
		Memory:  Memory{TotalBytes: 1_000_000 << 10, AvailableBytes: 700_000 << 10},
		Network: Network{Interfaces: []Interface{{Name: "lo"}}, XFRM: map[string]uint64{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Since (-want +got):\n%s", diff)
	}
}

func TestGrown(t *testing.T) {
	const edge = 1 << 32
	for _, tt := range []struct {
		name            string
		now, then, want uint64
	}{
		{"not at all", 7, 7, 0},
		{"beyond 32 bits", edge + 5, edge - 5, 10},
		{"far beyond", 40 * edge, 3 * edge, 37 * edge},
		{"over the edge of 32 bits", 5, edge - 5, 10},
		{"over the edge by the most", mostOverEdge - 2, edge - 1, mostOverEdge - 1},
		{"reset from a low count", 5, 1000, 5},
		{"reset from a middling count", 5, 3_000_000_000, 5},
		{"reset from beyond 32 bits", 5, edge + 5, 5},
		{"reset to zero", 0, 1 << 63, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := grown(tt.now, tt.then); got != tt.want {
				t.Errorf("grown(%d, %d): got %d, want %d", tt.now, tt.then, got, tt.want)
			}
		})
	}
}

func TestNanosecondsPer(t *testing.T) {
	d := Delta{Busy: 1500 * time.Millisecond}
	for _, tt := range []struct {
		name      string
		got, want float64
	}{
		{"packet", d.NanosecondsPerPacket(1_000_000), 1500},
		{"packets of an 8-hour load", Delta{Busy: 16 * time.Hour}.NanosecondsPerPacket(800_000_000_000), 72},
		{"byte", d.NanosecondsPerByte(1_400_000_000), 1.5 / 1.4},
		{"no packet", d.NanosecondsPerPacket(0), 0},
		{"no byte", d.NanosecondsPerByte(0), 0},
	} {
		if math.Abs(tt.got-tt.want) > 1e-9 {
			t.Errorf("%s: got %g ns, want %g", tt.name, tt.got, tt.want)
		}
	}
}

// A kernel may lack IPv6, IPsec, and an estimate of the memory that is available.
func TestReadLess(t *testing.T) {
	root := fixture(t)
	for _, spoil := range []func(*testing.T, string){
		remove("71/task/73/net/snmp6"),
		remove("71/task/73/net/xfrm_stat"),
		write("meminfo", "MemTotal: 5 kB\n"),
	} {
		spoil(t, root)
	}
	s := mustRead(t, root)
	got := s.Since(s)
	want := Delta{Process: Process{ResidentBytes: 20 << 20}, Memory: Memory{TotalBytes: 5 << 10}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Since (-want +got):\n%s", diff)
	}
}

func TestReadHost(t *testing.T) {
	earlier := mustRead(t, Root, "lo")
	spin(50 * time.Millisecond)
	d := mustRead(t, Root, "lo").Since(earlier)
	for _, c := range d.Cores {
		if sum := c.User + c.System + c.Softirq + c.Steal + c.Idle; math.Abs(sum-1) > 1e-9 {
			t.Errorf("core %d: shares add up to %g, want 1", c.ID, sum)
		}
	}
	if len(earlier.cores) == 0 {
		t.Error("read no cores")
	}
	if len(d.Network.Interfaces) != 1 || d.Memory.TotalBytes == 0 || d.Process.ResidentBytes == 0 || d.Process.CPU <= 0 {
		t.Errorf("got %+v, want lo, memory, and time on the CPU", d)
	}
}

// spin keeps a core busy until this process has used it for that long.
func spin(long time.Duration) {
	for start := used(); used()-start < long; {
	}
}

func used() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// What a thread in another namespace reads is that namespace's.
func TestIntegrationReadInNamespace(t *testing.T) {
	labtest.NeedRoot(t)
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with its namespace.
		errs <- receiveNothing()
	}()
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

// receiveNothing sends ten datagrams to nobody in a namespace of its own, and
// checks that they are all that this namespace counted.
func receiveNothing() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := upLoopback(); err != nil {
		return err
	}
	reader := Reader{Root: Root, Interfaces: []string{"lo"}}
	before, err := reader.Read()
	if err != nil {
		return err
	}
	conn, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		return err
	}
	defer conn.Close()
	for range 10 {
		_, _ = conn.Write([]byte("discard")) // Every second one tells of the one before.
	}
	after, err := reader.Read()
	if err != nil {
		return err
	}
	got := after.Since(before).Network
	if got.UDP.NoPort == 0 || got.UDP.NoPort > 10 || len(got.Interfaces) != 1 || got.Interfaces[0].SentPackets < got.UDP.NoPort {
		return fmt.Errorf("got %+v, want up to 10 datagrams without a port, over lo", got)
	}
	return nil
}

// upLoopback starts the loopback interface of the calling thread's namespace.
func upLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

func TestReadRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, root string)
		want  string
	}{
		{"no stat", remove("stat"), "read the cores' times"},
		{"no thread", remove("thread-self"), "find the thread"},
		{"a thread that is gone", remove("71"), "open the process's part"},
		{"a thread without a number", link("71/task/x"), "find the thread"},
		{"a process without a number", link("self/task/73"), "find the process"},
		{"no meminfo", remove("meminfo"), "read the host's memory"},
		{"no status", remove("71/status"), "read the process's memory"},
		{"no interfaces", remove("71/task/73/net/dev"), "read the interfaces' counters"},
		{"no number in xfrm_stat", write("71/task/73/net/xfrm_stat", "XfrmInError x\n"), "read the IPsec counters"},
		{"no value in xfrm_stat", write("71/task/73/net/xfrm_stat", "XfrmInError\n"), "read the IPsec counters"},
		{"no softnet_stat", remove("71/task/73/net/softnet_stat"), "network backlog"},
		{"no snmp", remove("71/task/73/net/snmp"), "read the UDP counters"},
		{"short softnet_stat", write("71/task/73/net/softnet_stat", "00 01\n"), "network backlog"},
		{"no number in stat", write("stat", "cpu0 a b c\n"), "read the cores' times"},
		{"no number in snmp", write("71/task/73/net/snmp", "Udp: RcvbufErrors\nUdp: x\n"), "read the UDP counters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := fixture(t)
			tt.spoil(t, root)
			_, err := Reader{Root: root}.Read()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// fixture is a copy of a proc file system that a test may spoil.
func fixture(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/before")); err != nil {
		t.Fatal(err)
	}
	return root
}

func link(target string) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		name := filepath.Join(root, "thread-self")
		if err := errors.Join(os.Remove(name), os.Symlink(target, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func write(name, content string) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
