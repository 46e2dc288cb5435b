package udp

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe"
)

func TestBatching(t *testing.T) {
	load := func(rate float64, size, burst int) probe.Load {
		return probe.Load{InnerBitsPerSecond: rate, Mix: probe.Fixed(size), Burst: burst}
	}
	lanes := load(2e9, 1400, 0)
	lanes.Flows, lanes.Lanes = 8, 8
	mixed := load(2e9, 1400, 0)
	mixed.Mix = probe.Mix{Sizes: []int{64, 64, 64, 9000}}
	train := func(n int) batching { return batching{train: n, burst: n, segment: true} }
	for _, tt := range []struct {
		name string
		load probe.Load
		want batching
	}{
		{"1 Mbps", load(1e6, 1400, 0), train(1)},
		{"100 Mbps", load(100e6, 1400, 0), train(1)},
		{"350 Mbps", load(350e6, 1400, 0), train(4)},
		{"1 Gbps", load(1e9, 1400, 0), train(8)},
		{"2 Gbps", load(2e9, 1400, 0), train(8)},
		{"2 Gbps in eight lanes", lanes, train(3)},
		{"40 Gbps", load(40e9, 1400, 0), train(47)},
		{"absurd rate", load(math.MaxFloat64, 1400, 0), train(47)},
		{"small packets", load(350e6, 64, 0), train(28)},
		{"small and large ones", mixed, train(7)},
		{"as asked", load(350e6, 1400, 2), train(2)},
		{"more than fits", load(350e6, 1400, 1000), train(47)},
		{"jumbo", load(40e9, 65535, 0), train(1)},
		{"one by one", load(10e9, 1400, 1), batching{train: 1, burst: 1}},
		{"one by one, faster than any host", load(1e12, 1400, 1), batching{train: 64, burst: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := batchingOf(tt.load, tt.load.Mix.Most()-fakeHeaders)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(batching{})); diff != "" {
				t.Errorf("batching (-want +got):\n%s", diff)
			}
		})
	}
}

