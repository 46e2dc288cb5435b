package main

import (
	"fmt"
	"slices"
	"strings"

	"tunnelmark/scripts/internal/bench"
	"tunnelmark/tunnel"
)

// column is one figure of a job.
type column struct {
	title string
	cell  func(r results, j job) string
}

// figure is what a column shows of an outcome.
type figure func(outcome) float64

var (
	tcpColumns = slices.Concat(
		ratios("goodput", outcome.goodputBitsPerSecond),
		[]column{medians("goodput bit/s", bench.Quantity, outcome.goodputBitsPerSecond)},
		cores)
	udpColumns = slices.Concat(
		ratios("packets received", outcome.packetsPerSecond),
		[]column{
			medians("packets/s received", bench.Quantity, outcome.packetsPerSecond),
			medians("inner bit/s received", bench.Quantity, outcome.innerBitsPerSecond),
			medians("lost", bench.Percent, outcome.lossRatio),
		},
		cores)
	cores = []column{
		{"all cores per Gbit/s and end", func(r results, j job) string {
			cell := bench.Thousandths(r.median(j, outcome.coresPerGbit))
			if most := targets[j].coresPerGbit; most > 0 {
				cell += fmt.Sprintf(", wanted at most %g", most)
			}
			return cell
		}},
		medians("data plane's cores per Gbit/s, sender / receiver", bench.Thousandths, outcome.senderCoresPerGbit, outcome.receiverCoresPerGbit),
		medians("rest, cores", bench.Hundredths, outcome.restCores),
	}
)

// ratios are the medians of the rounds' ratios to each of the others, with the least
// and the greatest, and what is wanted.
func ratios(of string, f figure) []column {
	return []column{
		{of + ", ratio to wireguard-go", func(r results, j job) string { return r.ratio(j, wireguardGoName, f, targets[j].wireguardGo) }},
		{"to strongSwan", func(r results, j job) string { return r.ratio(j, strongSwanName, f, targets[j].strongSwan) }},
		{"to NULL/NULL", func(r results, j job) string { return r.ratio(j, espName(tunnel.NullNull), f, targets[j].nullNull) }},
	}
}

func (r results) ratio(j job, to string, f figure, wanted float64) string {
	ratios := r.ratios(j, job{Plane: to, Load: j.Load}, f)
	if j.Plane == to || len(ratios) == 0 {
		return bench.Missing
	}
	cell := fmt.Sprintf("**%.2f** (%.2f to %.2f)", bench.Median(ratios), slices.Min(ratios), slices.Max(ratios))
	if wanted > 0 {
		cell += fmt.Sprintf(", wanted %g", wanted)
	}
	return cell
}

// medians are those of one or more figures.
func medians(title string, format func(float64) string, figures ...figure) column {
	return column{title, func(r results, j job) string {
		var cells []string
		for _, f := range figures {
			cells = append(cells, format(r.median(j, f)))
		}
		return strings.Join(cells, " / ")
	}}
}

func (r results) median(j job, f figure) float64 {
	var figures []float64
	for _, round := range r.Outcomes {
		if o, ok := round[j]; ok {
			figures = append(figures, f(o))
		}
	}
	return bench.Median(figures)
}

// ratios are those within each round in which neither failed.
func (r results) ratios(j, to job, f figure) (ratios []float64) {
	for _, round := range r.Outcomes {
		own, ok := round[j]
		other, okToo := round[to]
		if ok && okToo {
			ratios = append(ratios, f(own)/f(other))
		}
	}
	return ratios
}

const about = `Both ends and iperf3 on these cores, each end of a tunnel a process of its own, over a veth pair of MTU %d with its offloads on.
Inner MTU %d, of strongSwan %d, which takes no more. The load is iperf3's, the same for all: TCP with ` + "`-C cubic -P FLOWS`, UDP with `-u -b 0 -l SIZE-28`" + `.
Medians, and of ratios the least and the greatest; rounds: %d, each load over each data plane in each: %v. CPU time is per Gbit/s of TCP's goodput
or of UDP's inner packets received: of all cores, whatever they did, halved for there are two ends; and of the data plane's own processes.
The rest is what the cores did beside the data plane and iperf3: the kernel by itself, and other programs, whose work makes a round doubtful.
`

// report is the Markdown of all loads.
func report(r results) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# Data planes in user space\n\n%s\n", r.machine)
	fmt.Fprintf(&text, about, outerMTU, innerMTU, strongSwanMTU, r.options.Rounds, r.options.Duration)
	r.writePlanes(&text)
	for _, l := range r.plan.loads {
		r.writeLoad(&text, l)
	}
	bench.WriteFailures(&text, r.Failures)
	return text.String()
}

// writePlanes says how data planes were built, and which are missing.
func (r results) writePlanes(text *strings.Builder) {
	var lines []string
	for _, p := range r.plan.planes {
		var facts []string
		for _, d := range r.details[p.name] {
			facts = append(facts, d.Name+" "+d.Value)
		}
		if len(facts) > 0 {
			lines = append(lines, fmt.Sprintf("%s: %s", p.name, strings.Join(facts, ", ")))
		}
	}
	for _, missing := range r.missing {
		lines = append(lines, "not measured: "+missing)
	}
	if len(lines) > 0 {
		fmt.Fprintf(text, "\n- %s\n", strings.Join(lines, "\n- "))
	}
}

func (r results) writeLoad(text *strings.Builder, l load) {
	title, columns := fmt.Sprintf("UDP, %d B", l.InnerSize), udpColumns
	if l.isTCP() {
		title, columns = fmt.Sprintf("TCP with CUBIC, flows: %d", l.Flows), tcpColumns
	}
	titles := []string{"data plane"}
	for _, c := range columns {
		titles = append(titles, c.title)
	}
	var rows [][]string
	for _, p := range r.plan.planes {
		if row := r.row(job{Plane: p.name, Load: l}, columns); row != nil {
			rows = append(rows, row)
		}
	}
	fmt.Fprintf(text, "\n## %s\n\n", title)
	bench.WriteTable(text, titles, rows)
}

// row is nil of what no round has.
func (r results) row(j job, columns []column) []string {
	if !slices.ContainsFunc(r.Outcomes, func(round map[job]outcome) bool { _, ok := round[j]; return ok }) {
		return nil
	}
	row := []string{j.Plane}
	for _, c := range columns {
		row = append(row, c.cell(r, j))
	}
	return row
}
