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
	refuse    func(train int) (int, error)        // Optional: how many are taken of a train, and why no more.
	stalls    map[int]time.Duration               // By train, on top of cost.
	waits     map[int]time.Duration               // By train: the socket was full at first.
	full      bool                                // It is.
	trains    []departure
	sequences []uint64
	streams   []uint16
}

// departure is one train.
type departure struct {
	at      time.Duration
	packets int
	bytes   int // Of inner packets.
}

func (f *fakeHost) Now() time.Duration { return f.now }

func (f *fakeHost) SleepUntil(t time.Duration) {
	if f.overslept != nil {
		t += f.overslept(t)
	}
	f.now = max(f.now, t)
}

func (f *fakeHost) write(_ *plain, data []byte, lengths []int) (int, error) {
	n := len(f.trains)
	if f.waits[n] > 0 && !f.full {
		f.full = true
		return 0, unix.EAGAIN
	}
	f.full = false
	taken, err := len(lengths), error(nil)
	if f.refuse != nil {
		taken, err = f.refuse(n)
	}
	f.trains = append(f.trains, departure{f.now, len(lengths), len(data) + len(lengths)*fakeHeaders})
	f.now += f.cost + f.stalls[n]
	for _, length := range lengths[:taken] {
		h, parseErr := wire.ParseHeader(data[:length])
		if parseErr != nil {
			panic(parseErr)
		}
		f.sequences = append(f.sequences, h.Sequence)
		f.streams = append(f.streams, h.Stream)
		data = data[length:]
	}
	return taken, err
}

func (f *fakeHost) awaitRoom(*plain, time.Duration) { f.now += f.waits[len(f.trains)] }

func (f *fakeHost) segmented() bool { return false }

// fakeHeaders are those of IPv4 and UDP.
const fakeHeaders = 28

// newFakeTransmission sends the first lane of the load on the host.
func newFakeTransmission(f *fakeHost, load probe.Load) *transmission {
	t := newTransmission(f, Trial{}, load, fakeHeaders)
	t.writer, t.stop = f, func(time.Duration) error { return nil }
	for number := range flowsIn(0, load) {
		t.flows = append(t.flows, flow{number: number * load.LaneCount()})
	}
	return t
}

// second350 is of packets that last 32 us.
var second350 = probe.Load{InnerBitsPerSecond: 350e6, Mix: probe.Fixed(1400), Duration: time.Second}

// sendPaced sends the load on the host.
func sendPaced(t *testing.T, f *fakeHost, load probe.Load) (probe.Sent, error) {
	t.Helper()
	out := newFakeTransmission(f, load)
	plan := newSchedule(load, out.train)
	elapsed, err := out.paced(plan, f.now)
	sent := out.counts()
	sent.Elapsed, sent.Skipped = elapsed, plan.skipped
	sent.Pace = paceOf([]*lane{{out: out}})
	return sent, err
}

