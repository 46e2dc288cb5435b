package doctor

import (
	"encoding/json"
	"fmt"
	"io"

	"tunnelmark/cmd/internal/kind"
)

// SchemaVersion is that of Document in JSON. It grows when a reader could be
// misled by what an older one took for granted.
const SchemaVersion = 1

// Document is what the doctor says: of each end, and of two as a pair.
type Document struct {
	SchemaVersion int      `json:"schema_version"`
	Ends          []Report `json:"ends"`
	Pair          *Pair    `json:"pair,omitempty"`
	Rules         []Rule   `json:"rules,omitempty"`
}

// Report is of one end.
type Report struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"` // Of its control.
	// Error says why the end could not be asked; then there is nothing else.
	Error     string    `json:"error,omitempty"`
	Version   string    `json:"version,omitempty"` // Of tunnelmark there.
	Outer     string    `json:"outer_address,omitempty"`
	FirstPort uint16    `json:"first_port,omitempty"` // Of UDP, for tunnels, and
	LastPort  uint16    `json:"last_port,omitempty"`  // the last one.
	Drivers   []Driver  `json:"drivers,omitempty"`
	Findings  []Finding `json:"findings,omitempty"`
	// Carries is what this end's own link could carry; a pair has one of its own.
	Carries []Carry `json:"carries,omitempty"`
	Asked   Asked   `json:"-"`
}

// Driver is one kind of tunnel at one end.
type Driver struct {
	Name      string `json:"name"`
	Supported bool   `json:"supported"` // It works, or was not tried.
	Tried     bool   `json:"tried"`
	Reason    string `json:"reason,omitempty"` // Why it is not.
}

// Drivers lists those that are tried on a machine: of the kernel's only if asked.
func Drivers(tryKernel bool) []string {
	if tryKernel {
		return kind.Names()
	}
	return kind.Harmless()
}

// WriteJSON writes one document.
func WriteJSON(w io.Writer, d Document) error {
	d.SchemaVersion = SchemaVersion
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(d); err != nil {
		return fmt.Errorf("write the doctor's findings: %w", err)
	}
	return nil
}
