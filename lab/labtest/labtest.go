// Package labtest helps tests that work in network namespaces: it says honestly
// why a test is skipped, and finds what a test has left behind.
package labtest

import (
	"os"
	"os/exec"
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
	skip(t, "needs root: it makes network namespaces")
}

// NeedProgram skips the test, saying why, unless the program is in PATH.
func NeedProgram(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		skip(t, "needs "+name+"; make test installs it")
	}
}

// skip fails instead where nothing may be skipped. No other test may skip in
// another way: scripts/house_test.go looks.
func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(RequireRoot) != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
