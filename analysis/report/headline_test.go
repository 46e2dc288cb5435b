package report

import "testing"

// A clear path on which no load met the goal has no rate, and zero is none.
func TestBaselineNotKnown(t *testing.T) {
	for _, atLeast := range []bool{false, true} {
		r := Result{Baseline: &Baseline{AtLeast: atLeast}}
		if f, ok := r.baselineFact(); !ok || f.Value != "not known" || f.Note != "the clear path" {
			t.Errorf("at least %v: got %+v, %v", atLeast, f, ok)
		}
	}
}
