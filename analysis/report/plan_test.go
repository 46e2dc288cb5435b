package report

import (
	"bytes"
	"io"
	"testing"
)

func planOutput(t *testing.T, write func(io.Writer, PlanReport) error, r PlanReport) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out, r); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func plainPlanText(w io.Writer, r PlanReport) error { return WritePlanText(w, r, TextOptions{}) }

func TestWritePlanHTMLIsSound(t *testing.T) {
	for _, f := range planFixtures {
		t.Run(f.name, func(t *testing.T) {
			if err := sound(planOutput(t, WritePlanHTML, f.report())); err != nil {
				t.Error(err)
			}
		})
	}
}
