package hoststat

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var about = cmpopts.EquateApprox(0, 1e-9)

func mustRead(t testing.TB, root string) Snapshot {
	t.Helper()
	s, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Core 2 went offline and core 3 came online; core 1's backlog counters were
// reset, and its idle time went back by two ticks.
func TestSince(t *testing.T) {
	got := mustRead(t, "testdata/after").Since(mustRead(t, "testdata/before"))
	want := Delta{
		Cores: []Core{
			{ID: 0, User: .10, System: .20, Softirq: .05, Steal: .05, Idle: .60, SoftnetDropped: 3, SoftnetTimeSqueezed: 2},
			{ID: 1, Softirq: 1, SoftnetDropped: 7, SoftnetTimeSqueezed: 6},
		},
		UDPReceiveErrors: 101,
	}
	if diff := cmp.Diff(want, got, about); diff != "" {
		t.Errorf("Since (-want +got):\n%s", diff)
	}
}

func TestSinceItself(t *testing.T) {
	s := mustRead(t, "testdata/after")
	if diff := cmp.Diff(Delta{}, s.Since(s)); diff != "" {
		t.Errorf("Since (-want +got):\n%s", diff)
	}
}

func TestSinceReset(t *testing.T) {
	got := mustRead(t, "testdata/before").Since(mustRead(t, "testdata/after")).UDPReceiveErrors
	if want := uint64(43); got != want {
		t.Errorf("after a reset: got %d receive errors, want %d", got, want)
	}
}

func TestReadHost(t *testing.T) {
	earlier := mustRead(t, Root)
	for _, c := range mustRead(t, Root).Since(earlier).Cores {
		if sum := c.User + c.System + c.Softirq + c.Steal + c.Idle; math.Abs(sum-1) > 1e-9 {
			t.Errorf("core %d: shares add up to %g, want 1", c.ID, sum)
		}
	}
	if len(earlier.cores) == 0 {
		t.Error("read no cores")
	}
}

func TestReadRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, root string)
		want  string
	}{
		{"no stat", remove("stat"), "read the cores' times"},
		{"no thread", remove("thread-self"), "open the thread's part"},
		{"no softnet_stat", remove("71/task/73/net/softnet_stat"), "network backlog"},
		{"no snmp", remove("71/task/73/net/snmp"), "read the UDP counters"},
		{"short softnet_stat", write("71/task/73/net/softnet_stat", "00 01\n"), "network backlog"},
		{"no number in stat", write("stat", "cpu0 a b c\n"), "read the cores' times"},
		{"no number in snmp", write("71/task/73/net/snmp", "Udp: RcvbufErrors\nUdp: x\n"), "read the UDP counters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.CopyFS(root, os.DirFS("testdata/before")); err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, root)
			_, err := Read(root)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func write(name, content string) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
