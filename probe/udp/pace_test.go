package udp

import (
	"errors"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe"
	"tunnelmark/probe/wire"
)

// fakeHost is a clock and a stack whose every delay the test decides.
type fakeHost struct {
	now       time.Duration
	cost      time.Duration                       // Of sending a train.
	overslept func(t time.Duration) time.Duration // Optional.
	write     func(train int) (int, bool, error)  // Optional.
	stalls    map[int]time.Duration               // By train, on top of cost.
	waits     map[int]time.Duration               // By train: the socket was full.
	trains    []departure
	sequences []uint64
	streams   []uint16
}

// departure is one train.
type departure struct {
	at      time.Duration
	packets int
}

func (f *fakeHost) Now() time.Duration { return f.now }

func (f *fakeHost) SleepUntil(t time.Duration) {
	if f.overslept != nil {
		t += f.overslept(t)
	}
	f.now = max(f.now, t)
}

func (f *fakeHost) writeTrain(b []byte, size int) (int, bool, error) {
	n := len(f.trains)
	f.trains = append(f.trains, departure{f.now, len(b) / size})
	f.now += f.cost + f.stalls[n] + f.waits[n]
	taken, waited, err := len(b)/size, f.waits[n] > 0, error(nil)
	if f.write != nil {
		taken, waited, err = f.write(n)
	}
	for i := range taken {
		h, parseErr := wire.ParseHeader(b[i*size:])
		if parseErr != nil {
			panic(parseErr)
		}
		f.sequences = append(f.sequences, h.Sequence)
		f.streams = append(f.streams, h.Stream)
	}
	return taken, waited, err
}

func newTransmission(f *fakeHost, train int) *transmission {
	const size = 1372
	return &transmission{
		clock: f, flows: []trainWriter{f}, stop: func(time.Duration) error { return nil },
		size: size, buffer: make([]byte, train*size),
	}
}

var second350 = probe.Load{InnerBitsPerSecond: 350e6, InnerSize: 1400, Duration: time.Second} // A packet lasts 32 us.

// sendPaced sends the load on the host in trains of four.
func sendPaced(t *testing.T, f *fakeHost, load probe.Load) (probe.Sent, error) {
	t.Helper()
	out, plan := newTransmission(f, 4), newSchedule(load, 4)
	elapsed, err := out.paced(plan)
	sent := out.counts()
	sent.Elapsed, sent.Skipped = elapsed, plan.skipped
	return sent, err
}

func TestPacedOnTime(t *testing.T) {
	f := &fakeHost{cost: 5 * time.Microsecond}
	got, err := sendPaced(t, f, second350)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(probe.Sent{Packets: 31250, Elapsed: time.Second, Train: 4}, got); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	for i, d := range f.trains {
		if want := time.Duration(i) * 128 * time.Microsecond; d.at != want {
			t.Fatalf("train %d left at %v, want %v", i, d.at, want)
		}
	}
}

// Lateness of less than a train is made up at once, and the mean is exact.
func TestPacedMakesUpShortLateness(t *testing.T) {
	f := &fakeHost{cost: 5 * time.Microsecond, overslept: func(t time.Duration) time.Duration {
		return t % (97 * time.Microsecond)
	}}
	got, err := sendPaced(t, f, second350)
	if err != nil {
		t.Fatal(err)
	}
	if got.Packets != 31250 || got.Skipped != 0 {
		t.Errorf("sent %d packets and skipped %v, want 31250 and nothing", got.Packets, got.Skipped)
	}
	// The last train has none after it to make up for its lateness.
	if late := got.Elapsed - time.Second; late < 0 || late > 100*time.Microsecond {
		t.Errorf("lasted %v, want 1 s and the last train's lateness at most", got.Elapsed)
	}
}

// At a low rate four packets may meet: no queue is so small, and a late timer
// costs no load.
func TestPacedMakesUpFourPackets(t *testing.T) {
	load := probe.Load{InnerBitsPerSecond: 10e6, InnerSize: 1400, Duration: 112 * time.Millisecond} // 1.12 ms each.
	for _, tt := range []struct {
		name    string
		stall   time.Duration
		want    uint64
		skipped bool
	}{
		{"four packets late", 5600 * time.Microsecond, 100, false},
		{"five packets late", 6720 * time.Microsecond, 95, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeHost{cost: 5 * time.Microsecond, stalls: map[int]time.Duration{10: tt.stall - 5*time.Microsecond}}
			out, plan := newTransmission(f, 1), newSchedule(load, 1)
			if _, err := out.paced(plan); err != nil {
				t.Fatal(err)
			}
			if got := out.counts().Packets; got != tt.want || (plan.skipped > 0) != tt.skipped {
				t.Errorf("sent %d packets and skipped %v, want %d and skipping %v", got, plan.skipped, tt.want, tt.skipped)
			}
		})
	}
}

// Time off the CPU is skipped: no burst follows it, and the load while on the
// CPU is what was asked for.
func TestPacedSkipsLongLateness(t *testing.T) {
	f := &fakeHost{cost: 5 * time.Microsecond, stalls: map[int]time.Duration{
		100: 3 * time.Millisecond, 200: 20 * time.Millisecond, 4000: 700 * time.Microsecond,
	}}
	got, err := sendPaced(t, f, second350)
	if err != nil {
		t.Fatal(err)
	}
	if want := 23 * time.Millisecond; (got.Skipped - want).Abs() > time.Millisecond {
		t.Errorf("skipped %v, want about %v", got.Skipped, want)
	}
	if (got.Elapsed - time.Second).Abs() > time.Millisecond {
		t.Errorf("lasted %v, want 1 s", got.Elapsed)
	}
	assertOnCPURate(t, got, 350e6)
	for i := 1; i < len(f.trains); i++ {
		if gap := f.trains[i].at - f.trains[i-1].at; gap < 128*time.Microsecond {
			t.Fatalf("train %d left %v after the one before, want 128us at least", i, gap)
		}
	}
}

