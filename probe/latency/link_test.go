package latency

import (
	"testing"
	"time"
)

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
