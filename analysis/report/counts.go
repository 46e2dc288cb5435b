package report

import (
	"cmp"
	"maps"
	"slices"

	"tunnelmark/analysis"
)

// endCounts is what one end's half of the tunnel counted in all trials.
type endCounts struct {
	Site string
	analysis.TunnelCounts
}

// counts are those of both ends, the sender of the first direction first, without an end
// that counted nothing: it may not be able to. Of loads that ran both ways at once the
// halves counted both, so one of the two trials tells all.
func (r Result) counts() []endCounts {
	from, to := endCounts{Site: r.Path.From}, endCounts{Site: r.Path.To}
	add := func(reverse bool, sender, receiver analysis.TunnelCounts) {
		if reverse {
			sender, receiver = receiver, sender
		}
		from.TunnelCounts, to.TunnelCounts = from.Add(sender), to.Add(receiver)
	}
	for _, s := range r.steps() {
		if t := s.Trial; !t.Reverse || !r.bothWays() {
			add(t.Reverse, t.SenderTunnel, t.ReceiverTunnel)
		}
	}
	for _, t := range r.TCP {
		if !t.Reverse || !r.bothWays() {
			add(t.Reverse, t.SenderTunnel, t.ReceiverTunnel)
		}
	}
	return slices.DeleteFunc([]endCounts{from, to}, func(c endCounts) bool { return c.IsZero() })
}

// describe is "a: 1,000 packets out, 20 in; dropped: 3 replayed". It does not say that
// none was dropped, since many drivers do not count drops.
func (c endCounts) describe() string {
	dropped := describeDrops(c.Dropped)
	if dropped != "" {
		dropped = "dropped: " + dropped
	}
	passed := Clean(c.Site) + ": " + formatCount(c.OutPackets) + " packets out, " + formatCount(c.InPackets) + " in"
	return joined("; ", passed, dropped, counted(c.OuterErrors, "errors from the outer network"))
}

// maxReasons bounds what is shown of the reasons that a result names.
const maxReasons = 16

// reasons are those that packets met, the most frequent first.
func reasons(dropped map[string]uint64) []string {
	names := slices.SortedFunc(maps.Keys(dropped), func(a, b string) int {
		return cmp.Or(cmp.Compare(dropped[b], dropped[a]), cmp.Compare(a, b))
	})
	names = slices.DeleteFunc(names, func(name string) bool { return dropped[name] == 0 })
	return names[:min(len(names), maxReasons)]
}

// describeDrops is "12 replayed, 3 with a bad ICV".
func describeDrops(dropped map[string]uint64) string {
	var told []string
	for _, reason := range reasons(dropped) {
		told = append(told, counted(dropped[reason], inWords(reason)))
	}
	return listed(told...)
}

// inWords puts a reason behind a number of packets. One that is not known here comes
// from a newer tunnelmark.
func inWords(reason string) string {
	switch reason {
	case "malformed", "replayed":
		return reason
	case "unknown_spi":
		return "of an unknown SPI"
	case "bad_icv":
		return "with a bad ICV"
	case "wrong_selectors":
		return "outside the selectors"
	case "congested":
		return "with a mark of congestion (CE) that the sender does not know"
	case "send_refused":
		return "refused by the outer socket"
	case "deliver_refused":
		return "refused by the clear side"
	case "out_overrun":
		return "in the clear side’s full queue"
	case "in_overrun":
		return "in the outer socket’s full queue"
	}
	return "for the reason " + Clean(reason)
}

// byReason says what a trial's drops were, where that is known.
func byReason(sender, receiver analysis.TunnelCounts) string {
	if drops := describeDrops(sender.Add(receiver).Dropped); drops != "" {
		return " (" + drops + ")"
	}
	return ""
}

// countTable is what the halves counted, for a page: packets and bytes, and what any of
// them met beside.
func (r Result) countTable() endTable {
	var table endTable
	ends := r.counts()
	add := func(name string, value func(endCounts) string) {
		row := endRow{Name: name}
		for _, e := range ends {
			row.Values = append(row.Values, value(e))
		}
		table.Rows = append(table.Rows, row)
	}
	if len(ends) == 0 {
		return table
	}
	var both analysis.TunnelCounts
	for _, e := range ends {
		table.Sites = append(table.Sites, Clean(e.Site))
		both = both.Add(e.TunnelCounts)
	}
	add("Packets out", func(e endCounts) string { return formatCount(e.OutPackets) })
	add("Inner bytes out", func(e endCounts) string { return formatBytes(float64(e.OutInnerBytes)) })
	add("Packets in", func(e endCounts) string { return formatCount(e.InPackets) })
	add("Inner bytes in", func(e endCounts) string { return formatBytes(float64(e.InInnerBytes)) })
	for _, reason := range reasons(both.Dropped) {
		add("Dropped "+inWords(reason), func(e endCounts) string { return formatCount(e.Dropped[reason]) })
	}
	if both.OuterErrors > 0 {
		add("Errors from the outer network", func(e endCounts) string { return formatCount(e.OuterErrors) })
	}
	return table
}
