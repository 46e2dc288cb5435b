package udp

import (
	"math"
	"testing"
	"time"

	"tunnelmark/probe"
)

func TestTrainLength(t *testing.T) {
	for _, tt := range []struct {
		name    string
		load    probe.Load
		payload int
		want    int
	}{
		{"1 Mbps", probe.Load{InnerBitsPerSecond: 1e6, InnerSize: 1400}, 1372, 1},
		{"100 Mbps", probe.Load{InnerBitsPerSecond: 100e6, InnerSize: 1400}, 1372, 1},
		{"350 Mbps", probe.Load{InnerBitsPerSecond: 350e6, InnerSize: 1400}, 1372, 4},
		{"1 Gbps", probe.Load{InnerBitsPerSecond: 1e9, InnerSize: 1400}, 1372, 8},
		{"2 Gbps", probe.Load{InnerBitsPerSecond: 2e9, InnerSize: 1400}, 1372, 8},
		{"40 Gbps", probe.Load{InnerBitsPerSecond: 40e9, InnerSize: 1400}, 1372, 47},
		{"absurd rate", probe.Load{InnerBitsPerSecond: math.MaxFloat64, InnerSize: 1400}, 1372, 47},
		{"small packets", probe.Load{InnerBitsPerSecond: 350e6, InnerSize: 64}, 36, 28},
		{"as asked", probe.Load{InnerBitsPerSecond: 350e6, InnerSize: 1400, Train: 2}, 1372, 2},
		{"more than fits", probe.Load{InnerBitsPerSecond: 350e6, InnerSize: 1400, Train: 1000}, 1372, 47},
		{"burst", probe.Load{Packets: 1000, InnerSize: 1400}, 1372, 47},
		{"short burst", probe.Load{Packets: 3, InnerSize: 1400}, 1372, 3},
		{"small packets in a burst", probe.Load{Packets: 1000, InnerSize: 64}, 36, 64},
		{"jumbo", probe.Load{Packets: 1000, InnerSize: 65535}, 65507, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := trainLength(tt.load, tt.payload); got != tt.want {
				t.Errorf("got a train of %d, want %d", got, tt.want)
			}
		})
	}
}

// Departures are exact to the nanosecond however many went before.
func TestScheduleDoesNotDrift(t *testing.T) {
	for _, tt := range []struct {
		name string
		rate float64
		slot uint64
		want time.Duration
	}{
		{"first", 350e6, 0, 0},
		{"one second", 350e6, 31250, time.Second},
		{"ten minutes", 350e6, 31250 * 600, 10 * time.Minute},
		{"1 Mbps", 1e6, 625, 7 * time.Second},
		{"100 Gbps beyond 2^32 packets", 100e9, 1 << 33, time.Duration((1 << 33) * 112)},
		{"no whole nanosecond", 3e9, 3 << 32, time.Duration((1 << 32) * 11200)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSchedule(probe.Load{InnerBitsPerSecond: tt.rate, InnerSize: 1400, Duration: time.Hour}, 1)
			if got := s.due(tt.slot); (got - tt.want).Abs() > time.Nanosecond {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestScheduleEnds(t *testing.T) {
	load := probe.Load{InnerBitsPerSecond: 350e6, InnerSize: 1400, Duration: time.Second} // 31250 packets.
	for _, tt := range []struct {
		name  string
		slot  uint64
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
			if got := s.next(tt.slot); got != tt.want {
				t.Errorf("got a train of %d, want %d", got, tt.want)
			}
		})
	}
}
