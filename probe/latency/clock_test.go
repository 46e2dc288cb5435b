package latency

import (
	"testing"
	"time"
)

func TestStampClock(t *testing.T) {
	const second = int64(time.Second)
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
			c := stampClock{}
			c.look(epoch+8*second, 8*time.Second)
			c.look(epoch+9*second, 9*time.Second)
			c.look(epoch+10*second+int64(tt.step), 10*time.Second)
			got, known := c.at(epoch+tt.stamp, 10*time.Second)
			if got != tt.want || known != (tt.want != 0) {
				t.Errorf("got %v (%t), want %v", got, known, tt.want)
			}
		})
	}
}

func TestDepartures(t *testing.T) {
	var d departures
	for n := range uint64(100) {
		d.add(1000+n, time.Duration(n)*ms)
	}
	for _, tt := range []struct {
		name  string
		count uint32
		at    time.Duration
		want  uint64 // Zero: not found.
	}{
		{"newest", 99, 99 * ms, 1099},
		{"the same again, at another device", 99, 100 * ms, 0},
		{"oldest", 36, 100 * ms, 1036},
		{"forgotten", 35, 100 * ms, 0},
		{"not sent yet", 100, 100 * ms, 0},
		{"before it was sent: counted before a reset", 50, 49 * ms, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, found := d.take(tt.count, tt.at)
			if got != tt.want || found != (tt.want != 0) {
				t.Errorf("got %d (%t), want %d", got, found, tt.want)
			}
		})
	}
}
