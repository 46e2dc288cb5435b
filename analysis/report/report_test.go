package report

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds what was written against a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// output is what one of the writers writes.
func output(t *testing.T, write func(io.Writer, Result) error, r Result) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out, r); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// plainText is WriteText for a file.
func plainText(w io.Writer, r Result) error { return WriteText(w, r, TextOptions{}) }

func TestWriteTextGolden(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			got := output(t, plainText, f.result())
			golden(t, fixtureName(f.name, "txt"), got)
			if lines := bytes.Count(got, []byte("\n")); lines > 32 {
				t.Errorf("got %d lines, want at most 32", lines)
			}
			if bytes.ContainsAny(got, "\x1b\x00\u202e") {
				t.Error("text carries control characters")
			}
		})
	}
}

// TestWriteTextColor holds that colour adds escapes and nothing else.
func TestWriteTextColor(t *testing.T) {
	escape := regexp.MustCompile("\x1b\\[[0-9]+m")
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			got := output(t, func(w io.Writer, r Result) error { return WriteText(w, r, TextOptions{Color: true}) }, f.result())
			want := output(t, plainText, f.result())
			if !escape.Match(got) {
				t.Error("no colour")
			}
			if diff := cmp.Diff(string(want), escape.ReplaceAllString(string(got), "")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWriteReportsItsError(t *testing.T) {
	writers := map[string]func(io.Writer, Result) error{
		"json": WriteJSON, "text": plainText, "html": WriteHTML,
	}
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			if err := write(fullDisk{}, policerResult()); !errors.Is(err, errFull) {
				t.Errorf("got error %v, want %v", err, errFull)
			}
		})
	}
}

var errFull = errors.New("disk is full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }
