package udp

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// spin is how long before a departure the sender stops sleeping and spins: the
// kernel's timers wake a thread 26 to 130 us late even at the least slack.
const spin = 60 * time.Microsecond

// machineClock is CLOCK_MONOTONIC, read without a system call.
type machineClock struct {
	base time.Duration // CLOCK_MONOTONIC at start.
	at   time.Time     // The same moment, as the runtime knows it.
}

func newMachineClock() (*machineClock, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return nil, err
	}
	return &machineClock{base: time.Duration(ts.Nano()), at: time.Now()}, nil
}

// Now is the time of CLOCK_MONOTONIC.
func (c *machineClock) Now() time.Duration { return c.base + time.Since(c.at) }

// when is the moment at which the clock shows t.
func (c *machineClock) when(t time.Duration) time.Time { return c.at.Add(t - c.base) }

// SleepUntil returns at t or, when the host is busy, later. It sleeps until 60
// us before and spins for the rest.
func (c *machineClock) SleepUntil(t time.Duration) {
	if t-c.Now() > spin {
		ts := unix.NsecToTimespec(int64(t - spin))
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) == unix.EINTR {
		}
	}
	for c.Now() < t {
	}
}

// preciseThread gives the calling goroutine a thread of its own whose timers
// are not coalesced (prctl(2), PR_SET_TIMERSLACK). release undoes it.
func preciseThread() (release func()) {
	runtime.LockOSThread()
	// Zero restores the thread's default slack. Without the least slack the
	// spin absorbs less; it still works, so an error is no reason to stop.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
		runtime.UnlockOSThread()
	}
}
