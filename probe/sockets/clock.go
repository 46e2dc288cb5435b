package sockets

import "time"

// StampClock turns the kernel's stamps, which are times of CLOCK_REALTIME, into times
// of the probe's own clock, which is never set.
//
// Its user looks at both clocks again and again. Where their distance has changed between
// two looks, CLOCK_REALTIME was set, and stamps made meanwhile say nothing.
type StampClock struct {
	distance time.Duration // CLOCK_REALTIME less the own clock, at the last look.
	looked   time.Duration // The own clock at that look,
	before   time.Duration // and at the one before.
	steady   bool
}

const (
	// slewed is by how much the distance may change without a step, for each unit of
	// time: the kernel slews CLOCK_REALTIME by 500 ppm at most (adjtimex(2)), the
	// monotonic clock with it; twice that, for other kernels.
	slewed = 1e-3
	// blurred is by how much two readings of the clocks, one after the other, err.
	blurred = 100 * time.Microsecond
	// queued is how long the kernel may take from stamping a datagram to queueing it.
	queued = time.Second
)

// Look takes a reading of both clocks: wall is CLOCK_REALTIME in ns since 1970.
func (c *StampClock) Look(wall int64, now time.Duration) {
	distance := time.Duration(wall) - now
	passed := now - c.looked
	c.steady = (distance - c.distance).Abs() <= blurred+time.Duration(slewed*float64(passed))
	c.distance, c.before, c.looked = distance, c.looked, now
}

// At is when the stamp was made by the own clock, which shows now. It was made since
// the look before the last; zero is no stamp.
func (c *StampClock) At(stamp int64, now time.Duration) (at time.Duration, known bool) {
	at = time.Duration(stamp) - c.distance
	if stamp == 0 || !c.steady || at > now || at < c.before-queued {
		return 0, false
	}
	return at, true
}
