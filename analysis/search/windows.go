package search

import (
	"math"
	"slices"

	"tunnelmark/analysis"
)

const (
	// fence is how many scaled median absolute deviations from the median a
	// window may be; 1.4826 scales them to a standard deviation.
	fence = 3 * 1.4826
	// grain is how many packets more or less a window may hold by the chance of
	// where it begins and ends.
	grain = 3.0
	// groupPackets is how many packets windows are joined to, so that the grain
	// is small beside them.
	groupPackets = 60
)

// reading is the rate that the typical windows of a trial delivered.
type reading struct {
	inner  float64 // bit/s
	spread float64 // Interquartile range over median.
	used   int     // Windows in the reading,
	seen   int     // of this many.
}

// read takes the delivered rate from a trial's windows. The first window and
// those in which a bucket still let pass what came are left out, the last one
// is partial, and windows far from the median saw a stall or the burst after
// it. Over the rest the rate is packets by time, not a mean of rates: where a
// window lost a packet to its neighbour, the sum still has it.
func read(t analysis.Trial) reading {
	ws := group(inside(t.Windows))
	r := reading{seen: len(ws)}
	if ws = steady(ws, t); len(ws) == 0 {
		return r
	}
	rates := ratesOf(ws)
	middle := quantile(rates, 0.5)
	reach := max(fence*deviation(rates, middle), middle*grain/packetsPer(ws))
	var packets, time float64
	for i, w := range ws {
		if math.Abs(rates[i]-middle) <= reach {
			packets, time, r.used = packets+float64(w.Packets), time+length(w), r.used+1
		}
	}
	r.inner = packets * float64(t.InnerSize) * 8 / time
	r.spread = (quantile(rates, 0.75) - quantile(rates, 0.25)) / middle
	return r
}

// inside leaves out the first window, the last one, and empty ones.
func inside(ws []analysis.Window) []analysis.Window {
	if len(ws) < 3 {
		return nil
	}
	var kept []analysis.Window
	for _, w := range ws[1 : len(ws)-1] {
		if w.End > w.Start {
			kept = append(kept, w)
		}
	}
	return kept
}

// group joins windows of slow loads until each holds enough packets.
func group(ws []analysis.Window) []analysis.Window {
	var groups []analysis.Window
	open := false
	for _, w := range ws {
		if !open {
			groups = append(groups, w)
		} else {
			last := &groups[len(groups)-1]
			last.Packets, last.End = last.Packets+w.Packets, w.End
		}
		open = groups[len(groups)-1].Packets < groupPackets
	}
	if open && len(groups) > 1 {
		groups = groups[:len(groups)-1]
	}
	return groups
}

// steady leaves out the leading windows in which a bucket passed all: up to
// where the rate first falls half way from the load to what the last third of
// the windows delivered, and one more.
func steady(ws []analysis.Window, t analysis.Trial) []analysis.Window {
	if len(ws) < 3 {
		return ws
	}
	rates := ratesOf(ws)
	for i := range rates {
		rates[i] *= float64(t.InnerSize) * 8
	}
	late := quantile(rates[len(rates)-len(rates)/3:], 0.5)
	load := t.InnerSentBitsPerSecond()
	if load < 1.05*late {
		return ws
	}
	for i, r := range rates {
		if r <= (late+load)/2 {
			return ws[min(i+1, len(ws)-1):]
		}
	}
	return nil
}

func length(w analysis.Window) float64 { return (w.End - w.Start).Seconds() }

// ratesOf are in packet/s.
func ratesOf(ws []analysis.Window) []float64 {
	rates := make([]float64, len(ws))
	for i, w := range ws {
		rates[i] = float64(w.Packets) / length(w)
	}
	return rates
}

func packetsPer(ws []analysis.Window) float64 {
	var sum float64
	for _, w := range ws {
		sum += float64(w.Packets)
	}
	return sum / float64(len(ws))
}

// deviation is the median absolute deviation from the middle.
func deviation(values []float64, middle float64) float64 {
	apart := make([]float64, len(values))
	for i, v := range values {
		apart[i] = math.Abs(v - middle)
	}
	return quantile(apart, 0.5)
}

// quantile interpolates between the two nearest of the values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
