package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestPlanInputs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "today.json")
	text := written(t, found(512), found(1400))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	inputs := &planInputs{stdin: bytes.NewReader(text), shown: &progress{quiet: true}}
	for _, name := range []string{path, "-"} {
		results, err := inputs.results(t.Context(), name, "result")
		if err != nil || len(results) != 2 || results[1].Size.Inner != 1400 {
			t.Errorf("%s: %d results, %v", name, len(results), err)
		}
	}
	if len(inputs.read) != 2 || inputs.read[0].SHA256 != inputs.read[1].SHA256 || len(inputs.read[0].SHA256) != 64 || inputs.read[1].Name != "standard input" {
		t.Errorf("noted %+v, want two inputs of one hash", inputs.read)
	}
	for name, want := range map[string]string{
		"-":                "demand: standard input is read as result already; give a file",
		path + "x":         "no such file",
		filepath.Dir(path): "is a directory; give a file",
	} {
		if file, err := inputs.open(t.Context(), name, "demand"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want an error with %q", name, file, err, want)
		}
	}
}

func TestPlanInputsSayWhoseFault(t *testing.T) {
	inputs := &planInputs{stdin: strings.NewReader("timestamp,rate\n"), shown: &progress{quiet: true}}
	_, err := inputs.results(t.Context(), "-", "result")
	if err == nil || !strings.Contains(err.Error(), "standard input: read result 1: invalid character") || !strings.Contains(err.Error(), "--json") {
		t.Errorf("%v, want an error that names the file and what to give", err)
	}
	if len(inputs.read) != 0 {
		t.Errorf("noted %+v, which was not read", inputs.read)
	}
}

// Ctrl-C ends what waits for a terminal or a pipe.
func TestInterruptible(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	waiting, end := io.Pipe()
	defer end.Close()
	reader := interruptible(ctx, func() (io.ReadCloser, error) { return waiting, nil })
	stop()
	if _, err := io.ReadAll(reader); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	broken := errors.New("broken")
	for name, open := range map[string]func() (io.ReadCloser, error){
		"opening": func() (io.ReadCloser, error) { return nil, broken },
		"reading": func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(broken)), nil },
	} {
		if _, err := io.ReadAll(interruptible(t.Context(), open)); !errors.Is(err, broken) {
			t.Errorf("%s: %v, want %v", name, err, broken)
		}
	}
}

func TestWatchedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var told bytes.Buffer
		inputs := &planInputs{shown: &progress{to: &told, width: 80}}
		reader := inputs.watch(ctx, io.NopCloser(iotest.OneByteReader(strings.NewReader("demand"))), "d.csv", 6)
		for _, want := range []string{"", "reading d.csv: 0.0 kB, 33 %", ""} { // A byte each.
			told.Reset()
			time.Sleep(showEvery / 2)
			if _, err := reader.Read(make([]byte, 8)); err != nil || !strings.HasSuffix(told.String(), want) || want == "" && told.Len() > 0 {
				t.Errorf("told %q, %v, want %q", told.String(), err, want)
			}
		}
		stop()
		if _, err := reader.Read(make([]byte, 8)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want %v", err, context.Canceled)
		}
	})
}

func TestWatchedReaderOfUnknownSize(t *testing.T) {
	if got := (&watchedReader{name: "d.csv"}).describe(); got != "reading d.csv: 0.0 kB" {
		t.Errorf("%q", got)
	}
}
