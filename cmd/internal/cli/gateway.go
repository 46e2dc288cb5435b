package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"tunnelmark/cmd/internal/controller"
)

const (
	// gatewayTimeout bounds a command that reads a gateway's counter: logging in may
	// take a while.
	gatewayTimeout = 30 * time.Second
	// mostCounterText is what such a command may print, in bytes.
	mostCounterText = 4096
)

func (f *findFlags) checkGateway(spec controller.Spec) error {
	if f.gateway != "" && !spec.IsExisting() {
		return errors.New("--gateway-counter: is for --driver existing; what other drivers build needs no proof")
	}
	return nil
}

// gatewayCounter reads a gateway's counter by the user's own command, which a shell
// runs with the user's rights.
func gatewayCounter(line string) controller.GatewayCounter {
	if line == "" {
		return nil
	}
	return func(ctx context.Context) (uint64, error) {
		ctx, cancel := context.WithTimeout(ctx, gatewayTimeout)
		defer cancel()
		command := exec.CommandContext(ctx, "sh", "-c", line)
		var stderr bytes.Buffer
		command.Stderr = &stderr
		output, err := command.Output()
		if err != nil {
			return 0, fmt.Errorf("run --gateway-counter %q: %w: %s", line, err, firstLine(stderr.Bytes()))
		}
		return parseCounter(output)
	}
}

func parseCounter(output []byte) (uint64, error) {
	text := bytes.TrimSpace(output[:min(len(output), mostCounterText)])
	count, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("--gateway-counter: it printed %q, want one whole number", firstLine(text))
	}
	return count, nil
}

func firstLine(text []byte) []byte {
	line, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	return line[:min(len(line), 200)]
}
