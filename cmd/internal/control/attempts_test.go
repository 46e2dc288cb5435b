package control

import (
	"fmt"
	"testing"
	"time"
)

func TestAttempts(t *testing.T) {
	var a attempts
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	count := func(source string, at time.Time) (allowed int) {
		for range 100 {
			if a.allow(mustAddr(source), at) {
				allowed++
			}
		}
		return allowed
	}
	steps := []struct {
		name, source string
		after        time.Duration
		want         int
	}{
		{"a burst", "192.0.2.1", 0, attemptBurst},
		{"then nothing", "192.0.2.1", time.Millisecond, 0},
		{"then one per interval", "192.0.2.1", 2 * attemptInterval, 2},
		{"another source is not held back", "192.0.2.2", 0, attemptBurst},
		{"IPv6", "2001:db8::1", 0, attemptBurst},
		{"the same IPv6 network", "2001:db8::2", 0, 0},
		{"mapped IPv4 is IPv4", "::ffff:192.0.2.2", 0, 0},
		{"all is forgiven", "192.0.2.1", time.Hour, attemptBurst},
	}
	for _, s := range steps {
		if got := count(s.source, now.Add(s.after)); got != s.want {
			t.Errorf("%s: %d attempts allowed, want %d", s.name, got, s.want)
		}
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	var a attempts
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	allowed := 0
	for i := range 10 * maxSources {
		if a.allow(mustAddr(fmt.Sprintf("10.0.%d.%d", i/256, i%256)), now) {
			allowed++
		}
	}
	if want := maxSources + attemptBurst; allowed != want || len(a.full) > maxSources+1 {
		t.Errorf("%d allowed with %d in the table, want %d and at most %d", allowed, len(a.full), want, maxSources+1)
	}
	if !a.allow(mustAddr("10.99.0.1"), now.Add(time.Hour)) || len(a.full) > 2 {
		t.Errorf("the table was not cleared: %d", len(a.full))
	}
}
