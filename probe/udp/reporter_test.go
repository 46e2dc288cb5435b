package udp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/probe"
)

// Progress is told at multiples of the interval since the beginning, which may be
// still to come; what is due while the function is busy is left out.
func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now().Add(ms)
		var got []time.Duration
		standing := func() probe.Progress { return probe.Progress{Elapsed: time.Since(begin)} }
		r := report(begin, func(p probe.Progress) {
			got = append(got, p.Elapsed)
			if len(got) == 2 {
				time.Sleep(250 * ms)
			}
		}, 100*ms, standing)
		time.Sleep(651 * ms)
		r.close()
		if diff := cmp.Diff([]time.Duration{100 * ms, 200 * ms, 500 * ms, 600 * ms}, got); diff != "" {
			t.Errorf("told at (-want +got):\n%s", diff)
		}
	})
}

func TestReporterOfNothing(t *testing.T) {
	report(time.Now(), nil, ms, nil).close()
}
