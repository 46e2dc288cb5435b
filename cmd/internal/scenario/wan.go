package scenario

import (
	"fmt"
	"slices"
	"time"

	"tunnelmark/lab"
)

// mostLate is by how much the mean delay of a WAN may differ from what the scenario
// says without a note.
const mostLate = 500 * time.Microsecond

// wanNotes says what the WANs on some paths did, while a search ran, that the
// scenario did not ask for: the result is then about this machine, too.
func wanNotes(t lab.Topology, paths []Path, before, after []lab.WANCounters) (notes []string) {
	for i, c := range after {
		if !slices.ContainsFunc(paths, func(p Path) bool { return p.joins(c.Between) }) {
			continue
		}
		way := fmt.Sprintf("The lab's WAN between %s and %s", c.Between[0], c.Between[1])
		if overrun := c.Overrun - before[i].Overrun; overrun > 0 {
			notes = append(notes, fmt.Sprintf("%s could not carry %d packets toward %s: this machine is too slow for what the scenario asks for, and the result may be its own.", way, overrun, c.Toward))
		}
		wanted := delayOf(t, c)
		if got, found := meanDelay(before[i].Delay, c.Delay); found && (got-wanted).Abs() > mostLate {
			notes = append(notes, fmt.Sprintf("%s took %s toward %s on average, and not %s: this machine was busy otherwise.", way, got.Round(10*time.Microsecond), c.Toward, wanted))
		}
	}
	return notes
}

// delayOf is what the scenario says.
func delayOf(t lab.Topology, c lab.WANCounters) time.Duration {
	for _, link := range t.Links {
		if link.Between == c.Between {
			return link.WAN.Delay
		}
	}
	return 0
}

// meanDelay is that of the packets between two readings.
func meanDelay(before, after lab.DelayStatistics) (mean time.Duration, found bool) {
	packets := after.Packets - before.Packets
	if packets == 0 {
		return 0, false
	}
	// The sum of all delays may not fit; that of the differences from one of them does.
	drift := float64(after.Mean-before.Mean) * float64(before.Packets) / float64(packets)
	return after.Mean + time.Duration(drift), true
}
