package bench

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args string
		want Options
	}{
		{"", Options{Rounds: 5, Duration: 3 * time.Second}},
		{"-rounds 9 -seconds 10 -o a.md", Options{Rounds: 9, Duration: 10 * time.Second, Output: "a.md"}},
		{"-only udp,tcp/4", Options{Rounds: 5, Duration: 3 * time.Second, Only: []string{"udp", "tcp/4"}}},
	} {
		got, err := Parse(strings.Fields(tt.args), "", "", io.Discard)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, args := range []string{"-rounds 0", "-seconds 0", "-seconds 601", "-seconds x", "-flow 4", "udp"} {
		_, err := Parse(strings.Fields(args), "", "", io.Discard)
		var wrong UsageError
		if !errors.As(err, &wrong) {
			t.Errorf("%q: got error %v, want one of usage", args, err)
		}
	}
}

func TestParseHelp(t *testing.T) {
	var stdout strings.Builder
	_, err := Parse([]string{"--help"}, "Flags:\n%s", "what to measure", &stdout)
	if !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got error %v, want that help was asked for", err)
	}
	for _, want := range []string{"Flags:", "-rounds", "-seconds", "-only", "-o ", "what to measure"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, stdout.String())
		}
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.md")
	var stdout strings.Builder
	if err := (Options{Output: path}).Write(&stdout, "a table\n", nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "a table\n" || stdout.String() != "a table\n" {
		t.Errorf("got %q in the file, %q on standard output, error %v", text, stdout.String(), err)
	}
	if err := (Options{Output: filepath.Join(path, "beneath a file")}).Write(io.Discard, "", nil); err == nil {
		t.Error("wrote beneath a file")
	}
	if err := (Options{}).Write(io.Discard, "", []string{"a load"}); err == nil {
		t.Error("did not tell that a load failed")
	}
}
