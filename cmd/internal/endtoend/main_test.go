package endtoend

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs is the folder that holds the programs under test.
var programs string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// prebuilt names the folder of programs where no compiler is, as in the kernel
// tests' guest.
const prebuilt = "TUNNELMARK_PROGRAMS"

// buildAndRun builds the programs as the Makefile does: without the race
// detector, since they are throughput paths.
func buildAndRun(m *testing.M) (code int, err error) {
	if programs = os.Getenv(prebuilt); programs != "" {
		return m.Run(), nil
	}
	if programs, err = os.MkdirTemp("", "tunnelmark-endtoend-*"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(programs)
	if err := os.Chmod(programs, 0o755); err != nil { // One test runs them as nobody.
		return 1, err
	}
	build := exec.Command("go", "build", "-trimpath", "-o", programs, "./cmd/tunnelmark", "./cmd/tunnelmark-agent")
	build.Dir = filepath.Join("..", "..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("%w\n%s", err, output)
	}
	return m.Run(), nil
}

// program is one that runs.
type program struct {
	command *exec.Cmd
	stdout  *lineWatcher
	stderr  *lineWatcher
}

// start runs tunnelmark. It is killed if the test ends before it.
func start(t *testing.T, arguments ...string) *program {
	t.Helper()
	p := &program{command: exec.Command(filepath.Join(programs, "tunnelmark"), arguments...), stdout: newLineWatcher(), stderr: newLineWatcher()}
	p.command.Stdout, p.command.Stderr = p.stdout, p.stderr
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.command.Process.Kill() }) // Fails where it has ended.
	return p
}

// wait returns the exit code, -1 for a signal.
func (p *program) wait(t *testing.T) int {
	t.Helper()
	err := p.command.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.command.ProcessState.ExitCode()
}

// agents are the process ids of the agents that p has started.
func (p *program) agents(t *testing.T) []int {
	t.Helper()
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range children {
		text, _ := os.ReadFile(file) // The thread may just have ended.
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// hasTunnel says whether a process has a TUN device open.
func hasTunnel(pid int) bool {
	descriptors, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, d := range descriptors {
		if target, err := os.Readlink(d); err == nil && target == "/dev/net/tun" {
			return true
		}
	}
	return false
}

// untilLoaded waits until both agents hold a tunnel and p searches through it.
func (p *program) untilLoaded(t *testing.T) (agents []int) {
	t.Helper()
	p.stderr.until(t, "searching the ceiling")
	eventually(t, "both agents hold a tunnel", func() bool {
		agents = p.agents(t)
		return len(agents) == 2 && hasTunnel(agents[0]) && hasTunnel(agents[1])
	})
	return agents
}

// eventually polls until a condition holds, for half a minute at most.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		if holds() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// lineWatcher keeps what a program says and lets a test wait for a line.
type lineWatcher struct {
	mu   sync.Mutex // Guards text.
	text bytes.Buffer
}

var _ io.Writer = (*lineWatcher)(nil)

func newLineWatcher() *lineWatcher { return &lineWatcher{} }

func (l *lineWatcher) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lineWatcher) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lineWatcher) until(t *testing.T, part string) {
	t.Helper()
	eventually(t, "it says "+strconv.Quote(part), func() bool {
		for lines := bufio.NewScanner(strings.NewReader(l.String())); lines.Scan(); {
			if strings.Contains(lines.Text(), part) {
				return true
			}
		}
		return false
	})
}
