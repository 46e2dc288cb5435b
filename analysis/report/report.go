// Package report keeps the result of a measurement as versioned JSON and writes
// it for people: as text for a terminal and as one HTML file that opens
// without network.
//
// It starts with the Result below. json.go writes and reads it, headline.go
// says what a reader must see first, tunnel.go what was measured, text.go and
// html.go put it on a terminal and on a page. All that people read goes through
// number.go. observations.go, tcp.go, latency.go, pathmtu.go and counts.go each tell of
// one thing that was seen beside rate and loss. plan.go and the files named after it do
// all of that for a plan. What comes out of a Result may have been said by a remote agent, so
// every string in it is treated as hostile.
package report

import (
	"math"
	"time"

	"tunnelmark/analysis"
)

// SchemaVersion is the version of the JSON that this package writes. A change
// that an older reader would misunderstand raises it; a new key does not.
const SchemaVersion = 1

// Kind says what was asked for.
type Kind string

// Find looks for a ceiling, Run offers fixed loads, PathMTU finds the largest
// packets that pass.
const (
	Find    Kind = "find"
	Run     Kind = "run"
	PathMTU Kind = "pmtu"
)

// Result is one measurement with all that is needed to judge and to repeat it.
// Its keys carry unit and layer.
type Result struct {
	// SchemaVersion is set by WriteJSON.
	SchemaVersion int    `json:"schema_version"`
	ToolVersion   string `json:"tool_version"`
	Kind          Kind   `json:"kind"`

	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Duration is by the monotonic clock, which a correction of the time of day
	// does not touch.
	Duration time.Duration `json:"duration_ns"`

	Scenario string `json:"scenario,omitempty"` // Its name, in the lab.
	Path     Path   `json:"path"`
	// Evidence is about the path through a tunnel that was there before, one for
	// each end; empty for a tunnel that was built for the measurement.
	Evidence []Evidence `json:"evidence,omitempty"`
	Tunnel   Tunnel     `json:"tunnel"`
	Size     Size       `json:"size"`

	// Ceiling is of kind Find, and so is Verdict, but where rates show whether a path
	// cuts packets up.
	Ceiling *analysis.Ceiling `json:"ceiling,omitempty"`
	Verdict *analysis.Verdict `json:"verdict,omitempty"`
	// Trials are the fixed loads of kind Run, TCP those of TCP; those of a search
	// are its steps.
	Trials []analysis.Trial    `json:"trials,omitempty"`
	TCP    []analysis.TCPTrial `json:"tcp_trials,omitempty"`

	// Latencies are the round trips beside loads of several heights. Optional.
	Latencies []analysis.Latency `json:"latency_under_load,omitempty"`
	PathMTU   *PathMTUs          `json:"path_mtu,omitempty"`

	Baseline *Baseline `json:"baseline,omitempty"`
	// Truth is what a lab scenario knows beforehand.
	Truth       *Truth    `json:"truth,omitempty"`
	Environment []End     `json:"environment"` // The sender first.
	Reproduce   Reproduce `json:"reproduce"`
	// Notes are warnings, one sentence each.
	Notes []string `json:"notes,omitempty"`
}

// Path names the two sites; load flows from From to To.
type Path struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Size is the length, in bytes, of each IP packet before and in the tunnel.
type Size struct {
	Inner int `json:"inner_bytes"`
	Outer int `json:"outer_bytes"` // Zero where what the tunnel adds is not known.
}

// Baseline is the same path without the tunnel, where a packet has no outer
// header: its one rate is held against the tunnel's inner rate.
type Baseline struct {
	InnerBitsPerSecond float64 `json:"inner_bits_per_second"`
	// AtLeast says that no load failed: the path carries this much or more.
	AtLeast bool `json:"at_least,omitempty"`
	// Trial is the one that the rate was read from. Optional.
	Trial *analysis.Trial `json:"trial,omitempty"`
}

