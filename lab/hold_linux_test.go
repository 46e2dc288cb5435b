package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// holder is set in the environment of the process that holds a name and dies.
const holder = "LABTEST_HOLD"

// ownNamespace stands for any: the names of tests are removed before they are used.
func ownNamespace(t *testing.T) int {
	t.Helper()
	file, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return int(file.Fd())
}

func TestHold(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.CheckLeaks(t)
	name := fmt.Sprintf("hold-%d", os.Getpid())
	release, err := lab.Hold(name, ownNamespace(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Hold(name, ownNamespace(t)); !errors.Is(err, os.ErrExist) {
		t.Errorf("hold a second time: got %v, want %v", err, os.ErrExist)
	}
	// It is this process's, which lives: nobody takes it away.
	for what, clean := range map[string]func(context.Context) ([]string, error){"Forsaken": lab.Forsaken, "Cleanup": lab.Cleanup} {
		if removed, err := clean(t.Context()); slices.Contains(removed, name) || err != nil {
			t.Errorf("%s removed %q, %v", what, removed, err)
		}
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join("/run/netns", "tm-"+name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the name is still there: %v", err)
	}
}

// What a killed process held goes at the next start of one.
func TestForsaken(t *testing.T) {
	labtest.NeedRoot(t)
	if name := os.Getenv(holder); name != "" {
		if _, err := lab.Hold(name, ownNamespace(t)); err != nil {
			t.Fatal(err)
		}
		return // And never releases it.
	}
	labtest.CheckLeaks(t)
	name := fmt.Sprintf("hold-%d", os.Getpid())
	command := exec.Command(os.Args[0], "-test.run=^TestForsaken$")
	command.Env = append(os.Environ(), holder+"="+name)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("hold in another process: %v\n%s", err, out)
	}
	removed, err := lab.Forsaken(t.Context())
	if err != nil || !slices.Contains(removed, name) {
		t.Errorf("got %q, %v; want %s removed", removed, err, name)
	}
}
