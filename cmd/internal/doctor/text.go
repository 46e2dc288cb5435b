package doctor

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"tunnelmark/cmd/internal/unit"
)

// lineWidth is how wide text is where it wraps, in columns.
const lineWidth = 80

// belowState is the indent of what stands below a line that begins with a state.
const belowState = "             "

// WriteText writes for people. Of each end what needs care comes first, then all
// the rest by topic.
func WriteText(w io.Writer, d Document) error {
	var page bytes.Buffer
	for i, report := range d.Ends {
		if i > 0 {
			page.WriteByte('\n')
		}
		writeReport(&page, report)
	}
	if d.Pair != nil {
		writePair(&page, *d.Pair)
	}
	_, err := w.Write(page.Bytes())
	return err
}

func writeReport(page *bytes.Buffer, r Report) {
	fmt.Fprintln(page, heading(r))
	if r.Error != "" {
		wrap(page, "  ", r.Error)
		return
	}
	fmt.Fprintf(page, "%s\n", summary(r.Findings))
	if len(r.Drivers) > 0 {
		fmt.Fprint(page, "\n  drivers\n")
		writeDrivers(page, r.Drivers)
	}
	care, rest := split(r.Findings)
	if len(care) > 0 {
		fmt.Fprint(page, "\n  what needs care\n")
		writeFindings(page, care, true)
	}
	writeTopics(page, rest)
	writeCarries(page, r.Carries)
}

func heading(r Report) string {
	words := []string{r.Name}
	for _, fact := range []struct{ what, is string }{
		{"control", r.Address}, {"tunnels at", r.Outer}, {"tunnelmark-agent", r.Version},
	} {
		if fact.is != "" {
			words = append(words, fact.what+" "+fact.is)
		}
	}
	return strings.Join(words, ", ")
}

// summary counts what is not well.
func summary(findings []Finding) string {
	count := map[State]int{}
	for _, f := range findings {
		count[f.State]++
	}
	return fmt.Sprintf("  %d missing, %d warning, %d note, %d ok", count[Missing], count[Warning], count[Note], count[OK])
}

// split takes out what needs care: what is missing, then warnings.
func split(findings []Finding) (care, rest []Finding) {
	var warnings []Finding
	for _, f := range findings {
		switch f.State {
		case Missing:
			care = append(care, f)
		case Warning:
			warnings = append(warnings, f)
		default:
			rest = append(rest, f)
		}
	}
	return append(care, warnings...), rest
}

// writeDrivers writes those that work in one line, those that were not tried in
// another, and those that do not work by why.
func writeDrivers(page *bytes.Buffer, all []Driver) {
	var working, untried []string
	var reasons []string // In the order in which they come.
	failing := map[string][]string{}
	for _, d := range all {
		reason := withoutCheck(d.Reason)
		switch {
		case d.Supported && !d.Tried:
			untried = append(untried, d.Name)
		case d.Supported:
			working = append(working, d.Name)
		case failing[reason] == nil:
			reasons = append(reasons, reason)
			fallthrough
		default:
			failing[reason] = append(failing[reason], d.Name)
		}
	}
	if len(working) > 0 {
		page.WriteString("    yes      ")
		wrapFrom(page, belowState, strings.Join(working, ", "))
	}
	if len(untried) > 0 {
		page.WriteString("    untried  ")
		wrapFrom(page, belowState, strings.Join(untried, ", "))
		wrap(page, belowState, "why: the kernel may load modules for them; see those below, or ask with --try")
	}
	for _, reason := range reasons {
		page.WriteString("    no       ")
		wrapFrom(page, belowState, strings.Join(failing[reason], ", "))
		wrap(page, belowState, "why: "+reason)
	}
}

// withoutCheck takes off which driver was asked: "check xfrm tunnel: " and so on.
func withoutCheck(reason string) string {
	if first, rest, found := strings.Cut(reason, ": "); found && strings.HasPrefix(first, "check ") {
		return rest
	}
	return reason
}

// writeTopics writes the findings of one topic after those of another.
func writeTopics(page *bytes.Buffer, findings []Finding) {
	for len(findings) > 0 {
		n := 1
		for n < len(findings) && findings[n].Topic == findings[0].Topic {
			n++
		}
		fmt.Fprintf(page, "\n  %s\n", findings[0].Topic)
		writeFindings(page, findings[:n], false)
		findings = findings[n:]
	}
}

