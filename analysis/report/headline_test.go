package report

import "testing"

// A clear path on which no load met the goal has no rate, and zero is none.
func TestBaselineNotKnown(t *testing.T) {
	r := Result{Baseline: &Baseline{}}
	if f, ok := r.baselineFact(); !ok || f.Value != "not known" || f.Note != "the clear path" {
		t.Errorf("got %+v, %v", f, ok)
	}
}
