// Command tunnelmark-agent is the daemon at one end of the tunnels under test.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"tunnelmark/cmd/internal/agent"
)

// The process's first thread never exits: a namespace that it entered would
// outlive its descriptor. Locked to main, no other goroutine can land on it.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, agent.Drivers, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(exitCode(os.Stderr, err))
}

func run(ctx context.Context, drivers driversOf, arguments []string, stdin io.Reader, stdout, stderr io.Writer) error {
	command := rootCommand(drivers)
	command.SetArgs(arguments)
	command.SetIn(stdin)
	command.SetOut(stdout)
	command.SetErr(stderr)
	return command.ExecuteContext(ctx)
}

// exitCode: 0 done, 1 failed, 2 usage.
func exitCode(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "tunnelmark-agent: %v\n", err)
	if isUsage(err) {
		return 2
	}
	return 1
}
