package report

import (
	"bytes"
	"flag"
	"os"
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

func TestWriteTextGolden(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := WriteText(&out, f.result(), TextOptions{}); err != nil {
				t.Fatal(err)
			}
			golden(t, fixtureName(f.name, "txt"), out.Bytes())
			if lines := strings.Count(out.String(), "\n"); lines > 30 {
				t.Errorf("got %d lines, want at most 30", lines)
			}
			if strings.ContainsAny(out.String(), "\x1b\x00\u202e") {
				t.Error("text carries control characters")
			}
		})
	}
}