// Departures are exact to the nanosecond however many went before.
func TestScheduleDoesNotDrift(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rate  float64
		place uint64
		want  time.Duration
	}{
		{"first", 350e6, 0, 0},
		{"one second", 350e6, 31250, time.Second},
		{"ten minutes", 350e6, 31250 * 600, 10 * time.Minute},
		{"1 Mbps", 1e6, 625, 7 * time.Second},
		{"100 Gbps beyond 2^32 packets", 100e9, 1 << 33, time.Duration((1 << 33) * 112)},
		{"no whole nanosecond", 3e9, 3 << 32, time.Duration((1 << 32) * 11200)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSchedule(probe.Load{InnerBitsPerSecond: tt.rate, Mix: probe.Fixed(1400), Duration: time.Hour}, 1)
			if got := s.due(tt.place); (got - tt.want).Abs() > time.Nanosecond {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestScheduleEnds(t *testing.T) {
	load := probe.Load{InnerBitsPerSecond: 350e6, Mix: probe.Fixed(1400), Duration: time.Second} // 31250 packets.
	for _, tt := range []struct {
		name  string
		place uint64
		shift time.Duration
		want  int
	}{
		{"begins", 0, 0, 4},
		{"last but one", 31244, 0, 4},
		{"rest", 31248, 0, 2},
		{"end", 31250, 0, 0},
		{"shifted by 64 ms, 2000 packets", 29248, 64 * time.Millisecond, 2},
		{"shifted beyond what was sent", 31248, time.Millisecond, 0},
		{"shifted beyond the load", 10, 2 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSchedule(load, 4)
			s.shift = tt.shift
			if got := s.next(tt.place); got != tt.want {
				t.Errorf("got a train of %d, want %d", got, tt.want)
			}
		})
	}
}

// Mixed sizes are paced by bytes: each packet is due when those before it have
// passed at the load's rate.
func TestScheduleOfMix(t *testing.T) {
	f := &fakeHost{cost: time.Microsecond}
	load := probe.Load{InnerBitsPerSecond: 100e6, Mix: probe.Mix{Sizes: []int{100, 1500, 400}, Seed: 7}, Duration: time.Second, Burst: 1}
	got := mustSendPaced(t, f, load)
	order, bytes := load.Mix.Order(), 0
	for i, d := range f.trains {
		if size := order.Size(uint64(i)); d.bytes != size {
			t.Fatalf("packet %d has %d bytes, want %d", i, d.bytes, size)
		}
		if want := time.Duration(bytes) * 80; d.at != want { // 80 ns per byte.
			t.Fatalf("packet %d left at %v, want %v", i, d.at, want)
		}
		bytes += d.bytes
	}
	if got.InnerBytes != uint64(bytes) {
		t.Errorf("sent %d bytes, want %d", got.InnerBytes, bytes)
	}
	assertOnCPURate(t, got, 100e6)
}

// busyHost oversleeps and stalls as hosts do: mostly by microseconds, at times by
// milliseconds, and in the same way in each run.
func busyHost() *fakeHost {
	random := uint64(1)
	next := func() uint64 { // Xorshift: any even spread will do.
		random ^= random << 13
		random ^= random >> 7
		random ^= random << 17
		return random
	}
	f := &fakeHost{cost: 300 * time.Nanosecond}
	f.overslept = func(time.Duration) time.Duration {
		switch n := next(); {
		case n%5000 == 0:
			return time.Duration(n/5000%20) * time.Millisecond
		case n%50 == 0:
			return time.Duration(n/50%200) * time.Microsecond
		}
		return time.Duration(next() % 1000)
	}
	return f
}

// What must hold of every load for the time on the CPU: the mean within 0.1 %, and
// 99 % of the windows of 100 ms within 1 % or two bursts. A burst that was asked for
// is never exceeded, and no two of them meet.
func TestScheduleHolds(t *testing.T) {
	for _, rate := range []float64{1e6, 10e6, 350e6, 2e9, 10e9} {
		for _, size := range []int{64, 512, 1400, 8900} {
			for _, burst := range []int{0, 1, 4, 32} {
				load := probe.Load{InnerBitsPerSecond: rate, Mix: probe.Fixed(size), Duration: time.Second, Burst: burst}
				if packetInterval(load) < 500 {
					continue // One by one, the host is too slow for it.
				}
				t.Run(fmt.Sprintf("%g bit per s of %d B in bursts of %d", rate, size, burst), func(t *testing.T) {
					f := busyHost()
					got := mustSendPaced(t, f, load)
					assertOnCPUPackets(t, got, load)
					if got.Pace.Within < 0.99 {
						t.Errorf("pace %+v, want 99 %% of the windows within", got.Pace)
					}
					if burst > 0 {
						assertSpaced(t, f.trains, load, burst)
					}
				})
			}
		}
	}
}

// assertOnCPUPackets expects the rate of the load to within 0.1 %, or to within the
// packet that a second does not hold whole.
func assertOnCPUPackets(t *testing.T, s probe.Sent, load probe.Load) {
	t.Helper()
	want := load.InnerBitsPerSecond * (s.Elapsed - s.Skipped).Seconds() / 8
	if off := math.Abs(float64(s.InnerBytes) - want); off > max(want/1000, load.Mix.Mean()) {
		t.Errorf("sent %d bytes in %v on the CPU, want %.0f within 0.1 %%", s.InnerBytes, s.Elapsed-s.Skipped, want)
	}
}

// assertSpaced expects trains of at most burst packets, and three quarters of their
// time between any two.
func assertSpaced(t *testing.T, trains []departure, load probe.Load, burst int) {
	t.Helper()
	for i, d := range trains {
		if d.packets > burst {
			t.Fatalf("train %d has %d packets, want %d at most", i, d.packets, burst)
		}
		if i == 0 {
			continue
		}
		least := packetInterval(load) * float64(trains[i-1].packets) * 3 / 4
		if gap := d.at - trains[i-1].at; float64(gap) < least {
			t.Fatalf("train %d left %v after the one before, want %v at least", i, gap, time.Duration(least))
		}
	}
}
