package endtoend

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tunnelmark/analysis"
	"tunnelmark/analysis/report"
	"tunnelmark/lab/labtest"
)

// Killed at any moment, the agents leave nothing: the session's namespace, the
// tunnel in it, their sites, all go with them.
func TestKilledAgentsLeaveNothing(t *testing.T) {
	labtest.CheckLeaks(t)
	p := start(t, "lab", "run", "srx-350", "--no-baseline")
	for _, pid := range p.untilLoaded(t) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if code := p.wait(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !strings.Contains(p.stderr.String(), "died: signal: killed") {
		t.Errorf("it says %q, want why it failed", p.stderr)
	}
}

// One agent's death is told, and ends the other.
func TestOneAgentDies(t *testing.T) {
	labtest.CheckLeaks(t)
	p := start(t, "lab", "run", "srx-350", "--no-baseline")
	if err := syscall.Kill(p.untilLoaded(t)[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !strings.Contains(p.stderr.String(), "the agent of b died: signal: killed") {
		t.Errorf("it says %q, want which agent died", p.stderr)
	}
}

// The lab's own death ends its agents and removes all that it made.
func TestKilledLabLeavesNothing(t *testing.T) {
	labtest.CheckLeaks(t)
	p := start(t, "lab", "run", "srx-350", "--no-baseline")
	p.untilLoaded(t)
	if err := p.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
}

func TestInterrupted(t *testing.T) {
	labtest.CheckLeaks(t)
	p := start(t, "lab", "run", "srx-350", "--no-baseline")
	p.untilLoaded(t)
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !strings.Contains(p.stderr.String(), "interrupted") {
		t.Errorf("it says %q, want that it was interrupted", p.stderr)
	}
}

// A truth that is wrong on purpose is not met: the comparison can fail, and the
// search does not see the truth.
func TestWrongTruth(t *testing.T) {
	labtest.CheckLeaks(t)
	const scenario = `version: 1
name: wrong
sites: [a, b]
links:
  - between: [a, b]
    device: {kind: policer, rate: %s, burst: 64KiB}
truth: {outer: 60Mbps, cause: policer}
`
	path := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, scenario, "40Mbps"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "lab", "run", path, "--no-baseline", "--no-latency", "--json")
	if code := p.wait(t); code != 3 {
		t.Errorf("exit code %d, want 3; it says %s", code, p.stderr)
	}
	result, err := report.Read(strings.NewReader(p.stdout.String()))
	if err != nil {
		t.Fatal(err)
	}
	if result.Truth == nil || result.Truth.RateMet || !result.Truth.CauseMet && result.Verdict.Cause == analysis.Policer {
		t.Errorf("truth = %+v, want that the rate was not met", result.Truth)
	}
}
