// Package labtest helps tests that work in network namespaces: it says honestly
// why a test is skipped, and finds what a test has left behind.
package labtest

import (
	"os"
	"testing"
)

// RequireRoot is the environment variable that turns a skip for want of root
// into a failure: CI sets it, so that nothing there skips unseen.
const RequireRoot = "TUNNELMARK_REQUIRE_ROOT"

// NeedRoot skips the test, saying why, unless it runs as root.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	const why = "needs root: it makes network namespaces"
	if os.Getenv(RequireRoot) != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
