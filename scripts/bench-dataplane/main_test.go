package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"tunnelmark/scripts/internal/bench"
)

// The test binary is also the program that it tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == halfCommand {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRunRefuses(t *testing.T) {
	for _, args := range []string{"-rounds 0", "-only sctp"} {
		err := run(t.Context(), strings.Fields(args), nil, io.Discard, io.Discard)
		var wrong bench.UsageError
		if !errors.As(err, &wrong) {
			t.Errorf("%q: got error %v, want one of usage", args, err)
		}
	}
}

func TestHelp(t *testing.T) {
	var stdout strings.Builder
	_ = run(t.Context(), []string{"--help"}, nil, &stdout, io.Discard)
	for _, want := range []string{"-rounds", "esp/aes-128-gcm", "wireguard-go", "Examples:", "Exit codes:"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, stdout.String())
		}
	}
}

func TestHalfRefuses(t *testing.T) {
	for _, order := range []string{"", "{}", `{"Plane":"sctp"}`} {
		if err := run(context.Background(), []string{halfCommand}, strings.NewReader(order), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "read the order") {
			t.Errorf("order %q: got error %v, want that it cannot be read", order, err)
		}
	}
}
