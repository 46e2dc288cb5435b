package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stat is /proc/PID/stat of a process, up to where it is read.
func stat(number, name, parent, user, system string) string {
	return number + " (" + name + ") S " + parent + " 10 10 0 -1 4194560 100 0 0 0 " + user + " " + system + " 0 0 20 0 1 0 12345 0 0\n"
}

func TestSpent(t *testing.T) {
	proc := t.TempDir()
	for number, text := range map[string]string{
		"10":  stat("10", "bench-dataplane", "1", "100", "20"),
		"11":  stat("11", "a (deep) child", "12", "7", "3"),
		"12":  stat("12", "charon", "10", "1000", "500"),
		"13":  stat("13", "another's", "1", "9999", "9999"),
		"110": stat("110", "in a ring", "111", "1", "1"),
		"111": stat("111", "in a ring", "110", "1", "1"),
	} {
		if err := os.MkdirAll(filepath.Join(proc, number), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, number, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := spent(proc, 10)
	if want := (120 + 10 + 1500) * 10 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, error %v; want %v", got, err, want)
	}
	if _, err := spent(proc, 14); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("got error %v, want that the process has ended", err)
	}
}

func TestParseUsageRefuses(t *testing.T) {
	for _, text := range []string{"", "10 (cut", "10 (cut) S 1 10", stat("10", "no number", "1", "x", "20")} {
		if got, err := parseUsage(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

func TestSpentOfThisProcess(t *testing.T) {
	if _, err := spent("/proc", os.Getpid()); err != nil {
		t.Error(err)
	}
}
