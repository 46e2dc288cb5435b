package main

import (
	"context"
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

// The test binary is also the program that it tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == endCommand {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args string
		want options
	}{
		{"", options{rounds: 5, duration: 3 * time.Second}},
		{"-rounds 9 -seconds 10 -o a.md", options{rounds: 9, duration: 10 * time.Second, output: "a.md"}},
		{"-only udp,tcp/4", options{rounds: 5, duration: 3 * time.Second, only: []string{"udp", "tcp/4"}}},
	} {
		got, err := parse(strings.Fields(tt.args), io.Discard)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(options{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range []string{"-rounds 0", "-seconds 0", "-seconds 601", "-seconds x", "-flow 4", "udp", "-only sctp"} {
		err := run(t.Context(), strings.Fields(args), nil, io.Discard, io.Discard)
		var wrong usageError
		if !errors.As(err, &wrong) {
			t.Errorf("%q: got error %v, want one of usage", args, err)
		}
	}
}

func TestHelp(t *testing.T) {
	var stdout strings.Builder
	err := run(t.Context(), []string{"--help"}, nil, &stdout, io.Discard)
	if !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got error %v, want that help was asked for", err)
	}
	for _, want := range []string{"-rounds", "-seconds", "-only", "-o ", "Examples:", "Exit codes:"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, stdout.String())
		}
	}
}

func TestEndRefuses(t *testing.T) {
	for _, order := range []string{"", "{}", `{"Key":"AAAA"}`} {
		if err := run(context.Background(), []string{endCommand}, strings.NewReader(order), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "read the order") {
			t.Errorf("order %q: got error %v, want that it cannot be read", order, err)
		}
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.md")
	var stdout strings.Builder
	if err := write(path, &stdout, "a table\n"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "a table\n" || stdout.String() != "a table\n" {
		t.Errorf("got %q in the file, %q on standard output, error %v", text, stdout.String(), err)
	}
	if err := write(filepath.Join(path, "beneath a file"), io.Discard, ""); err == nil {
		t.Error("wrote beneath a file")
	}
}
