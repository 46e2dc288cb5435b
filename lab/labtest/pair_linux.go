package labtest

import (
	"testing"

	"tunnelmark/lab"
)

// Pair returns two sites, "a" and "b", joined by a link of Ethernet's MTU that
// limits nothing. The test closes it at its end.
func Pair(t testing.TB) *lab.Lab {
	t.Helper()
	return Build(t, lab.Topology{
		Name:  "pair",
		Sites: []string{"a", "b"},
		Links: []lab.Link{{Between: [2]string{"a", "b"}}},
	})
}

// Build returns the topology's lab; the test closes it at its end.
func Build(t testing.TB, topology lab.Topology) *lab.Lab {
	t.Helper()
	NeedRoot(t)
	l, err := lab.Build(t.Context(), topology)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	return l
}
