package main

import (
	"fmt"
	"slices"
	"strings"

	"tunnelmark/scripts/internal/bench"
)

// column is one figure of a row: the medians of both tools', or of a comparison
// within each round.
type column struct {
	title string
	cell  func(row row, ours, theirs []outcome) string
}

// table is a section's.
type table struct {
	section section
	title   string
	about   string
	labels  []string
	columns []column
}

var tables = []table{
	{
		section: sectionUDP,
		title:   "UDP, as fast as each can",
		about: "iperf3 is `-u -b 0 -l SIZE-28`. CPU time per packet is of the sender's process per packet sent, of the receiver's per packet received,\n" +
			"and of all cores, whatever they did, per packet received.",
		labels: []string{"inner size", "tunnelmark's manner"},
		columns: []column{
			ratio("packets received, ratio", outcome.packetsPerSecond),
			both("packets/s received", outcome.packetsPerSecond, bench.Quantity),
			both("inner bit/s received", outcome.innerBitsPerSecond, bench.Quantity),
			both("lost", outcome.lossRatio, bench.Percent),
			both("sender, ns/packet", outcome.senderNanoseconds, bench.Whole),
			both("receiver, ns/packet", outcome.receiverNanoseconds, bench.Whole),
			both("all cores, ns/packet", outcome.hostNanoseconds, bench.Whole),
		},
	},
	{
		section: sectionTCP,
		title:   "TCP with CUBIC",
		about:   "iperf3 is `-C cubic -P FLOWS`. CPU time is per 1000 bytes of goodput.",
		labels:  []string{"flows"},
		columns: []column{
			ratio("goodput, ratio", outcome.goodputBitsPerSecond),
			both("goodput bit/s", outcome.goodputBitsPerSecond, bench.Quantity),
			both("sender, ns/kB", outcome.senderNanosecondsPerKB, bench.Decimal),
			both("receiver, ns/kB", outcome.receiverNanosecondsPerKB, bench.Decimal),
			both("all cores, ns/kB", outcome.hostNanosecondsPerKB, bench.Decimal),
		},
	},
	{
		section: sectionPacing,
		title:   "Pacing",
		about: "Rates are of inner packets; 80% is of what the same round carried from GSO to GRO. The error is of the mean rate over the sender's time on the CPU, which iperf3\n" +
			"does not tell apart. Windows are of 100 ms, even when within 1 % of the mean or within two bursts of it; of iperf3, two datagrams.",
		labels: []string{"inner size", "rate"},
		columns: []column{
			both("rate error, ppm", outcome.rateErrorPPM, bench.Whole),
			both("even windows", outcome.evenWindows, bench.Percent),
			own("burst, packets", outcome.burstPackets, bench.Whole),
			own("off the CPU", outcome.offCPU, bench.Percent),
			both("lost", outcome.lossRatio, bench.Percent),
			both("sender, cores", outcome.senderCores, bench.Hundredths),
		},
	},
}

func (o outcome) rateErrorPPM() float64 { return o.pacing.rateError * 1e6 }
func (o outcome) evenWindows() float64  { return o.pacing.within }
func (o outcome) burstPackets() float64 { return float64(o.pacing.burst) }
func (o outcome) offCPU() float64       { return o.pacing.offCPU }

// own is the median of tunnelmark alone.
func own(title string, figure func(outcome) float64, format func(float64) string) column {
	return column{title: title, cell: func(_ row, ours, _ []outcome) string {
		return format(bench.Median(each(ours, figure)))
	}}
}

// both are the medians of tunnelmark and iperf3.
func both(title string, figure func(outcome) float64, format func(float64) string) column {
	return column{title: title, cell: func(_ row, ours, theirs []outcome) string {
		return format(bench.Median(each(ours, figure))) + " / " + format(bench.Median(each(theirs, figure)))
	}}
}

// ratio is the median of the rounds' ratios, with the least and the greatest, and
// what is wanted of it.
func ratio(title string, figure func(outcome) float64) column {
	return column{title: title + " (least to greatest)", cell: func(row row, ours, theirs []outcome) string {
		ratios := bench.Quotients(each(ours, figure), each(theirs, figure))
		cell := fmt.Sprintf("**%.2f** (%.2f to %.2f)", bench.Median(ratios), slices.Min(ratios), slices.Max(ratios))
		if row.wanted > 0 {
			cell += fmt.Sprintf(", wanted %g", row.wanted)
		}
		return cell
	}}
}

func each(outcomes []outcome, figure func(outcome) float64) (figures []float64) {
	for _, o := range outcomes {
		figures = append(figures, figure(o))
	}
	return figures
}

// report is the Markdown of all sections that have rows.
func report(r results) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# Load generator beside iperf3\n\n%s\nBoth ends on these cores, over one veth pair of MTU %d with its offloads on.\nMedians; rounds: %d, each load in each: %v. Where a cell has two figures, they are tunnelmark / iperf3.\n",
		r.machine, mtu, r.options.Rounds, r.options.Duration)
	for _, t := range tables {
		if rows := r.in(t.section); len(rows) > 0 {
			t.write(&text, r, rows)
		}
	}
	bench.WriteFailures(&text, r.Failures)
	return text.String()
}

func (t table) write(text *strings.Builder, r results, rows []row) {
	fmt.Fprintf(text, "\n## %s\n\n%s\n\n", t.title, t.about)
	titles := slices.Clone(t.labels)
	for _, c := range t.columns {
		titles = append(titles, c.title)
	}
	var lines [][]string
	for _, row := range rows {
		lines = append(lines, append(slices.Clone(row.label), t.cells(row, r)...))
	}
	bench.WriteTable(text, titles, lines)
}

func (t table) cells(row row, r results) (cells []string) {
	ours, theirs := r.of(row)
	for _, c := range t.columns {
		if len(ours) == 0 {
			cells = append(cells, bench.Missing)
			continue
		}
		cells = append(cells, c.cell(row, ours, theirs))
	}
	return cells
}
