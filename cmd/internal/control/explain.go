package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"syscall"

	"connectrpc.com/connect"
)

// Explain puts an error of a call to an agent in plain words, with what to do
// next. agent is its name or address. The error it returns wraps err; nil and
// the caller's own cancellation stay what they are.
func Explain(agent string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &explained{text: fmt.Sprintf("agent %s: %s", agent, explanation(err)), cause: err}
}

// explained says something else than its cause, which stays reachable.
type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }

func (e *explained) Unwrap() error { return e.cause }

// explanation takes the most telling cause first.
func explanation(err error) string {
	var notTLS tls.RecordHeaderError
	switch {
	case errors.Is(err, ErrWrongIdentity):
		return "whoever answers there does not hold the key that was paired. " +
			"If the agent was installed anew, remove it with `tunnelmark trust remove` and pair again; if not, somebody may be in between"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "it broke the connection off in the middle of a request. Is tunnelmark-agent still running there?"
	case errors.As(err, &notTLS):
		return "something that is not a tunnelmark agent answers there; check the address and the port"
	}
	message := err.Error()
	if remote := new(connect.Error); errors.As(err, &remote) {
		message = remote.Message()
	}
	return byCode(connect.CodeOf(err), message)
}

// byCode adds what to do next where the agent's own message does not say it.
func byCode(code connect.Code, message string) string {
	switch code {
	case connect.CodeUnauthenticated:
		return "it does not know this controller, or the token was wrong, expired or used before. " +
			"Get a token there with `tunnelmark-agent token`, then run `tunnelmark pair TOKEN`"
	case connect.CodeUnavailable:
		return "it cannot be reached. Is tunnelmark-agent running there, and does the network let this connection through? (" + message + ")"
	case connect.CodeDeadlineExceeded:
		return "it did not answer in time; the path to it may be overloaded"
	case connect.CodeUnimplemented:
		return "it does not know this request; controller and agent are of different versions"
	case connect.CodeInternal, connect.CodeUnknown, connect.CodeDataLoss:
		return message + "; the agent's log says more"
	default:
		return message
	}
}

// IsGone says that a call failed because the agent cannot be reached, not
// because it refused.
func IsGone(err error) bool {
	return connect.CodeOf(err) == connect.CodeUnavailable && !errors.Is(err, ErrWrongIdentity)
}
