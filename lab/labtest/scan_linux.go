package labtest

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Things is what a machine holds that a test could leave behind: what it is, and
// more about it, which may change.
type Things map[string]string

// CheckLeaks fails the test if, at its end, something exists that this process or
// a descendant of it, orphans included, has made since: a process, a network
// namespace however it is held, a named one, an interface beside the process, or a
// lab's eBPF program. What is being removed has 10 s to go.
//
// Call it first in the test. Tests that use it do not run in parallel, and the
// packages that have them are tested one at a time (go test -p 1): names and eBPF
// programs are the whole machine's.
func CheckLeaks(t testing.TB) {
	t.Helper()
	NeedRoot(t)
	// Orphans become children of this process, and stay findable.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatalf("become reaper of orphans: %v", err)
	}
	before, err := Scan()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := before.Left(10 * time.Second)
		if err != nil {
			t.Errorf("look for leaks: %v", err)
		}
		for _, thing := range left {
			t.Errorf("left behind: %s", thing)
		}
	})
}

// Left returns what exists now and did not before, and waits at most so long for it
// to go.
func (t Things) Left(wait time.Duration) ([]string, error) {
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := Scan()
		if err != nil {
			return nil, err
		}
		maps.DeleteFunc(now, func(thing, _ string) bool { _, was := t[thing]; return was })
		if len(now) == 0 || time.Now().After(deadline) {
			return now.list(), nil
		}
		<-tick.C
	}
}

func (t Things) list() (lines []string) {
	for _, thing := range slices.Sorted(maps.Keys(t)) {
		lines = append(lines, strings.TrimSpace(thing+" "+t[thing]))
	}
	return lines
}

// Scan lists the processes that descend from this one, and all that it, they, and
// the kernel on their behalf hold.
func Scan() (Things, error) {
	things := make(Things)
	scanProcesses(things)
	return things, errors.Join(scanMounts(things), scanNames(things), scanLinks(things), scanPrograms(things))
}

// scanMounts finds the namespaces that a mount holds: ip netns sees only those
// under /run/netns.
func scanMounts(things Things) error {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// proc_pid_mountinfo(5): root and mount point are fields 4 and 5, the
		// file system's type is the first after the hyphen.
		mount, fs, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if strings.HasPrefix(fs, "nsfs ") && len(fields) > 4 {
			things[fmt.Sprintf("namespace %s mounted on %s", fields[3], fields[4])] = ""
		}
	}
	return lines.Err()
}

func scanNames(things Things) error {
	entries, err := os.ReadDir("/run/netns")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		things["name /run/netns/"+entry.Name()] = ""
	}
	return nil
}

func scanLinks(things Things) error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, link := range links {
		things["interface "+link.Name] = ""
	}
	return nil
}

// scanPrograms finds the eBPF programs whose names say that a lab loaded them, but
// for those of living processes that are no descendants; service managers load
// others at any time.
func scanPrograms(things Things) error {
	for id := ebpf.ProgramID(0); ; {
		var err error
		if id, err = ebpf.ProgramGetNextID(id); errors.Is(err, os.ErrNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("list eBPF programs: %w", err)
		}
		name, err := programName(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // unloaded since
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, "tm_") && !ofStranger(name) {
			things[fmt.Sprintf("eBPF program %d %s", id, name)] = ""
		}
	}
}

// ofStranger reports whether the process that a program's name ends in lives and
// does not descend from this one.
func ofStranger(program string) bool {
	pid, err := strconv.Atoi(program[strings.LastIndexByte(program, '_')+1:])
	if err != nil {
		return false
	}
	if _, alive := readProcess(fmt.Sprintf("/proc/%d/stat", pid)); !alive {
		return false
	}
	ours := func(p process) bool { return p.pid == pid }
	return !slices.ContainsFunc(descendants(os.Getpid()), ours)
}

func programName(id ebpf.ProgramID) (string, error) {
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return "", fmt.Errorf("open eBPF program: %w", err)
	}
	info, err := program.Info()
	if err := errors.Join(err, program.Close()); err != nil {
		return "", fmt.Errorf("ask eBPF program: %w", err)
	}
	return info.Name, nil
}
