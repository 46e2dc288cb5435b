package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"connectrpc.com/connect"
)

func TestExplain(t *testing.T) {
	remote := func(code connect.Code) error {
		return fmt.Errorf("open: %w", connect.NewError(code, errors.New("WHY")))
	}
	cases := []struct {
		name string
		err  error
		want string
	}{
		{"not paired", remote(connect.CodeUnauthenticated), "`tunnelmark pair TOKEN`"},
		{"not there", remote(connect.CodeUnavailable), "Is tunnelmark-agent running"},
		{"too late", remote(connect.CodeDeadlineExceeded), "did not answer in time"},
		{"too new", remote(connect.CodeUnimplemented), "different versions"},
		{"its fault", remote(connect.CodeInternal), "WHY; the agent's log"},
		{"its policy", remote(connect.CodePermissionDenied), "agent b: WHY"},
		{"its state", remote(connect.CodeFailedPrecondition), "agent b: WHY"},
		{"imposter", fmt.Errorf("dial: %w", ErrWrongIdentity), "`tunnelmark trust remove`"},
		{"no TLS", connect.NewError(connect.CodeUnavailable, tls.RecordHeaderError{Msg: "x"}), "not a tunnelmark agent"},
		{"killed", connect.NewError(connect.CodeInternal, fmt.Errorf("incomplete envelope: %w", io.ErrUnexpectedEOF)), "still running there"},
		{"anything else", errors.New("WHY"), "WHY"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := Explain("b", c.err)
			if !strings.Contains(got.Error(), c.want) || !errors.Is(got, c.err) {
				t.Errorf("explained as %q, want %q in it", got, c.want)
			}
		})
	}
	if got := Explain("b", nil); got != nil {
		t.Errorf("no error is explained as %v", got)
	}
	if got := Explain("b", context.Canceled); got != context.Canceled { //nolint:errorlint // The very same.
		t.Errorf("cancellation is explained as %v", got)
	}
}
