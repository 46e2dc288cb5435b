package demand

import (
	"fmt"
	"time"

	"tunnelmark/analysis"
)

// An IP packet has at least its header (RFC 791, Section 3.1), and at most 65,535
// bytes (RFC 8200, Section 4: 40 more), to which a tunnel and Ethernet add theirs.
const (
	leastPacket = 20
	mostPacket  = 65_535 + 40 + 256
)

// remark adds what a user must know about the samples, and refuses those that cannot be
// what they were taken for.
func (f *folder) remark(d *Demands) error {
	if f.dropped > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("Rows that repeat the one above them were dropped: %d.", f.dropped))
	}
	for kind, s := range f.series {
		if s == nil {
			continue
		}
		notes, err := s.notes()
		if err != nil {
			return fmt.Errorf("column %s: %w", f.labels[kind], err)
		}
		if f.samples[kind] == 0 {
			notes = []string{"it holds no numbers"}
		}
		for _, note := range notes {
			d.Notes = append(d.Notes, fmt.Sprintf("Column %s: %s.", f.labels[kind], note))
		}
	}
	if err := f.remarkWay(d, packets, d.Forward, ""); err != nil || d.Reverse == nil {
		return err
	}
	return f.remarkWay(d, reversePackets, *d.Reverse, " of the way back")
}

// remarkWay does so for one way, by its column of packets.
func (f *folder) remarkWay(d *Demands, packets int, one analysis.Demand, way string) error {
	if note := gapNote(one, way); note != "" {
		d.Notes = append(d.Notes, note)
	}
	return f.plausible(packets, one)
}

// plausible holds the mean size of packets against what a packet can be.
func (f *folder) plausible(kind int, d analysis.Demand) error {
	var bits, count float64
	for bin, packets := range d.PacketsPerSecond {
		if d.Known(bin) && packets > 0 {
			bits, count = bits+d.BitsPerSecond[bin], count+packets
		}
	}
	size := bits / 8 / count
	if count == 0 || bits == 0 || size >= leastPacket && size <= mostPacket {
		return nil
	}
	return fmt.Errorf("columns %s and %s give packets of %.3g B on average, which is no packet's size: is one a counter and the other a rate, or the unit another?",
		f.labels[kind-packets], f.labels[kind], size)
}

// gapNote says how much of the time is not known of a way; empty: none of it.
func gapNote(d analysis.Demand, way string) string {
	var unknown, gaps, length, longest int
	var at time.Time
	for bin := range d.BitsPerSecond {
		if d.Known(bin) {
			length = 0
			continue
		}
		unknown++
		length++
		if length == 1 {
			gaps++
		}
		if length > longest {
			longest, at = length, d.Start.Add(time.Duration(bin-length+1)*d.Step)
		}
	}
	if unknown == 0 {
		return ""
	}
	return fmt.Sprintf("%.2g %% of the time holds no samples%s: gaps %d, the longest %v from %s.",
		100*float64(unknown)/float64(len(d.BitsPerSecond)), way, gaps, time.Duration(longest)*d.Step, at.Format("2006-01-02 15:04"))
}
