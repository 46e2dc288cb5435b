package report

import (
	"bytes"
	"fmt"
	"io"
)

// WritePlanHTML writes the plan as one page that needs no network, no script and no
// font but the reader's.
func WritePlanHTML(w io.Writer, r PlanReport) error {
	var out bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&out, "plan.html", r.decision()); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}