func mustSendPaced(t *testing.T, f *fakeHost, load probe.Load) probe.Sent {
	t.Helper()
	sent, err := sendPaced(t, f, load)
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

func TestPacedOnTime(t *testing.T) {
	f := &fakeHost{cost: 5 * time.Microsecond}
	got := mustSendPaced(t, f, second350)
	want := probe.Sent{
		Packets: 31250, InnerBytes: 31250 * 1400, Elapsed: time.Second, Burst: 4,
		Pace: probe.Pace{Windows: 9, Within: 1, Worst: got.Pace.Worst},
	}
	if diff := cmp.Diff(want, got); diff != "" {
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
	got := mustSendPaced(t, f, second350)
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
	load := probe.Load{InnerBitsPerSecond: 10e6, Mix: probe.Fixed(1400), Duration: 112 * time.Millisecond} // 1.12 ms each.
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
			got := mustSendPaced(t, f, load)
			if got.Packets != tt.want || (got.Skipped > 0) != tt.skipped {
				t.Errorf("sent %d packets and skipped %v, want %d and skipping %v", got.Packets, got.Skipped, tt.want, tt.skipped)
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
	got := mustSendPaced(t, f, second350)
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
	got := float64(s.InnerBytes) * 8 / (s.Elapsed - s.Skipped).Seconds()
	if math.Abs(got/want-1) > 1e-3 {
		t.Errorf("%g bit/s while on the CPU, want %g within 0.1 %%", got, want)
	}
}

// A machine that is too slow is not one that was kept from working: nothing is
// skipped, and packets and time tell the truth.
func TestPacedOnSlowMachine(t *testing.T) {
	f := &fakeHost{cost: 200 * time.Microsecond}
	got := mustSendPaced(t, f, second350)
	want := 31250 * 128.0 / 200
	if math.Abs(float64(got.Packets)-want) > want/100 || got.Skipped != 0 {
		t.Errorf("sent %d packets and skipped %v, want about %g and nothing", got.Packets, got.Skipped, want)
	}
	if (got.Elapsed - time.Second).Abs() > time.Millisecond {
		t.Errorf("lasted %v, want 1 s", got.Elapsed)
	}
	if got.Pace.Within != 0 || math.Abs(got.Pace.Worst-0.36) > 0.01 {
		t.Errorf("pace %+v, want no window within, and 36 %% too little", got.Pace)
	}
}

// A machine that needs most of its time for sending, and is slower now and then for
// longer than the least bound, sends the whole load; one that has time to spare would make
// a burst of what it makes up, and does not. second350 has trains of 4, of 128 us.
func TestPacedOnLabouringMachine(t *testing.T) {
	for _, tt := range []struct {
		cost  time.Duration
		whole bool
	}{
		{100 * time.Microsecond, true},
		{10 * time.Microsecond, false},
	} {
		t.Run(tt.cost.String(), func(t *testing.T) {
			f := &fakeHost{cost: tt.cost, stalls: map[int]time.Duration{}}
			for train := 50; train < 7000; train += 100 {
				for slow := range 10 { // 900 us in all, none of them off the CPU.
					f.stalls[train+slow] = 218*time.Microsecond - tt.cost
				}
			}
			sent := mustSendPaced(t, f, second350)
			if whole := sent.Packets == 31250; whole != tt.whole {
				t.Errorf("sent %d packets, want all 31250: %v", sent.Packets, tt.whole)
			}
			if whole := sent.Pace.Within == 1; tt.whole && !whole {
				t.Errorf("pace %+v, want all windows even", sent.Pace)
			}
		})
	}
}

// A full socket slows the sender; the host did not keep it off the CPU.
func TestPacedWaitingForRoom(t *testing.T) {
	f := &fakeHost{cost: 5 * time.Microsecond, waits: map[int]time.Duration{50: 100 * time.Millisecond}}
	got := mustSendPaced(t, f, second350)
	if got.Skipped != 0 || got.Packets > 28200 {
		t.Errorf("sent %d packets and skipped %v, want a tenth less and nothing", got.Packets, got.Skipped)
	}
}

// What the stack refuses uses up its time but not its sequence number.
func TestPacedRefused(t *testing.T) {
	f := &fakeHost{cost: 5 * time.Microsecond, refuse: func(train int) (int, error) {
		switch train {
		case 1:
			return 0, unix.ENOBUFS
		case 3:
			return 3, unix.EPERM
		}
		return 4, nil
	}}
	load := second350
	load.Duration = 6 * 128 * time.Microsecond
	got := mustSendPaced(t, f, load)
	if diff := cmp.Diff(probe.Sent{Packets: 19, InnerBytes: 19 * 1400, Refused: 5, Elapsed: load.Duration, Burst: 4}, got); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	for i, s := range f.sequences {
		if s != uint64(i) {
			t.Fatalf("sequence numbers %v, want them without gap or repetition", f.sequences)
		}
	}
}

func TestPacedTooLarge(t *testing.T) {
	f := &fakeHost{refuse: func(int) (int, error) { return 0, unix.EMSGSIZE }}
	if _, err := sendPaced(t, f, second350); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("got error %v, want EMSGSIZE", err)
	}
}

// Sequence numbers go on beyond 32 bits, up to what the header holds; the load
// before cannot take all of them (maxPackets).
func TestSendBeyond32Bits(t *testing.T) {
	for _, first := range []uint64{1<<32 - 2, 1<<48 - 4} {
		f := &fakeHost{now: 1<<48 - 1}
		out := newFakeTransmission(f, second350)
		out.flows[0].next = first
		out.packets.Store(first)
		out.innerBytes.Store(first * 1400)
		if _, err := out.send(first, 4, f.now); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]uint64{first, first + 1, first + 2, first + 3}, f.sequences); diff != "" {
			t.Errorf("sequence numbers (-want +got):\n%s", diff)
		}
		if got := out.counts(); got.Packets != first+4 || got.InnerBytes != (first+4)*1400 || out.flows[0].next != first+4 {
			t.Errorf("counted %+v, want four more packets than %d", got, first)
		}
	}
}

// At one packet in ten seconds the sender still looks up soon.
func TestStopsWhileWaiting(t *testing.T) {
	f, ended := &fakeHost{}, errors.New("ended")
	load := probe.Load{InnerBitsPerSecond: 1120, Mix: probe.Fixed(1400), Duration: time.Minute}
	out := newFakeTransmission(f, load)
	out.stop = func(now time.Duration) error {
		if now >= time.Second {
			return ended
		}
		return nil
	}
	_, err := out.paced(newSchedule(load, out.train), 0)
	if !errors.Is(err, ended) || f.now > time.Second+maxNap || len(f.trains) != 1 {
		t.Errorf("ended with %v at %v after %d trains, want soon after 1 s and 1 train", err, f.now, len(f.trains))
	}
}

// A socket that stays full does not hold the sender when it must stop; what was
// taken before counts.
func TestStopsWhileFull(t *testing.T) {
	f, ended := &fakeHost{}, errors.New("ended")
	f.refuse = func(train int) (int, error) {
		if train == 0 {
			return 3, unix.EAGAIN
		}
		return 0, unix.EAGAIN
	}
	out := newFakeTransmission(f, second350)
	out.stop = func(time.Duration) error {
		if len(f.trains) > 2 {
			return ended
		}
		return nil
	}
	_, err := out.paced(newSchedule(second350, out.train), 0)
	if got := out.counts(); !errors.Is(err, ended) || got.Packets != 3 || got.Refused != 0 {
		t.Errorf("ended with %v, counted %+v, want 3 packets sent and none refused", err, got)
	}
}

// On a busy host most wake-ups and many sends take long. That is not the machine's
// speed: what was not sent for it is skipped, and the rest is as asked.
func TestPacedOnCrowdedHost(t *testing.T) {
	f := &fakeHost{cost: 5 * time.Microsecond, stalls: map[int]time.Duration{0: 200 * time.Microsecond}}
	for train := 3; train < 8000; train += 3 {
		f.stalls[train] = time.Duration(train%7) * 400 * time.Microsecond
	}
	got := mustSendPaced(t, f, second350)
	if got.Skipped < 200*time.Millisecond || got.Pace.Within < 0.99 {
		t.Errorf("skipped %v, pace %+v, want much skipped and an even rest", got.Skipped, got.Pace)
	}
	assertOnCPURate(t, got, 350e6)
}
