// Package doctor says what a machine can do for tunnels and their measurement,
// and what is missing: each finding with what it costs and what to do.
//
// The story: an agent examines its own host (examine.go, one file for each topic,
// here_linux.go for what no file tells). The controller asks both ends, compares
// them (pair.go), reckons what their link could carry (carry.go), and prints
// (text.go) or writes JSON (document.go). rules.go says what firewalls must let
// through.
package doctor

import "cmp"

// State says how good or bad a finding is.
type State string

// The states. A Note is worth knowing and costs little here, a Warning costs
// throughput or spoils figures, Missing rules something out.
const (
	OK      State = "ok"
	Note    State = "note"
	Warning State = "warning"
	Missing State = "missing"
)

// Finding is one fact about one machine.
type Finding struct {
	Topic   string `json:"topic"`
	Subject string `json:"subject"`
	State   State  `json:"state"`
	Figure  string `json:"figure"`           // What was found.
	Cost    string `json:"cost,omitempty"`   // What that costs, in words; with numbers where they are known.
	Remedy  string `json:"remedy,omitempty"` // What to do, a command where there is one.
}

// choose is what a condition decides between.
func choose[T any](condition bool, yes, no T) T {
	if condition {
		return yes
	}
	return no
}

// figureOf returns the figure of one finding, "" where there is none.
func figureOf(findings []Finding, topic, subject string) string {
	for _, f := range findings {
		if f.Topic == topic && f.Subject == subject {
			return f.Figure
		}
	}
	return ""
}

// unknown is a finding that could not be made; it claims nothing.
func unknown(subject string) Finding {
	return Finding{Subject: subject, State: Note, Figure: orUnknown("")}
}

// orUnknown names what could not be read.
func orUnknown(figure string) string { return cmp.Or(figure, "not known") }