// End is the environment of one end. What is not known is left empty.
type End struct {
	Site         string `json:"site"`
	AgentVersion string `json:"agent_version"`
	Hostname     string `json:"hostname,omitempty"`
	Kernel       string `json:"kernel"`
	CPU          string `json:"cpu_model"`
	Cores        int    `json:"cores"`
	Memory       uint64 `json:"memory_bytes"`
	GoVersion    string `json:"go_version"`
	Driver       string `json:"driver"` // What built this half, for instance "esp, user space".
	// Details are what the driver told of this half.
	Details []Detail `json:"details,omitempty"`
}

// Reproduce is how to run the measurement again.
type Reproduce struct {
	CommandLine string `json:"command_line"`
	Scenario    string `json:"scenario_yaml,omitempty"` // The scenario file's text.
	// InputsSHA256 is over all inputs, in hex: equal hash, equal question.
	InputsSHA256 string `json:"inputs_sha256,omitempty"`
}

// Expected is the truth that a scenario states. What is zero is not compared; of
// the two rates it states one.
type Expected struct {
	InnerBitsPerSecond float64        `json:"inner_bits_per_second,omitempty"`
	OuterBitsPerSecond float64        `json:"outer_bits_per_second,omitempty"`
	Tolerance          float64        `json:"tolerance_ratio,omitempty"`
	Cause              analysis.Cause `json:"cause,omitempty"`
}

// Truth holds a result against what a scenario expected.
type Truth struct {
	Expected Expected `json:"expected"`
	// Difference is measured over expected rate, less one.
	Difference float64 `json:"difference_ratio"`
	RateMet    bool    `json:"rate_met"`
	CauseMet   bool    `json:"cause_met"`
	Met        bool    `json:"met"` // Both.
	// Devices are the lab's own counters: what really was limited.
	Devices []Device `json:"devices,omitempty"`
}

// Device is one direction of a device in the lab: how it was set, and what it
// counted while the search ran. Bytes are of outer IP packets.
type Device struct {
	Link               string  `json:"link"`   // "a-b".
	Toward             string  `json:"toward"` // The site that its packets flow to.
	Kind               string  `json:"kind"`   // "policer".
	OuterBitsPerSecond float64 `json:"outer_bits_per_second,omitempty"`
	PacketsPerSecond   float64 `json:"packets_per_second,omitempty"`
	BurstOuterBytes    float64 `json:"burst_outer_bytes,omitempty"`
	PassedPackets      uint64  `json:"passed_packets"`
	PassedOuterBytes   uint64  `json:"passed_outer_bytes"`
	DroppedPackets     uint64  `json:"dropped_packets"`
	DroppedOuterBytes  uint64  `json:"dropped_outer_bytes"`
}

// Compare holds a ceiling and its cause against what was expected. A ceiling
// without an upper bound meets no expected rate: no limit was seen.
func Compare(expected Expected, ceiling analysis.Ceiling, cause analysis.Cause) Truth {
	truth := Truth{Expected: expected, RateMet: true, CauseMet: true}
	got, want := ceiling.OuterBitsPerSecond(), expected.OuterBitsPerSecond
	if expected.InnerBitsPerSecond > 0 {
		got, want = ceiling.InnerBitsPerSecond, expected.InnerBitsPerSecond
	}
	if want > 0 {
		truth.Difference = got/want - 1
		truth.RateMet = math.Abs(truth.Difference) <= expected.Tolerance && ceiling.InnerUpperBitsPerSecond > 0
	}
	if expected.Cause != "" {
		truth.CauseMet = cause == expected.Cause
	}
	truth.Met = truth.RateMet && truth.CauseMet
	return truth
}

// isBurst says that a trial is too short for its rate to mean anything.
func isBurst(s analysis.Step) bool {
	return s.Purpose == analysis.Burst
}

// steps are all trials with what each was for, in the order in which they ran.
func (r Result) steps() []analysis.Step {
	var steps []analysis.Step
	if r.Ceiling != nil {
		steps = append(steps, r.Ceiling.Steps...)
	}
	for _, trial := range r.Trials {
		steps = append(steps, analysis.Step{Purpose: analysis.Fixed, Trial: trial})
	}
	return steps
}
