package lab_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tunnelmark/lab"
	"tunnelmark/lab/labtest"
)

// What joins gateways ends with its program: left alone, they would lead nowhere.
func TestUpRefusesGateways(t *testing.T) {
	topology := named()
	topology.Gateways = topology.Sites
	if names, err := lab.Up(t.Context(), topology); err == nil || !strings.Contains(err.Error(), "use tunnelmark lab run") {
		t.Errorf("Up: %q, %v; want a refusal that says what to do", names, err)
	}
}

// named is a topology whose name no other process uses.
func named() lab.Topology {
	topology := joined(lab.Link{})
	topology.Name = fmt.Sprintf("test-%d", os.Getpid())
	return topology
}

func TestUpAndDown(t *testing.T) {
	labtest.CheckLeaks(t)
	topology := named()
	got, err := lab.Up(t.Context(), topology)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"tm-" + topology.Name + "-a", "tm-" + topology.Name + "-b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	// The way between the sites lives on, middle included.
	enter := exec.Command("nsenter", "--net=/run/netns/"+got[0], "cat", "/proc/net/route")
	if out, err := enter.CombinedOutput(); err != nil {
		t.Errorf("enter %s: %v\n%s", got[0], err, out)
	}
	if _, err := lab.Up(t.Context(), topology); !errors.Is(err, os.ErrExist) {
		t.Errorf("second up: want %v, got %v", os.ErrExist, err)
	}
	if err := lab.Down(t.Context(), topology.Name); err != nil {
		t.Error(err)
	}
	if err := lab.Down(t.Context(), topology.Name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("second down: want %v, got %v", os.ErrNotExist, err)
	}
}

func TestCleanup(t *testing.T) {
	labtest.CheckLeaks(t)
	if up, err := filepath.Glob("/run/tunnelmark/lab/*.json"); err != nil || len(up) > 0 {
		t.Fatalf("labs are up that this test would remove: take them down first: %q, %v", up, err)
	}
	topology := named()
	if _, err := lab.Up(t.Context(), topology); err != nil {
		t.Fatal(err)
	}
	removed, err := lab.Cleanup(t.Context())
	if err != nil || !slices.Contains(removed, topology.Name) {
		t.Errorf("want %s removed, got %q, %v", topology.Name, removed, err)
	}
}

// A name that somebody else has given is neither taken nor removed.
func TestTakenName(t *testing.T) {
	labtest.CheckLeaks(t)
	topology := named()
	taken := filepath.Join("/run/netns", "tm-"+topology.Name+"-b")
	if err := os.MkdirAll(filepath.Dir(taken), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(taken, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(taken)
	_, err := lab.Up(t.Context(), topology)
	if !errors.Is(err, os.ErrExist) {
		t.Errorf("want %v, got %v", os.ErrExist, err)
	}
	if _, err := os.Stat(taken); err != nil {
		t.Errorf("want the other's name kept, got %v", err)
	}
	if err := lab.Down(t.Context(), topology.Name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want no lab recorded, got %v", err)
	}
}

// A name that was given to another namespace since Up is left alone.
func TestDownOfForeignName(t *testing.T) {
	labtest.CheckLeaks(t)
	topology := named()
	names, err := lab.Up(t.Context(), topology)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("/run/netns", names[0])
	swap := exec.Command("sh", "-ec", `umount "$1" && mount --bind /proc/self/ns/net "$1"`, "sh", path)
	if out, err := swap.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := lab.Down(t.Context(), topology.Name); err == nil {
		t.Error("want a refusal to remove another's name, got none")
	}
	if out, err := exec.Command("sh", "-ec", `umount "$1" && rm "$1"`, "sh", path).CombinedOutput(); err != nil {
		t.Fatalf("want the other's name kept: %v\n%s", err, out)
	}
	if err := lab.Down(t.Context(), topology.Name); err != nil {
		t.Errorf("once the other's name is gone: %v", err)
	}
}
