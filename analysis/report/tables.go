package report

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"tunnelmark/analysis"
)

// trialTable has one scale for all its rates, so that a column can be read
// downwards.
type trialTable struct {
	Unit string
	Rows []trialRow
}

type trialRow struct {
	Number                                   int
	Purpose, Offered, Sent, Inner, Outer     string
	Loss, Duration, Skipped, Growth, Remarks string
	Valid                                    bool
}

func newTrialTable(steps []analysis.Step) trialTable {
	most := 0.0
	for _, s := range steps {
		if !isBurst(s) {
			most = max(most, s.Trial.Load.InnerBitsPerSecond, s.Trial.Outer(s.Trial.InnerReceivedBitsPerSecond()))
		}
	}
	unit := scaleFor(most, bitRates)
	table := trialTable{Unit: unit.name}
	for i, s := range steps {
		table.Rows = append(table.Rows, newTrialRow(i+1, s, unit, most))
	}
	return table
}

func newTrialRow(number int, s analysis.Step, unit scale, most float64) trialRow {
	t := s.Trial
	row := trialRow{
		Number: number, Purpose: Clean(string(s.Purpose)), Loss: formatShare(t.LossRatio()), Valid: isBurst(s) || t.Valid(),
		Duration: formatDuration(t.Elapsed), Skipped: formatDuration(t.Skipped), Growth: none, Remarks: remarks(s),
		Sent: none, Inner: none, Outer: none,
	}
	if growth, ok := t.DelayGrowth(); ok {
		row.Growth = formatDuration(growth)
	}
	column := func(rate float64) string {
		decimals := max(0, 3-int(math.Floor(math.Log10(math.Max(1, most/unit.size)))))
		return group(strconv.FormatFloat(rate/unit.size, 'f', decimals, 64))
	}
	received := t.InnerReceivedBitsPerSecond()
	row.Offered, row.Sent = column(t.Load.InnerBitsPerSecond), column(t.InnerSentBitsPerSecond())
	row.Inner = column(received)
	if t.OuterSize > 0 {
		row.Outer = column(t.Outer(received))
	}
	return row
}

// layerRow is the headline in one layer.
type layerRow struct{ Name, Counts, Bytes, Overhead, Rate string }

// wireOverhead is what Ethernet adds to an IP packet: 14 B header, 4 B check
// sequence, 8 B preamble, 12 B gap (IEEE 802.3).
const wireOverhead = 14 + 4 + 8 + 12

// layers puts one packet, and the headline's inner rate, in each layer.
func layers(size Size, inner float64) []layerRow {
	row := func(name, counts string, bytes int) layerRow {
		l := layerRow{Name: name, Counts: counts, Bytes: formatCount(bytes), Overhead: none, Rate: none}
		if size.Inner <= 0 {
			return l
		}
		ratio := float64(bytes) / float64(size.Inner)
		if bytes != size.Inner {
			l.Overhead = formatShare(ratio - 1)
		}
		if inner > 0 {
			l.Rate = formatRate(inner * ratio)
		}
		return l
	}
	switch {
	case size.Inner == 0: // Of TCP, whose packets have many sizes.
		return nil
	case size.Outer == 0:
		return []layerRow{row("inner", "IP packets that enter the tunnel; what it adds to them is not known", size.Inner)}
	}
	return []layerRow{
		row("inner", "IP packets that enter the tunnel", size.Inner),
		row("outer", "IP packets that leave it, all headers included", size.Outer),
		row("wire", "outer packets in Ethernet frames, preamble and gap included", size.Outer+wireOverhead),
	}
}

// endTable has a column for each end.
type endTable struct {
	Sites []string
	Rows  []endRow
}

type endRow struct {
	Name   string
	Values []string
}

func newEndTable(ends []End) endTable {
	var table endTable
	add := func(name string, value func(End) string) {
		row, known := endRow{Name: name}, false
		for _, e := range ends {
			text := value(e)
			if known = known || text != ""; text == "" {
				text = none
			}
			row.Values = append(row.Values, text)
		}
		if known {
			table.Rows = append(table.Rows, row)
		}
	}
	for _, e := range ends {
		table.Sites = append(table.Sites, Clean(e.Site))
	}
	add("Host", func(e End) string { return Clean(e.Hostname) })
	add("Kernel", func(e End) string { return Clean(e.Kernel) })
	add("CPU", func(e End) string { return Clean(e.CPU) })
	add("Cores", End.cores)
	add("Memory", End.memory)
	add("Tunnel driver", func(e End) string { return Clean(e.Driver) })
	for _, name := range detailNames(ends) {
		add(Clean(name), func(e End) string { return e.detail(name) })
	}
	add("Agent", func(e End) string { return Clean(e.AgentVersion) })
	add("Go", func(e End) string { return Clean(e.GoVersion) })
	return table
}

// maxDetailRows bounds what a page shows of what drivers tell.
const maxDetailRows = 32

// detailNames are all that the drivers told of, in their order, each once.
func detailNames(ends []End) []string {
	var names []string
	for _, e := range ends {
		for _, d := range e.Details {
			if len(names) < maxDetailRows && !slices.Contains(names, d.Name) {
				names = append(names, d.Name)
			}
		}
	}
	return names
}

// detail is all that this end's driver told under one name.
func (e End) detail(name string) string {
	var values []string
	for _, d := range e.Details {
		if d.Name == name {
			values = append(values, Clean(d.Value))
		}
	}
	return strings.Join(values, "; ")
}
