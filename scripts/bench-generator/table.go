package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
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
			both("packets/s received", outcome.packetsPerSecond, quantity),
			both("inner bit/s received", outcome.innerBitsPerSecond, quantity),
			both("lost", outcome.lossRatio, percent),
			both("sender, ns/packet", outcome.senderNanoseconds, whole),
			both("receiver, ns/packet", outcome.receiverNanoseconds, whole),
			both("all cores, ns/packet", outcome.hostNanoseconds, whole),
		},
	},
	{
		section: sectionTCP,
		title:   "TCP with CUBIC",
		about:   "iperf3 is `-C cubic -P FLOWS`. CPU time is per 1000 bytes of goodput.",
		labels:  []string{"flows"},
		columns: []column{
			ratio("goodput, ratio", outcome.goodputBitsPerSecond),
			both("goodput bit/s", outcome.goodputBitsPerSecond, quantity),
			both("sender, ns/kB", outcome.senderNanosecondsPerKB, decimal),
			both("receiver, ns/kB", outcome.receiverNanosecondsPerKB, decimal),
			both("all cores, ns/kB", outcome.hostNanosecondsPerKB, decimal),
		},
	},
	{
		section: sectionPacing,
		title:   "Pacing",
		about: "Rates are of inner packets; 80% is of what the same round carried from GSO to GRO. The error is of the mean rate over the sender's time on the CPU, which iperf3\n" +
			"does not tell apart. Windows are of 100 ms, even when within 1 % of the mean or within two bursts of it; of iperf3, two datagrams.",
		labels: []string{"inner size", "rate"},
		columns: []column{
			both("rate error, ppm", outcome.rateErrorPPM, whole),
			both("even windows", outcome.evenWindows, percent),
			own("burst, packets", outcome.burstPackets, whole),
			own("off the CPU", outcome.offCPU, percent),
			both("lost", outcome.lossRatio, percent),
			both("sender, cores", outcome.senderCores, hundredths),
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
		return format(median(each(ours, figure)))
	}}
}

// both are the medians of tunnelmark and iperf3.
func both(title string, figure func(outcome) float64, format func(float64) string) column {
	return column{title: title, cell: func(_ row, ours, theirs []outcome) string {
		return format(median(each(ours, figure))) + " / " + format(median(each(theirs, figure)))
	}}
}

// ratio is the median of the rounds' ratios, with the least and the greatest, and
// what is wanted of it.
func ratio(title string, figure func(outcome) float64) column {
	return column{title: title + " (least to greatest)", cell: func(row row, ours, theirs []outcome) string {
		ratios := quotients(each(ours, figure), each(theirs, figure))
		cell := fmt.Sprintf("**%.2f** (%.2f to %.2f)", median(ratios), slices.Min(ratios), slices.Max(ratios))
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
		r.machine, mtu, r.options.rounds, r.options.duration)
	for _, t := range tables {
		if rows := r.in(t.section); len(rows) > 0 {
			t.write(&text, r, rows)
		}
	}
	if len(r.failures) > 0 {
		fmt.Fprintf(&text, "\n## Failed\n\n")
	}
	for _, failure := range r.failures {
		fmt.Fprintf(&text, "- %s\n", strings.ReplaceAll(failure, "\n", " "))
	}
	return text.String()
}

func (t table) write(text *strings.Builder, r results, rows []row) {
	fmt.Fprintf(text, "\n## %s\n\n%s\n\n", t.title, t.about)
	titles := slices.Clone(t.labels)
	for _, c := range t.columns {
		titles = append(titles, c.title)
	}
	writeLine(text, titles)
	writeLine(text, slices.Repeat([]string{"---"}, len(titles)))
	for _, row := range rows {
		writeLine(text, append(slices.Clone(row.label), t.cells(row, r)...))
	}
}

func (t table) cells(row row, r results) (cells []string) {
	ours, theirs := r.of(row)
	for _, c := range t.columns {
		if len(ours) == 0 {
			cells = append(cells, missing)
			continue
		}
		cells = append(cells, c.cell(row, ours, theirs))
	}
	return cells
}

func writeLine(text *strings.Builder, cells []string) {
	fmt.Fprintf(text, "| %s |\n", strings.Join(cells, " | "))
}

// median is the middle one of the figures, or the mean of both middle ones.
func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quotients divides figures of the same round.
func quotients(ours, theirs []float64) []float64 {
	q := make([]float64, len(ours))
	for i := range ours {
		q[i] = ours[i] / theirs[i]
	}
	return q
}

// missing stands for a figure that could not be had.
const missing = "–"

// quantity writes three digits and the prefix of the unit that follows.
func quantity(v float64) string {
	if !finite(v) {
		return missing + " "
	}
	for _, step := range []struct {
		from   float64
		prefix string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= 0.9995*step.from {
			return digits(v/step.from) + " " + step.prefix
		}
	}
	return digits(v) + " "
}

// digits writes three of them, without an exponent.
func digits(v float64) string {
	decimals := 2
	for limit := 9.995; math.Abs(v) >= limit && decimals > 0; limit *= 10 {
		decimals--
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

func percent(v float64) string { return formatted("%.2f %%", 100*v) }

func whole(v float64) string { return formatted("%.0f", v) }

func decimal(v float64) string { return formatted("%.1f", v) }

func hundredths(v float64) string { return formatted("%.2f", v) }

func formatted(layout string, v float64) string {
	if !finite(v) {
		return missing
	}
	return fmt.Sprintf(layout, v)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
