package sockets

import (
	"testing"
	"time"
)

func TestStampClock(t *testing.T) {
	const (
		ms     = time.Millisecond
		second = int64(time.Second)
		epoch  = 1_800_000_000 * second // CLOCK_REALTIME when the own clock began, in ns since 1970.
	)
	for _, tt := range []struct {
		name  string
		step  time.Duration // Of CLOCK_REALTIME, between the looks at 9 s and at 10 s.
		stamp int64         // Since epoch, by CLOCK_REALTIME before the step.
		want  time.Duration // Zero: not known.
	}{
		{"as stamped", 0, 9*second + 5, 9*time.Second + 5},
		{"none", 0, -epoch, 0},
		{"from the future", 0, 10*second + 1, 0},
		{"long ago", 0, 7*second - 1, 0},
		{"slewed", 400 * time.Microsecond, 10*second - 1e6, 10*time.Second - ms - 400*time.Microsecond},
		{"set forward meanwhile", time.Hour, 10*second - 1e6, 0},
		{"set back meanwhile", -time.Hour, 10*second - 1e6, 0},
		{"set by little", 2 * ms, 10*second - 1e6, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := StampClock{}
			c.Look(epoch+8*second, 8*time.Second)
			c.Look(epoch+9*second, 9*time.Second)
			c.Look(epoch+10*second+int64(tt.step), 10*time.Second)
			got, known := c.At(epoch+tt.stamp, 10*time.Second)
			if got != tt.want || known != (tt.want != 0) {
				t.Errorf("got %v (%t), want %v", got, known, tt.want)
			}
		})
	}
}