func assertOnCPURate(t *testing.T, s probe.Sent, want float64) {
	t.Helper()
	got := float64(s.Packets) * 1400 * 8 / (s.Elapsed - s.Skipped).Seconds()
	if math.Abs(got/want-1) > 1e-3 {
		t.Errorf("%g bit/s while on the CPU, want %g within 0.1 %%", got, want)
	}
}

// A machine that is too slow is not one that was kept from working: nothing is
// skipped, and packets and time tell the truth.
func TestPacedOnSlowMachine(t *testing.T) {
	f := &fakeHost{cost: 200 * time.Microsecond}
	got, err := sendPaced(t, f, second350)
	if err != nil {
		t.Fatal(err)
	}
	want := 31250 * 128.0 / 200
	if math.Abs(float64(got.Packets)-want) > want/100 || got.Skipped != 0 {
		t.Errorf("sent %d packets and skipped %v, want about %g and nothing", got.Packets, got.Skipped, want)
	}
	if (got.Elapsed - time.Second).Abs() > time.Millisecond {
		t.Errorf("lasted %v, want 1 s", got.Elapsed)
	}
}

// A full socket slows the sender; the host did not keep it off the CPU.
func TestPacedWaitingForRoom(t *testing.T) {
	f := &fakeHost{cost: 5 * time.Microsecond, waits: map[int]time.Duration{50: 100 * time.Millisecond}}
	got, err := sendPaced(t, f, second350)
	if err != nil {
		t.Fatal(err)
	}
	if got.Skipped != 0 || got.Packets > 28200 {
		t.Errorf("sent %d packets and skipped %v, want a tenth less and nothing", got.Packets, got.Skipped)
	}
}

// What the stack refuses uses up its time but not its sequence number.
func TestPacedRefused(t *testing.T) {
	f := &fakeHost{cost: 5 * time.Microsecond, write: func(train int) (int, bool, error) {
		switch train {
		case 1:
			return 0, false, unix.ENOBUFS
		case 3:
			return 3, false, unix.EPERM
		}
		return 4, false, nil
	}}
	load := second350
	load.Duration = 6 * 128 * time.Microsecond
	got, err := sendPaced(t, f, load)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(probe.Sent{Packets: 19, Refused: 5, Elapsed: load.Duration, Train: 4}, got); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	for i, s := range f.sequences {
		if s != uint64(i) {
			t.Fatalf("sequence numbers %v, want them without gap or repetition", f.sequences)
		}
	}
}

func TestPacedTooLarge(t *testing.T) {
	f := &fakeHost{write: func(int) (int, bool, error) { return 0, false, unix.EMSGSIZE }}
	if _, err := sendPaced(t, f, second350); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("got error %v, want EMSGSIZE", err)
	}
}

func TestBurst(t *testing.T) {
	f := &fakeHost{cost: time.Microsecond}
	out := newTransmission(f, 40)
	elapsed, err := out.burst(100)
	if err != nil {
		t.Fatal(err)
	}
	want := []departure{{0, 40}, {time.Microsecond, 40}, {2 * time.Microsecond, 20}}
	if diff := cmp.Diff(want, f.trains, cmp.AllowUnexported(departure{})); diff != "" {
		t.Errorf("trains (-want +got):\n%s", diff)
	}
	if elapsed != 3*time.Microsecond || out.counts().Packets != 100 {
		t.Errorf("%d packets in %v, want 100 in 3us", out.counts().Packets, elapsed)
	}
}

func TestBurstRefused(t *testing.T) {
	f := &fakeHost{cost: time.Microsecond, write: func(int) (int, bool, error) { return 0, false, unix.EPERM }}
	out := newTransmission(f, 40)
	if _, err := out.burst(100); err != nil {
		t.Fatal(err)
	}
	if got := out.counts(); got.Packets != 0 || got.Refused != 120 {
		t.Errorf("sent %d, refused %d, want 0 and 120", got.Packets, got.Refused)
	}
}

// Sequence numbers go on beyond 32 bits.
func TestSendBeyond32Bits(t *testing.T) {
	f := &fakeHost{now: 1<<48 - 1}
	out := newTransmission(f, 4)
	out.sequence.Store(1<<32 - 2)
	if _, err := out.send(4, f.now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{1<<32 - 2, 1<<32 - 1, 1 << 32, 1<<32 + 1}, f.sequences); diff != "" {
		t.Errorf("sequence numbers (-want +got):\n%s", diff)
	}
}

// At one packet in ten seconds the sender still looks up soon.
func TestStopsWhileWaiting(t *testing.T) {
	f, ended := &fakeHost{}, errors.New("ended")
	out := newTransmission(f, 1)
	out.stop = func(now time.Duration) error {
		if now >= time.Second {
			return ended
		}
		return nil
	}
	_, err := out.paced(newSchedule(probe.Load{InnerBitsPerSecond: 1120, InnerSize: 1400, Duration: time.Minute}, 1))
	if !errors.Is(err, ended) || f.now > time.Second+maxNap || len(f.trains) != 1 {
		t.Errorf("ended with %v at %v after %d trains, want soon after 1 s and 1 train", err, f.now, len(f.trains))
	}
}
