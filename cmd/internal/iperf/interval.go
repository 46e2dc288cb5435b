package iperf

import (
	"time"

	"tunnelmark/analysis"
)

// joiner puts both directions of an interval together, as iperf3 tells them.
type joiner struct {
	bidirectional bool
	open          []analysis.Interval // At most one, which waits for its other half.
}

// add returns what is whole by then: nothing, or one interval of one or two
// directions, the one of the load that goes there first.
func (j *joiner) add(i analysis.Interval) []analysis.Interval {
	if !j.bidirectional {
		return []analysis.Interval{i}
	}
	switch {
	case len(j.open) == 0:
		j.open = []analysis.Interval{i}
		return nil
	case j.open[0].Reverse == i.Reverse: // The other direction has nothing to tell.
		whole := j.open
		j.open = []analysis.Interval{i}
		return whole
	}
	whole := []analysis.Interval{j.open[0], i}
	if whole[0].Reverse {
		whole[0], whole[1] = whole[1], whole[0]
	}
	j.open = nil
	return whole
}

// rest is the half that no other half came for.
func (j *joiner) rest() []analysis.Interval {
	rest := j.open
	j.open = nil
	return rest
}

func length(i analysis.Interval) time.Duration { return i.End - i.Start }

func goodputRate(i analysis.Interval) float64 { return rate(i.GoodputBytes, length(i)) }
