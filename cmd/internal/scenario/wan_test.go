package scenario

import (
	"strings"
	"testing"
	"time"

	"tunnelmark/lab"
)

// What a WAN did on the measured paths that nobody asked for is said, and only that.
func TestWANNotes(t *testing.T) {
	between := [2]string{"a", "b"}
	topology := lab.Topology{Links: []lab.Link{{Between: between, WAN: lab.WAN{Delay: 40 * time.Millisecond}}}}
	const ms = time.Millisecond
	counted := func(overrun, packets uint64, mean time.Duration) []lab.WANCounters {
		return []lab.WANCounters{
			{Between: between, Toward: "a"},
			{Between: between, Toward: "b", Dropped: 100, Overrun: overrun, Delay: lab.DelayStatistics{Packets: packets, Mean: mean}},
		}
	}
	for name, c := range map[string]struct {
		before, after []lab.WANCounters
		paths         []Path
		want          []string // in the notes
	}{
		"as asked for":           {counted(0, 0, 0), counted(0, 1000, 40*ms), []Path{{"a", "b"}}, nil},
		"overrun before":         {counted(7, 1000, 90*ms), counted(7, 100_000, 40*ms+ms/2), []Path{{"a", "b"}}, nil},
		"overrun":                {counted(7, 0, 0), counted(10, 1000, 40*ms), []Path{{"b", "a"}}, []string{"between a and b could not carry 3 packets toward b"}},
		"overrun elsewhere":      {counted(0, 0, 0), counted(10, 1000, 50*ms), []Path{{"a", "c"}}, nil},
		"late":                   {counted(0, 0, 0), counted(0, 10, 41*ms), []Path{{"a", "b"}}, []string{"took 41ms toward b on average, and not 40ms"}},
		"late since, not before": {counted(0, 1000, 40*ms), counted(0, 1100, 41*ms), []Path{{"a", "b"}}, []string{"took 51ms toward b"}},
		"nothing sent":           {counted(0, 1000, 50*ms), counted(0, 1000, 50*ms), []Path{{"a", "b"}}, nil},
		"both":                   {counted(0, 0, 0), counted(1, 10, 41*ms), []Path{{"a", "b"}}, []string{"could not carry 1 packets", "took 41ms"}},
		"no WAN":                 {nil, nil, []Path{{"a", "b"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := wanNotes(topology, c.paths, c.before, c.after)
			if len(got) != len(c.want) {
				t.Fatalf("want %d notes, got %q", len(c.want), got)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("note %q: want it to say %q", got[i], want)
				}
			}
		})
	}
}
