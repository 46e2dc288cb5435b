package scenario

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// The first thread never exits, so no namespace may be made on it.
func init() { runtime.LockOSThread() }

// What the WAN process carries is told where there is one.
func TestTellCeiling(t *testing.T) {
	for name, c := range map[string]struct {
		wan  lab.WAN
		told string
	}{
		"no WAN":     {},
		"a process":  {lab.WAN{Delay: time.Millisecond, Jitter: time.Millisecond}, "WAN process carries up to "},
		"a long one": {lab.WAN{Delay: 10 * time.Second, Jitter: time.Second}, "Mbit/s of packets of 1400 B here"},
	} {
		t.Run(name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			topology := lab.Topology{Name: "test", Sites: []string{"a", "b"}, Links: []lab.Link{{Between: [2]string{"a", "b"}, WAN: c.wan}}}
			built := labtest.Build(t, topology)
			var told []string
			if err := tellCeiling(t.Context(), built, topology, func(text string) { told = append(told, text) }); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(told, "; "); !strings.Contains(got, c.told) || (c.told == "") != (got == "") {
				t.Errorf("told %q, want %q", got, c.told)
			}
		})
	}
}
