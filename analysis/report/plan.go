package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"tunnelmark/analysis"
)

// Planning holds what was measured against demand.
const Planning Kind = "plan"

// PlanReport is a plan with all that is needed to judge and to repeat it.
//
// plandecision.go says what it asks of whoever signs, plantables.go holds the figures
// that this rests on, as text; plantext.go puts both on a terminal, planhtml.go on a
// page, with what plansizes.go, plandemand.go and plancharts.go add.
type PlanReport struct {
	SchemaVersion int           `json:"schema_version"` // Set by WritePlanJSON, like Kind.
	ToolVersion   string        `json:"tool_version"`
	Kind          Kind          `json:"kind"`
	Written       time.Time     `json:"written"`
	Author        string        `json:"author"` // Who ran it, "user@host".
	Plan          analysis.Plan `json:"plan"`
	// Inputs are every file or query that it is made from.
	Inputs    []Input   `json:"inputs"`
	Reproduce Reproduce `json:"reproduce"`
	// Results are the measurements, today's first: the page shows how that one came
	// about. JSON names them in Inputs.
	Results []Result `json:"-"`
}

// Input is one thing that a plan is made from.
type Input struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"` // In hex.
	What   string `json:"what"`   // "demand", "result".
}

// WritePlanJSON writes the plan, with the decision that it asks for beside it.
func WritePlanJSON(w io.Writer, r PlanReport) error {
	r.SchemaVersion, r.Kind = SchemaVersion, Planning
	document := struct {
		PlanReport
		Decision string `json:"decision"`
	}{r, plain(r.decision().Ask)}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(document); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}
