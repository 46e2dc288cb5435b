package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tunnelmark/analysis"
)

var csvHeader = []string{
	"number", "purpose", "valid",
	"offered_inner_bits_per_second", "burst_packets", "sent_inner_bits_per_second",
	"delivered_inner_bits_per_second", "delivered_outer_bits_per_second",
	"sent_packets", "received_packets", "loss_ratio", "elapsed_seconds", "skipped_seconds",
}

// WriteCSV writes a line for each trial, in the order in which they ran, with
// unit and layer in the header.
func WriteCSV(w io.Writer, r Result) error {
	out := csv.NewWriter(w)
	out.Write(csvHeader) // Flush and Error report what went wrong.
	for i, s := range r.steps() {
		out.Write(csvRow(i+1, s))
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write trials: %w", err)
	}
	return nil
}

func csvRow(number int, s analysis.Step) []string {
	t := s.Trial
	float := func(v float64) string { return strconv.FormatFloat(v, 'g', 9, 64) }
	count := func(n uint64) string { return strconv.FormatUint(n, 10) }
	sent, received := t.InnerSentBitsPerSecond(), t.InnerReceivedBitsPerSecond()
	return []string{
		strconv.Itoa(number), cell(string(s.Purpose)), strconv.FormatBool(t.Valid()),
		float(t.Load.InnerBitsPerSecond), strconv.Itoa(t.Load.Packets), float(sent),
		float(received), float(t.Outer(received)),
		count(t.Sent), count(t.Received), float(t.LossRatio()), float(t.Elapsed.Seconds()), float(t.Skipped.Seconds()),
	}
}

// cell keeps a spreadsheet from taking a text for a formula.
func cell(text string) string { return strings.TrimLeft(clean(text), "=+-@") }
