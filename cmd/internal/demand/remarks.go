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
	if note := gapNote(d.Forward); note != "" {
		d.Notes = append(d.Notes, note)
	}
	if err := f.plausible(packets, d.Forward); err != nil {
		return err
	}
	if d.Reverse != nil {
		return f.plausible(reversePackets, *d.Reverse)
	}
	return nil
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

// gapNote says how much of the time is not known; empty: none of it.
func gapNote(d analysis.Demand) string {
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
	return fmt.Sprintf("%.2g %% of the time holds no samples: gaps %d, the longest %v from %s.",
		100*float64(unknown)/float64(len(d.BitsPerSecond)), gaps, time.Duration(longest)*d.Step, at.Format("2006-01-02 15:04"))
}