// writeFindings writes a table: state, subject, figure; below them cost and remedy.
func writeFindings(page *bytes.Buffer, findings []Finding, withTopic bool) {
	subject := func(f Finding) string { return choose(withTopic, f.Topic+": "+f.Subject, f.Subject) }
	width := 0
	for _, f := range findings {
		width = max(width, len(subject(f)))
	}
	for _, f := range findings {
		fmt.Fprintf(page, "    %-7s  %-*s  ", f.State, width, subject(f))
		wrapFrom(page, belowState+strings.Repeat(" ", width+2), f.Figure)
		if f.Cost != "" {
			wrap(page, belowState, "costs: "+f.Cost)
		}
		if f.Remedy != "" {
			fmt.Fprintf(page, "%sto do: %s\n", belowState, f.Remedy) // In one line: there are commands in it.
		}
	}
}

func writePair(page *bytes.Buffer, p Pair) {
	fmt.Fprintf(page, "\n%s and %s\n", p.Ends[0], p.Ends[1])
	care, rest := split(p.Findings)
	writeFindings(page, append(care, rest...), false)
	writeCarries(page, p.Carries)
}

// writeCarries writes what the link could carry at most.
func writeCarries(page *bytes.Buffer, all []Carry) {
	if len(all) == 0 {
		return
	}
	first := all[0]
	link := "a link whose rate is not known"
	if first.WireBitsPerSecond > 0 {
		link = "a link of " + unit.FormatBitRate(first.WireBitsPerSecond) + " on the wire"
	}
	fmt.Fprintf(page, "\n  at most, by %s and a path MTU of %d bytes\n", link, first.PathMTU)
	for _, c := range all {
		line := fmt.Sprintf("    inner packets to %d bytes", c.InnerMTU)
		if c.InnerBitsPerSecond > 0 {
			line += fmt.Sprintf(", %s inner, %s UDP goodput", unit.FormatBitRate(c.InnerBitsPerSecond), unit.FormatBitRate(c.GoodputBitsPerSecond))
		}
		fmt.Fprintln(page, line)
		wrap(page, "      ", strings.Join(c.Drivers, ", ")+with(c))
	}
}

// with names what was chosen where nothing was asked for.
func with(c Carry) string {
	var words []string
	for _, word := range []string{c.Suite, c.Encapsulation} {
		if word != "" {
			words = append(words, word)
		}
	}
	return choose(len(words) > 0, " ("+strings.Join(words, ", ")+")", "")
}

// WriteRules writes what firewalls must let in, at one end after the other.
func WriteRules(w io.Writer, rules []Rule) error {
	var page bytes.Buffer
	end := ""
	for _, r := range rules {
		if r.End != end {
			end = r.End
			fmt.Fprintf(&page, "%sto let in at %s\n", choose(page.Len() > 0, "\n", ""), end)
		}
		wrap(&page, "  ", r.About)
		fmt.Fprintf(&page, "    %s\n    %s\n", r.IPTables, r.NFTables)
	}
	fmt.Fprint(&page, `
Of each rule one of the two commands is enough, in the chain that your firewall has for it.
What one end lets in, the other's side lets out; security groups of a cloud count as firewalls too.
`)
	_, err := w.Write(page.Bytes())
	return err
}

// wrap writes text in lines that begin with an indent.
func wrap(page *bytes.Buffer, indent, text string) {
	page.WriteString(indent)
	wrapFrom(page, indent, text)
}

// wrapFrom is wrap where the first line has begun. A word that is longer than a
// line stays whole.
func wrapFrom(page *bytes.Buffer, indent, text string) {
	column := len(indent)
	for i, word := range strings.Fields(cmp.Or(text, "-")) {
		switch {
		case i == 0:
		case column+1+len(word) > lineWidth:
			page.WriteString("\n" + indent)
			column = len(indent)
		default:
			page.WriteByte(' ')
			column++
		}
		page.WriteString(word)
		column += len(word)
	}
	page.WriteByte('\n')
}
