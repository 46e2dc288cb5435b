package scenario

import (
	"context"
	"fmt"
	"time"

	"tunnelmark/cmd/internal/unit"
	"tunnelmark/lab"
)

// tellCeiling measures and tells what this machine can carry over the longest of the
// WANs that are processes, before anything else runs on it.
func tellCeiling(ctx context.Context, built *lab.Lab, t lab.Topology, tell func(string)) error {
	longest, found, err := longestProcess(built, t)
	if err != nil || !found {
		return err
	}
	ceiling, err := lab.MeasureWAN(ctx, longest)
	if err != nil {
		return err
	}
	tell(fmt.Sprintf("the kernel has no netem for this; the lab's own WAN process carries up to %s of packets of 1400 B here", unit.FormatBitRate(ceiling.OuterBitsPerSecond)))
	return nil
}

// longestProcess is the one that has to hold the most.
func longestProcess(built *lab.Lab, t lab.Topology) (longest lab.WAN, found bool, err error) {
	counters, err := built.WANCounters()
	if err != nil {
		return lab.WAN{}, false, err
	}
	length := func(w lab.WAN) time.Duration { return w.Delay + w.Jitter }
	for _, c := range counters {
		for _, link := range t.Links {
			if c.Netem || link.Between != c.Between {
				continue
			}
			if !found || length(link.WAN) > length(longest) {
				longest, found = link.WAN, true
			}
		}
	}
	return longest, found, nil
}
