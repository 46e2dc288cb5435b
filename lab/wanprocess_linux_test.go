package lab

import (
	"testing"
	"time"
)

func TestArrival(t *testing.T) {
	const wall, now, last = 1_800_000_000 * int64(time.Second), 1000 * ms, 990 * ms
	hour := time.Hour.Nanoseconds()
	for name, c := range map[string]struct{ stamp, want int64 }{
		"just now":                    {wall, now},
		"before":                      {wall - 3*ms, now - 3*ms},
		"with the packet before":      {wall - 10*ms, last},
		"before the last look":        {wall - 11*ms, last},
		"by a clock that was put on":  {wall - hour, last},
		"by a clock that was put off": {wall + hour, now},
	} {
		if got := arrival(c.stamp, wall, now, last); got != c.want {
			t.Errorf("%s: want %d, got %d", name, c.want, got)
		}
	}
}
