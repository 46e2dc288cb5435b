package iperf

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
)

// Text writes for people: a line for each interval while the load runs, the summary
// of each end and flow, and below it what iperf3's columns leave out.
type Text struct {
	to      io.Writer
	options report.TextOptions
	setup   Setup
}

var _ Writer = (*Text)(nil)

// NewText writes to w.
func NewText(w io.Writer, options report.TextOptions) *Text { return &Text{to: w, options: options} }

// maxFlows is how many flows a summary shows one by one.
const maxFlows = 16

const separator = "- - - - - - - - - - - - - - - - - - - - - - - - -\n"

// The heads of the columns behind "Interval", as wide as iperf3's. A rate names its
// layer, so "Bitrate" became "Goodput".
const (
	headTCP         = "Transfer     Goodput         Retr  Cwnd         RTT"
	headUDP         = "Transfer     Goodput         Total Datagrams  Lost"
	headTCPSummary  = "Transfer     Goodput         Retr"
	headUDPSummary  = "Transfer     Goodput         Jitter    Lost/Total Datagrams"
	betweenRateRole = 18 // Spaces where there is no figure between them.
)

// Start writes who sends to whom and the heads of the interval lines.
func (t *Text) Start(s Setup) error {
	t.setup = s
	var out strings.Builder
	fmt.Fprintf(&out, "Connecting to host %s", report.Clean(s.To))
	if port := s.Remote.Port(); port != 0 {
		fmt.Fprintf(&out, ", port %d", port)
	}
	out.WriteByte('\n')
	if s.Reverse && !s.Bidirectional {
		fmt.Fprintf(&out, "Reverse mode, remote host %s is sending\n", report.Clean(s.To))
	}
	if s.Local.Addr().IsValid() && s.Remote.Addr().IsValid() {
		fmt.Fprintf(&out, "%s local %s connected to %s%s\n", t.liveID(false), place(s.Local), place(s.Remote), s.several())
	}
	head := headTCP
	if s.Protocol == UDP {
		head = headUDP
	}
	t.head(&out, head)
	return t.flush(&out)
}

// place is "10.0.0.1 port 5201", without a port that is not known.
func place(at netip.AddrPort) string {
	if at.Port() == 0 {
		return at.Addr().String()
	}
	return fmt.Sprintf("%s port %d", at.Addr(), at.Port())
}

func (s Setup) several() string {
	switch {
	case s.flows() == 1:
		return ""
	case s.Bidirectional:
		return fmt.Sprintf(", %d flows each way", s.flows())
	}
	return fmt.Sprintf(", %d flows", s.flows())
}

func (t *Text) head(out *strings.Builder, columns string) {
	role := ""
	if t.setup.Bidirectional {
		role = "[Role]"
	}
	fmt.Fprintf(out, "[ ID]%s Interval           %s\n", role, columns)
}

// role marks a direction where there are two.
func (t *Text) role(reverse bool) string {
	switch {
	case !t.setup.Bidirectional:
		return ""
	case reverse:
		return "[RX-C]"
	}
	return "[TX-C]"
}

// liveID is the flow that an interval is about: the one, or the sum of several.
func (t *Text) liveID(reverse bool) string {
	switch {
	case t.setup.flows() > 1:
		return sumID
	case reverse && t.setup.Bidirectional:
		return flowID(2)
	}
	return flowID(1)
}

const sumID = "[SUM]"

func flowID(id int) string { return fmt.Sprintf("[%3d]", id) }

// row begins a line with what all lines have.
func (t *Text) row(id string, reverse bool, start, end time.Duration, bytes uint64, bitsPerSecond float64) string {
	return fmt.Sprintf("%s%s %6.2f-%-6.2f sec  %s  %s", id, t.role(reverse), start.Seconds(), end.Seconds(), formatBytes(float64(bytes)), formatRate(bitsPerSecond))
}

// Interval writes one line at once.
func (t *Text) Interval(i analysis.Interval) error {
	line := t.row(t.liveID(i.Reverse), i.Reverse, i.Start, i.End, i.GoodputBytes, goodputRate(i))
	if t.setup.Protocol == UDP {
		line += fmt.Sprintf("  %-15d  %d (%s)", i.Packets, i.Lost, formatPercent(percent(i.Lost, i.Packets)))
	} else {
		line += fmt.Sprintf("  %3d   %s", i.Retransmits, window(i))
	}
	var out strings.Builder
	end(&out, line)
	return t.flush(&out)
}

// window is what the senders' kernels say of themselves, if they do.
func window(i analysis.Interval) string {
	if i.Cwnd <= 0 {
		return ""
	}
	text := fmt.Sprintf("%-11s", formatBytes(float64(i.Cwnd)))
	if i.RTT > 0 {
		text += fmt.Sprintf("  %.3f ms", milliseconds(i.RTT))
	}
	return text
}

func end(out *strings.Builder, line string) { out.WriteString(strings.TrimRight(line, " ") + "\n") }

// End writes the summary and what else was seen.
func (t *Text) End(r report.Result) error {
	var out strings.Builder
	directions := t.setup.directions(r)
	if len(directions) > 0 {
		out.WriteString(separator)
		t.head(&out, summaryHead(directions[0].protocol))
	}
	for _, d := range directions {
		t.summary(&out, d)
	}
	out.WriteByte('\n')
	if err := report.WriteObservations(&out, r, t.options); err != nil {
		return err
	}
	return t.flush(&out)
}

func summaryHead(p Protocol) string {
	if p == UDP {
		return headUDPSummary
	}
	return headTCPSummary
}

// summary writes both ends of each flow and of all together.
func (t *Text) summary(out *strings.Builder, d direction) {
	if len(d.flows) <= maxFlows {
		for _, f := range d.flows {
			t.ends(out, flowID(f.id), d, f)
		}
	}
	if len(d.flows) != 1 {
		t.ends(out, sumID, d, d.sum)
	}
	if len(d.flows) > maxFlows {
		fmt.Fprintf(out, "%s%s of %d flows; -J tells of each\n", sumID, t.role(d.reverse), len(d.flows))
	}
}

// ends writes what the sender and what the receiver counted.
func (t *Text) ends(out *strings.Builder, id string, d direction, f flow) {
	sender := t.row(id, d.reverse, 0, f.sentFor, f.sent, f.sentRate())
	receiver := t.row(id, d.reverse, 0, f.receivedFor, f.received, f.receivedRate())
	if d.protocol == UDP {
		zero := time.Duration(0)
		end(out, sender+"  "+datagrams(&zero, 0, f.packets)+"  sender")
		end(out, receiver+"  "+datagrams(f.jitter, f.lost, f.packets)+"  receiver")
		return
	}
	end(out, sender+fmt.Sprintf("  %3d%*s", f.retransmits, betweenRateRole-5, "")+"sender")
	end(out, receiver+fmt.Sprintf("%*s", betweenRateRole, "")+"receiver")
}

// datagrams keeps the column of a jitter that is not known.
func datagrams(jitter *time.Duration, lost, packets uint64) string {
	column := "    - ms"
	if jitter != nil {
		column = fmt.Sprintf("%5.3f ms", milliseconds(*jitter))
	}
	return fmt.Sprintf("%s  %d/%d (%s)", column, lost, packets, formatPercent(percent(lost, packets)))
}

// Fail writes nothing: the command says on standard error what went wrong.
func (t *Text) Fail(error) error { return nil }

func (t *Text) flush(out *strings.Builder) error {
	if _, err := io.WriteString(t.to, out.String()); err != nil {
		return fmt.Errorf("write text: %w", err)
	}
	return nil
}
