package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/PID/stat: USER_HZ is 100 on all that Go runs on.
const tick = 10 * time.Millisecond

// usage is what one process has used.
type usage struct {
	parent int
	cpu    time.Duration // Of all its threads, in user and kernel mode.
}

// spent is the CPU time of a living process and of all that descend from it and
// live, such as strongSwan's charon. The file system is proc(5)'s.
func spent(proc string, process int) (time.Duration, error) {
	paths, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "stat"))
	if err != nil {
		return 0, err
	}
	all := make(map[int]usage)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // Ended since.
		}
		number, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // The pattern lets only digits begin.
		if all[number], err = parseUsage(string(text)); err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
	}
	if _, lives := all[process]; !lives {
		return 0, fmt.Errorf("read the CPU time of process %d: it has ended", process)
	}
	var sum time.Duration
	for number, u := range all {
		if descends(all, number, process) {
			sum += u.cpu
		}
	}
	return sum, nil
}

// descends says whether a process is of the other's family. Parents that were read
// at different times might form a ring, so no more are followed than there are.
func descends(all map[int]usage, process, from int) bool {
	for range len(all) {
		if process == from {
			return true
		}
		process = all[process].parent
	}
	return false
}

// parseUsage reads /proc/PID/stat: pid (name) state parent ..., with utime and
// stime as fields 14 and 15 (proc_pid_stat(5)).
func parseUsage(stat string) (usage, error) {
	const state, parent, user, system = 3, 4, 14, 15
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= system-state {
		return usage{}, fmt.Errorf("it has %d fields after the name", len(fields))
	}
	var numbers [3]int
	for i, field := range []int{parent, user, system} {
		var err error
		if numbers[i], err = strconv.Atoi(fields[field-state]); err != nil {
			return usage{}, fmt.Errorf("field %d: %w", field, err)
		}
	}
	return usage{parent: numbers[0], cpu: time.Duration(numbers[1]+numbers[2]) * tick}, nil
}
